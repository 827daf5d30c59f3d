# SPDX-License-Identifier: Apache-2.0
"""Runs firmware on samples, on an emulated board or a real one, through files in a folder."""

import re
import struct
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from codeq_compile.arrays import Bytes2D
from codeq_compile.build import tools
from codeq_compile.build.firmware import Firmware
from codeq_compile.build.tools import Tool
from codeq_compile.errors import InputError, ToolError

TIMEOUT_S = 600.0
FLASH_TIMEOUT_S = 120.0

MEANING = {
    2: "it could not use its files",
    3: "inputs and outputs do not fit into the RAM that the model leaves",
    102: "NMI",
    103: "HardFault",
    104: "MemManage fault",
    105: "BusFault",
    106: "UsageFault",
    107: "SecureFault",
}
"""Exit statuses of targets/common/main.c and fault.c."""

EXIT = re.compile(r"^exit ([0-9a-f]{8})\n\x04?", re.MULTILINE)
"""What semihost_exit() prints last; pyOCD ends at the character EOT and swallows it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceRecord:
    """Output of one layer on one sample.

    Parameters
    ----------
    sample, layer : int
    data : bytes
    """

    sample: int
    layer: int
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RunResult:
    """What firmware wrote.

    Parameters
    ----------
    outputs : uint8 array of shape (samples, output bytes)
    statuses : int32 array of shape (samples,)
        `enum cq_status` of each run.
    trace : tuple of TraceRecord
        Of the traced samples, in order of execution.
    stack_bytes : int
        Most stack that one call of the model used.
    """

    outputs: Bytes2D = field(repr=False)
    statuses: NDArray[np.int32] = field(repr=False)
    trace: tuple[TraceRecord, ...] = field(repr=False)
    stack_bytes: int


def run(
    firmware: Firmware,
    inputs: Bytes2D,
    traced: int = 0,
    *,
    emulator: Tool | None = None,
    arguments: Sequence[str] = (),
    timeout_s: float = TIMEOUT_S,
) -> RunResult:
    """Run the firmware of the app ``check`` on samples.

    Parameters
    ----------
    firmware : Firmware
    inputs : uint8 array of shape (samples, input bytes)
        All inputs of a sample one after the other.
    traced : int
        Number of samples, from the first, whose layers are recorded.
    emulator : Tool, optional
        For emulated boards; default: `tools.emulator()`.
    arguments : sequence of str
        More words of the emulator's command line.
    timeout_s : float
        Limit of the whole run in seconds.

    Raises
    ------
    InputError
        If `inputs` has another number of bytes than the model takes.
    ToolError
        If there is nothing to run on, or the firmware faults, hangs or writes too little; the
        message holds what it printed.
    """
    if inputs.ndim != 2 or inputs.shape[1] != firmware.input_bytes or inputs.dtype != np.uint8:
        raise InputError(
            f"the firmware takes samples of {firmware.input_bytes} bytes, "
            f"not {inputs.dtype} of shape {inputs.shape}"
        )
    with tempfile.TemporaryDirectory(prefix="codeq-") as name:
        folder = Path(name)
        header = struct.pack("<4sII", b"CQIN", len(inputs), traced)
        (folder / "in.bin").write_bytes(header + inputs.tobytes())
        printed = execute(
            firmware, folder, emulator=emulator, arguments=arguments, timeout_s=timeout_s
        )
        return read_results(
            folder,
            samples=len(inputs),
            output_bytes=firmware.output_bytes,
            who=firmware.target.name,
            printed=printed,
        )


def execute(
    firmware: Firmware,
    folder: Path,
    *,
    emulator: Tool | None = None,
    arguments: Sequence[str] = (),
    timeout_s: float = TIMEOUT_S,
) -> str:
    """Run an image to its end.

    Parameters
    ----------
    firmware : Firmware
    folder : Path
        Where the firmware finds and leaves its files.
    emulator, arguments
        As for `run`.
    timeout_s : float

    Returns
    -------
    str
        What it printed.

    Raises
    ------
    InputError
        If the target is the host.
    ToolError
        If there is nothing to run on, or the firmware faults, hangs or reports a failure.
    """
    run_options = firmware.target.run
    if run_options is None:
        raise InputError(f"target {firmware.target.name} says nothing about how to run firmware")
    if run_options.runner == "pyocd":
        flash(firmware)
        command = _pyocd_command(firmware, timeout_s)
        status, printed = _process(command, folder, timeout_s)
        ended = EXIT.findall(printed)
        status = int(ended[-1], 16) if ended else status or -1
    else:
        emulator_command = _emulator_command(firmware, emulator or tools.emulator())
        command = [*emulator_command, *arguments]
        status, printed = _process(command, folder, timeout_s)
    printed = EXIT.sub("", printed).strip()
    if status != 0:
        meaning = MEANING.get(status, "it did not come to its end")
        raise ToolError(
            f"the firmware failed on {firmware.target.name}: {meaning}",
            command=command,
            status=status,
            output=printed,
        )
    return printed


def flash(firmware: Firmware) -> None:
    """Write the image into a board's flash with pyOCD.

    Raises
    ------
    InputError
        If the target is an emulated board.
    ToolError
        If pyOCD or the board is missing, or flashing fails.
    """
    target = firmware.target
    if target.run is None or target.run.runner != "pyocd":
        raise InputError(f"{target.name} is not a real board: nothing can be flashed")
    command = [
        *tools.pyocd().command,
        "load",
        "--no-wait",
        "--target",
        target.run.machine,
        str(firmware.elf),
    ]
    status, printed = _process(command, firmware.elf.parent, FLASH_TIMEOUT_S)
    if status != 0:
        raise ToolError(
            f"{target.name} could not be flashed: is it connected?"
            f" (pyOCD may need its pack: pyocd pack install {target.run.machine})",
            command=command,
            status=status,
            output=printed,
        )


def _emulator_command(firmware: Firmware, emulator: Tool) -> list[str]:
    target = firmware.target
    assert target.run is not None
    assert target.memory is not None
    if emulator.name != "unicorn":
        return [
            *emulator.command,
            *("-machine", target.run.machine, *target.run.args),
            *("-display", "none", "-monitor", "none", "-serial", "none"),
            *("-semihosting-config", "enable=on,target=native"),
            *("-kernel", str(firmware.elf)),
        ]
    if target.run.unicorn_cpu is None:
        raise ToolError(
            f"unicorn cannot emulate {target.name} ({target.core}): install qemu-system-arm"
        )
    memory = target.memory
    return [
        *emulator.command,
        str(firmware.elf),
        *("--cpu", target.run.unicorn_cpu),
        *("--flash", hex(memory.flash_origin), hex(memory.flash_bytes)),
        *("--ram", hex(memory.ram_origin), hex(memory.ram_bytes)),
    ]


def _pyocd_command(firmware: Firmware, timeout_s: float) -> list[str]:
    """`--eot` ends the session at the character that semihost_exit() prints."""
    assert firmware.target.run is not None
    return [
        *tools.pyocd().command,
        "run",
        "--no-wait",
        "--eot",
        *("-O", "semihost_console_type=console"),
        *("--timelimit", str(timeout_s)),
        *("--target", firmware.target.run.machine),
    ]


def _process(command: Sequence[str], cwd: Path, timeout_s: float) -> tuple[int, str]:
    """Exit status and everything printed."""
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout_s,
            check=False,
        )
    except OSError as exc:
        raise ToolError(f"{command[0]} cannot be started: {exc}", command=command) from exc
    except subprocess.TimeoutExpired as exc:
        printed = (exc.stdout or b"").decode(errors="replace")
        raise ToolError(
            f"no end after {timeout_s:g} seconds", command=command, output=printed
        ) from exc
    return done.returncode, done.stdout.decode(errors="replace")


def read_results(
    folder: Path, *, samples: int, output_bytes: int, who: str, printed: str
) -> RunResult:
    """What a test program left in `folder`.

    Raises
    ------
    ToolError
        If `out.bin` has another size; the message holds what the program printed.
    """
    data = _read(folder / "out.bin")
    record = np.dtype([("status", "<i4"), ("output", "u1", (output_bytes,))])
    size = 12 + samples * record.itemsize
    if len(data) != size or data[:8] != struct.pack("<4sI", b"CQOU", samples):
        raise ToolError(
            f"{who} wrote {len(data)} bytes of results instead of {size}", output=printed
        )
    records = np.frombuffer(data, record, offset=12)
    return RunResult(
        outputs=records["output"].copy(),
        statuses=records["status"].astype(np.int32),
        trace=parse_trace(_read(folder / "trace.bin")),
        stack_bytes=struct.unpack_from("<I", data, 8)[0],
    )


def _read(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


def parse_trace(data: bytes) -> tuple[TraceRecord, ...]:
    """Records of a `trace.bin`: u32 sample, u32 layer, u32 bytes, the bytes."""
    records = []
    position = 0
    while position < len(data):
        sample, layer, size = struct.unpack_from("<3I", data, position)
        position += 12
        records.append(
            TraceRecord(sample=sample, layer=layer, data=data[position : position + size])
        )
        position += size
    return tuple(records)
