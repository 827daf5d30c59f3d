# SPDX-License-Identifier: Apache-2.0
"""Errors are the interface for everything that goes wrong."""

import pytest

from codeq_compile import errors
from codeq_compile.errors import CodeqError, SpecViolation, ToolError, UnsupportedOp


def tree(kind: type[CodeqError]) -> list[type[CodeqError]]:
    return [kind, *(sub for child in kind.__subclasses__() for sub in tree(child))]


@pytest.mark.parametrize("kind", tree(CodeqError)[1:], ids=lambda kind: kind.__name__)
def test_the_drawing_shows_every_error_and_its_exit_code(kind: type[CodeqError]) -> None:
    """Scripts rely on exit codes: 1 conversion, 2 input, 3 does not fit, 4 mismatch, 5 tool."""
    assert errors.__doc__ is not None
    line = next(line for line in errors.__doc__.splitlines() if f" {kind.__name__} " in line)

    assert f" {kind.exit_code} " in line


def test_all_reasons_of_a_failed_conversion_are_told_at_once() -> None:
    """One run, all faults."""
    error = UnsupportedOp(["layer a: no", "layer b: neither"])

    assert [
        "2 parts of the model cannot be converted:",
        "  - layer a: no",
        "  - layer b: neither",
    ] == str(error).splitlines()
    assert str(UnsupportedOp(["x"])).startswith("1 part of the model")


def test_a_violation_carries_its_rule_and_gets_its_layer_once() -> None:
    """The label leads to the rule in NUMERICS.md, the name to the line in the model."""
    violation = SpecViolation("conv2d-C4", "the window is too large")

    assert "conv2d-C4: the window is too large" == str(violation)
    assert 'conv2d-C4: the window is too large (layer "f.3")' == str(violation.at("f.3"))
    assert "f.3" == violation.at("f.3").at("other").layer


def test_a_failed_tool_shows_its_command_and_the_end_of_its_output() -> None:
    """The first error of a compiler run is near the end of what it says."""
    output = "\n".join(f"line {n}" for n in range(50))
    message = str(ToolError("cannot link", command=["ld", "-T", "x"], status=1, output=output))

    assert message.startswith("cannot link\n  command: ld -T x\n  exit status: 1\n  | line 30\n")
    assert message.endswith("line 49")
    assert "no compiler" == str(ToolError("no compiler"))
