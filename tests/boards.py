# SPDX-License-Identifier: Apache-2.0
"""What tests of firmware share: the emulated boards, and the probe, a stand-in for a model."""

from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codeq_compile import target
from codeq_compile.build import firmware, run, tools
from codeq_compile.build.firmware import Firmware, Program
from codeq_compile.build.run import Bytes2D
from codeq_compile.build.tools import Tool
from codeq_compile.errors import ToolError
from codeq_compile.resources import runtime_dir, targets_dir

EMULATED = tuple(
    name
    for name in target.names()
    if (options := target.load(name).run) is not None and options.runner == "qemu"
)
FAST = ("microbit", "mps2_an386")
"""Boards of the fast tests: a core without and one with memory protection."""

# "best" is what codeq takes by itself: gcc where it is installed.
COMPILERS = {"best": tools.arm_cc, "zig": tools.zig_cc}
EMULATORS = {"qemu": tools.qemu, "unicorn": tools.unicorn}

# Requests to tests/targets/probe.c, and what they do.
COMPUTE, READ_NULL, WRITE_NULL, WRITE_FLASH, OVERFLOW_STACK, READ_BEHIND_RAM = range(6)
EXECUTE_RAM, HANG, READ_UNMAPPED, USE_STACK, UNDEFINED_INSTRUCTION = range(6, 11)
PROBE_BYTES = 16
PROBE_FRAME_BYTES = 256

PROBE = Program(
    app=targets_dir() / "common" / "main.c",
    library=(Path(__file__).parent / "targets" / "probe.c",),
    includes=(runtime_dir() / "include",),
)


def each(boards: Iterable[str]) -> list[Any]:
    """Parameters of a test that runs on all `boards`, and on few of them in the fast subset."""
    return [
        board if board in FAST else pytest.param(board, marks=pytest.mark.slow) for board in boards
    ]


def found(find: Callable[[], Tool]) -> Tool:
    """The tool; the test is skipped where it is not installed."""
    try:
        return find()
    except ToolError as exc:
        pytest.skip(str(exc))  # it names the tool and how to install it


@cache
def probe(board: str, compiler: str = "best") -> Firmware:
    """The probe's firmware, built once a session."""
    return firmware.link(PROBE, target.load(board), compiler=found(COMPILERS[compiler]))


def request(code: int, argument: int = 0) -> Bytes2D:
    """Input of one sample that makes the probe do something."""
    sample = np.zeros((1, PROBE_BYTES), np.uint8)
    sample[0, :2] = code, argument
    return sample


def failure(board: str, code: int, emulator: str = "qemu") -> ToolError:
    """The error of a run that does something illegal."""
    tool = found(EMULATORS[emulator])
    with pytest.raises(ToolError) as caught:
        run.run(probe(board), request(code), emulator=tool, timeout_s=60)
    return caught.value


def emulator_of(board: str) -> Tool:
    """What runs the board here; the test is skipped where nothing does."""
    tool = found(tools.emulator)
    options = target.load(board).run
    assert options is not None
    if tool.name == "unicorn" and options.unicorn_cpu is None:
        needed = f"unicorn cannot emulate {board}: install qemu-system-arm"
        pytest.skip(needed)  # it knows no Armv8.1-M
    return tool


def probe_outputs(inputs: Bytes2D) -> tuple[Bytes2D, Bytes2D]:
    """What the probe computes: (layer 0 of each sample, outputs of each sample)."""
    primes = np.array([2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53])
    scaled = (inputs * primes).astype(np.uint8)
    outputs = scaled.copy()
    for i, row in enumerate(scaled):
        total = 0x123456789A
        for value in row:
            total = (total * 31 + int(value)) % 2**64
        outputs[i, :2] = total % 251, i + 1
    return scaled, outputs
