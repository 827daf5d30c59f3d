# SPDX-License-Identifier: Apache-2.0
"""The counter against code whose instructions can be counted by hand."""

import subprocess
from pathlib import Path

import numpy as np
import pytest

from codeq_compile import target
from codeq_compile.build import counter, firmware, tools
from codeq_compile.build.counter import Counts, Stretch
from codeq_compile.build.firmware import Program
from codeq_compile.build.host import STRICT_FLAGS
from codeq_compile.errors import InputError, ToolError
from codeq_compile.resources import runtime_dir, targets_dir
from tests.boards import COMPILERS, EMULATED, each, found, probe

pytestmark = pytest.mark.qemu

FUNCTION = """
__asm__(".syntax unified\\n .section .text.{section}{name}, \\"ax\\"\\n .global {name}\\n"
        ".type {name}, %function\\n .thumb_func\\n {name}:\\n"
{lines}
        ".size {name}, . - {name}\\n .text\\n");
"""

BINDING = """
#include "harness.h"
enum cq_status hand_run(const uint8_t *inputs, uint8_t *outputs);
static enum cq_status run(const uint8_t *inputs, uint8_t *outputs)
{
    return hand_run(inputs, outputs);
}
const struct codeq_harness codeq_harness = {"hand", 4, 4, run};
"""

SECTION = {"hand_fast": "codeq_code."}
"""A function that `codeq compile --place code=…` may put into another memory."""

# reads a count, calls the kernel twice and returns CQ_OK
RUN = (
    "push {r4, lr}",
    "ldrb r4, [r0]",
    *("movs r0, r4", "bl hand_kernel") * 2,
    "movs r0, #0",
    "pop {r4, pc}",
)
RUN_INSTRUCTIONS = len(RUN)
# goes round as often as r0 says
LOOP = ("movs r1, #0", "1: adds r1, r1, r0", "subs r0, r0, #1", "bne 1b", "bx lr")


def linked(
    directory: Path, kernel: tuple[str, ...], board: str, compiler: str = "best", **more: object
) -> firmware.Firmware:
    """Firmware whose `hand_run` calls `hand_kernel`."""
    library, binding = directory / "hand.c", directory / "binding.c"
    functions = {"hand_run": RUN, "hand_kernel": kernel, **more}
    library.write_text(
        "".join(
            FUNCTION.format(
                name=name,
                section=SECTION.get(name, ""),
                lines="\n".join(f'"{line}\\n"' for line in lines),
            )
            for name, lines in functions.items()
        )
    )
    binding.write_text(BINDING)
    program = Program(
        app=targets_dir() / "common" / "main.c",
        binding=(binding,),
        library=(library,),
        includes=(runtime_dir() / "include",),
    )
    return firmware.link(program, target.load(board), compiler=found(COMPILERS[compiler]))


def counted(image: firmware.Firmware, *rounds: int) -> Counts:
    """Counts of runs that go round the loop so often."""
    found(tools.qemu)
    inputs = np.zeros((len(rounds), 4), np.uint8)
    inputs[:, 0] = rounds
    return counter.count(image, inputs, entry="hand_run", kernels=["hand_kernel"])


def calls(counts: Counts, run: int = 0) -> list[Stretch]:
    kernel = counts.code.functions["hand_kernel"][0]
    return [stretch for stretch in counts.runs[run] if stretch.function == kernel]


@pytest.mark.parametrize("board", each(EMULATED))
def test_a_loop_counts_what_it_executes(board: str, tmp_path: Path) -> None:
    """A count that is off by one here is off by a million in a network."""
    counts = counted(linked(tmp_path, LOOP, board), 1, 7, 200)

    for run, rounds in enumerate((1, 7, 200)):
        first, second = calls(counts, run)
        assert 1 + 3 * rounds + 1 == first.instructions == second.instructions
        # back to the loop's start, and back to the caller
        assert rounds - 1 + 1 == sum(block.taken for block in first.blocks)


@pytest.mark.parametrize("compiler", COMPILERS)
def test_the_entry_point_itself_is_what_the_kernels_leave(compiler: str, tmp_path: Path) -> None:
    """Layers and glue are all that is executed between call and return, and nothing twice."""
    counts = counted(linked(tmp_path, LOOP, "mps2_an386", compiler), 5)
    run = counts.runs[0]
    glue = [stretch for stretch in run if stretch not in calls(counts)]

    assert RUN_INSTRUCTIONS == sum(stretch.instructions for stretch in glue)
    assert [False, True, False, True, False] == [stretch in calls(counts) for stretch in run]


def test_two_runs_of_the_emulator_count_the_same(tmp_path: Path) -> None:
    """A figure that is another one tomorrow cannot be compared."""
    image = linked(tmp_path, LOOP, "mps2_an386")

    assert counted(image, 3, 9).runs == counted(image, 3, 9).runs


def test_what_a_kernel_calls_belongs_to_it(tmp_path: Path) -> None:
    """Even another kernel, which would be a layer of its own if the entry point called it."""
    kernel = ("push {r4, lr}", "bl hand_helper", "pop {r4, pc}")
    image = linked(tmp_path, kernel, "mps2_an386", hand_helper=("nop", "bx lr"))
    inputs = np.zeros((1, 4), np.uint8)

    counts = counter.count(image, inputs, entry="hand_run", kernels=["hand_kernel", "hand_helper"])

    assert [5, 5] == [stretch.instructions for stretch in calls(counts)]


def test_inner_loops_in_a_memory_of_their_own_are_counted(tmp_path: Path) -> None:
    """`--place code=…` moves them out of .text; a kernel would look as if it did nothing."""
    kernel = ("push {r4, lr}", "bl hand_fast", "pop {r4, pc}")
    image = linked(tmp_path, kernel, "mps2_an386", hand_fast=LOOP)

    counts = counted(image, 20)

    assert 2 == len(counts.code.sections)
    assert [3 + 1 + 3 * 20 + 1] * 2 == [stretch.instructions for stretch in calls(counts)]
    start, _ = counts.code.functions["hand_fast"]
    assert (counts.code.sections[start], 0) == counts.code.at(start)


def test_a_kernel_that_the_entry_point_ends_with_is_one_too(tmp_path: Path) -> None:
    """Compilers turn the last call into a jump: it returns to whoever called the entry point."""
    jumping = ("push {r4, lr}", "movs r0, #2", "bl hand_kernel", "pop {r4}", "pop {r1}")
    jumping = (*jumping, "mov lr, r1", "movs r0, #2", "b hand_kernel")
    image = linked(tmp_path, LOOP, "mps2_an386", hand_run=jumping)
    inputs = np.zeros((2, 4), np.uint8)

    # the loop leaves 0 = CQ_OK in r0
    counts = counter.count(image, inputs, entry="hand_run", kernels=["hand_kernel"])

    assert [[8, 8]] * 2 == [[s.instructions for s in calls(counts, run)] for run in range(2)]
    assert len(jumping) == sum(s.instructions for s in counts.runs[0]) - 16


def test_an_instruction_across_two_pages_is_one(tmp_path: Path) -> None:
    """QEMU looks over a page's end: it then says that the instruction before is longer."""
    kernel = (".balign 1024", *["nop"] * 511, "add.w r0, r0, #0", "nop", "bx lr")
    image = linked(tmp_path, kernel, "mps2_an386")

    (call, _) = calls(counted(image, 1))

    assert 511 + 3 == call.instructions
    assert 1 == sum(block.taken for block in call.blocks)


@pytest.mark.parametrize(
    ("access", "unaligned"),
    [
        ("ldr r1, [r2]", 0),
        ("ldr r1, [r2, #2]", 1),
        ("ldrh r1, [r2, #1]", 1),
        ("ldrb r1, [r2, #3]", 0),
        ("str r1, [r2, #1]", 1),
    ],
)
def test_accesses_beside_their_size_are_counted(
    access: str, unaligned: int, tmp_path: Path
) -> None:
    """They cost more on every core, and are faults on the smallest."""
    kernel = ("sub sp, #16", "mov r2, sp", access, "add sp, #16", "bx lr")

    (call, _) = calls(counted(linked(tmp_path, kernel, "mps2_an386"), 1))

    assert unaligned == call.unaligned


def test_a_board_that_is_not_emulated_is_refused() -> None:
    """Instructions of silicon cannot be seen from outside."""
    inputs = np.zeros((1, 16), np.uint8)

    with pytest.raises(InputError, match="nucleo_f411re is no emulated board"):
        counter.count(probe("nucleo_f411re"), inputs, entry="run", kernels=[])


def test_a_function_that_is_not_in_the_image_is_named(tmp_path: Path) -> None:
    """A library that was edited no longer calls what its manifest says."""
    found(tools.qemu)
    image = linked(tmp_path, LOOP, "mps2_an386")
    inputs = np.zeros((1, 4), np.uint8)

    with pytest.raises(ToolError, match="mps2_an386 has no function cq_gone"):
        counter.count(image, inputs, entry="hand_run", kernels=["cq_gone"])


def test_without_qemu_nothing_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """unicorn skips instructions whose condition fails: its count would be too low."""
    image = linked(tmp_path, LOOP, "mps2_an386")
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CODEQ_QEMU", raising=False)

    with pytest.raises(ToolError, match="apt install qemu-system-arm"):
        counter.count(image, np.zeros((1, 4), np.uint8), entry="hand_run", kernels=[])


def test_a_qemu_without_plugins_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some distributions build it so; the emulator's own words are no advice."""
    program = tmp_path / "qemu"
    program.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && echo version 7.2.0 && exit 0\n'
        "echo 'qemu: -plugin: invalid option' >&2\nexit 1\n"
    )
    program.chmod(0o755)
    image = linked(tmp_path, LOOP, "mps2_an386")
    monkeypatch.setenv("CODEQ_QEMU", str(program))

    with pytest.raises(ToolError, match="must be built with TCG plugins"):
        counter.count(image, np.zeros((1, 4), np.uint8), entry="hand_run", kernels=[])


@pytest.mark.parametrize(
    ("version", "expected"), [("7.2.22", 1), ("8.2.1", 1), ("9.0.0", 2), ("10.1", 2), ("git", 1)]
)
def test_the_plugin_states_a_version_that_its_qemu_takes(version: str, expected: int) -> None:
    """QEMU 9 refuses plugins that state 1, and those before it refuse 2."""
    emulator = tools.Tool(name="qemu-system-arm", command=("qemu",), version=version, source="")

    assert expected == counter.plugin_version(emulator)


@pytest.mark.parametrize("compiler", ["host_cc", "zig_cc"])
def test_the_plugin_compiles_without_warnings(compiler: str, tmp_path: Path) -> None:
    """It is compiled on the user's machine, by the compiler that is there."""
    command = found(getattr(tools, compiler)).command
    source = targets_dir() / "counter" / "counter.c"
    flags = [*counter.PLUGIN_FLAGS, *STRICT_FLAGS, "-Werror", "-DQEMU_PLUGIN_VERSION=1"]

    done = subprocess.run(
        [*command, *flags, str(source), "-o", str(tmp_path / "counter.so")],
        capture_output=True,
        text=True,
        check=False,
    )

    assert 0 == done.returncode, done.stderr


def test_the_plugins_layout_is_that_of_clang_format() -> None:
    """One layout for all C."""
    sources = map(str, sorted((targets_dir() / "counter").glob("*.[ch]")))
    command = found(tools.clang_format).command

    done = subprocess.run(
        [*command, "--dry-run", "-Werror", *sources], capture_output=True, text=True, check=False
    )

    assert 0 == done.returncode, done.stderr
