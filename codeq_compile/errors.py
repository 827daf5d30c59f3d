# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: N818  # the names say what happened; the tree says that they are errors
"""Every error that a user of codeq can meet.

CodeqError                 exit code
├── ModelError             2   the user's model: names layer, op, rule and the way out
│   ├── Damaged            2   the bytes of a foreign file are not what their format promises
│   ├── UnsupportedOp      1   the conversion met something codeq has no rule for
│   └── SpecViolation      2   a numbered rule of docs/NUMERICS.md is broken; carries .label
├── InputError             2   a file, option or array that the user gave is unusable
├── NoKernel               1   nothing in kernels.inc matches; names the nearest rows
├── DoesNotFit             3   flash or RAM exceeded; names the largest layers
├── Mismatch               4   simulation != C; names layer, index and both values
└── ToolError              5   compiler, emulator or debugger failed; carries command and output
"""

from collections.abc import Sequence


class CodeqError(Exception):
    """Base of all errors that are the outside world's fault, with their exit code."""

    exit_code = 1


class ModelError(CodeqError):
    """The model breaks a rule; the message names the layer, the rule and what to do."""

    exit_code = 2


class Damaged(ModelError):
    """The bytes of a foreign model file are not what their format promises."""


class UnsupportedOp(ModelError):
    """The model uses something codeq cannot convert. `reasons` lists all of them at once."""

    exit_code = 1

    def __init__(self, reasons: Sequence[str]) -> None:
        self.reasons = tuple(reasons)
        count = len(self.reasons)
        head = f"{count} part{'s' if count != 1 else ''} of the model cannot be converted:"
        super().__init__("\n".join([head, *(f"  - {reason}" for reason in self.reasons)]))


class SpecViolation(ModelError):
    """A numbered rule of docs/NUMERICS.md is broken.

    Parameters
    ----------
    label : str
        The rule, e.g. ``"conv2d-C4"``.
    message : str
        What is wrong and what to do, without the label.
    layer : str, optional
        Name of the layer; added where it is known.
    """

    def __init__(self, label: str, message: str, *, layer: str | None = None) -> None:
        self.label = label
        self.message = message
        self.layer = layer
        where = f' (layer "{layer}")' if layer else ""
        super().__init__(f"{label}: {message}{where}")

    def at(self, layer: str) -> "SpecViolation":
        """The same violation with the layer's name added."""
        return SpecViolation(self.label, self.message, layer=self.layer or layer)


class InputError(CodeqError):
    """A file, option or array of the user is unusable; the message says what is expected."""

    exit_code = 2


class NoKernel(CodeqError):
    """No row of kernels.inc serves a layer on the chosen target."""

    exit_code = 1


class DoesNotFit(CodeqError):
    """A flash, weight or RAM budget is exceeded; the message lists the largest layers.

    Parameters
    ----------
    message : str
    in_ram : bool
        RAM is exceeded: no shorter weights would help.
    excess : int
        Bytes that are too many, of all limits together, where they were counted.
    in_flash : int
        Those of them that are too many for the linked image.
    """

    exit_code = 3

    def __init__(
        self, message: str, *, in_ram: bool = False, excess: int = 0, in_flash: int = 0
    ) -> None:
        self.in_ram = in_ram
        self.excess = excess
        self.in_flash = in_flash
        super().__init__(message)


class Mismatch(CodeqError):
    """Simulation and C disagree: names layer, index, both values and how to reproduce it."""

    exit_code = 4


class ToolError(CodeqError):
    """An external program is missing or failed.

    Parameters
    ----------
    message : str
        What was attempted.
    command : sequence of str, optional
        The command line.
    status : int, optional
        Its exit status.
    output : str, optional
        What it printed; the last 20 lines are shown.
    """

    exit_code = 5

    def __init__(
        self,
        message: str,
        *,
        command: Sequence[str] = (),
        status: int | None = None,
        output: str = "",
    ) -> None:
        self.command = tuple(command)
        self.status = status
        self.output = output
        lines = [message]
        if command:
            lines.append("  command: " + " ".join(command))
        if status is not None:
            lines.append(f"  exit status: {status}")
        lines.extend("  | " + line for line in output.splitlines()[-20:])
        super().__init__("\n".join(lines))
