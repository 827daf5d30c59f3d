# SPDX-License-Identifier: Apache-2.0
"""Every folder of targets/ is complete, and CMake reads the flags that codeq uses."""

import re
import subprocess

import pytest

from codeq_compile import target
from codeq_compile.build import tools
from codeq_compile.resources import targets_dir
from tests.boards import found

BOARDS = tuple(name for name in target.names() if not target.load(name).is_host)
TOOLCHAIN = targets_dir() / "common" / "arm-none-eabi.cmake"


@pytest.mark.parametrize("name", BOARDS)
def test_memory_can_be_guarded(name):
    """An Armv7-M MPU region is a power of two, at a multiple of it; an Armv8-M one, of 32 bytes.

    Else the guard leaves gaps.
    """
    board = target.load(name)
    memory = board.memory
    assert memory is not None

    for region in memory.all.values():
        granule = 32 if board.core in {"cortex-m33", "cortex-m55"} else region.bytes
        assert 0 == granule & (granule - 1)
        assert 0 == region.origin % granule == region.bytes % granule
    assert 0 == memory.stack_bytes % 8  # the stack pointer's alignment


@pytest.mark.parametrize("name", BOARDS)
def test_both_compilers_are_told_about_the_same_core(name):
    """An image of another core may run in the emulator and not on the part."""
    board = target.load(name)

    assert f"-mcpu={board.core}" in board.build.gcc_flags
    assert board.build.zig_cpu is not None
    assert board.core.replace("-", "_") == board.build.zig_cpu.partition("+")[0]
    is_hard_float = "-mfloat-abi=hard" in board.build.gcc_flags
    assert ("eabihf" if is_hard_float else "eabi") == board.build.zig_target.rpartition("-")[2]


@pytest.mark.parametrize("name", target.names())
def test_the_overview_lists_the_target(name):
    """People choose a board from this table."""
    board = target.load(name)
    text = (targets_dir() / "README.md").read_text(encoding="utf-8")
    (row,) = re.findall(rf"^\| `{name}` .*$", text, re.MULTILINE)

    assert f"| {', '.join(board.isa)} |" in row


def test_the_overview_explains_every_field():
    """A new board is made from this table."""
    text = (targets_dir() / "README.md").read_text(encoding="utf-8")
    fields = {
        *target.Memory.__struct_fields__,
        *target.Region.__struct_fields__,
        *target.Build.__struct_fields__,
        *target.Run.__struct_fields__,
        *target.Target.__struct_fields__,
    }

    assert not [field for field in fields - {"memory", "build", "run"} if f"{field}`" not in text]


def configure(build, *options):
    command = [*found(tools.cmake).command, "-S", str(build.parent / "source"), "-B", str(build)]
    return subprocess.run([*command, *options], capture_output=True, text=True)


@pytest.fixture
def build(tmp_path):
    """Build folder of a project with one C file."""
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "a.c").write_text("#include <stdint.h>\nint32_t a(void) { return 1; }\n")
    (tmp_path / "source" / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.16)\nproject(a C)\nadd_library(a STATIC a.c)\n"
    )
    return tmp_path / "build"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["microbit", "mps3_an547"])
def test_the_toolchain_file_builds_for_the_target(name, build):
    """The library that a user builds with CMake must be for the core that was compiled for."""
    found(tools.arm_cc)

    done = configure(
        build,
        f"-DCMAKE_TOOLCHAIN_FILE={TOOLCHAIN}",
        f"-DCODEQ_TARGET={name}",
        "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON",
    )

    assert 0 == done.returncode, done.stderr
    commands = (build / "compile_commands.json").read_text()
    assert all(flag in commands for flag in target.load(name).build.gcc_flags)
    subprocess.run([*found(tools.cmake).command, "--build", str(build)], check=True)


@pytest.mark.parametrize(
    ("name", "said"), [("nowhere", "there is no"), ("host", "is not a Cortex-M")]
)
def test_the_toolchain_file_refuses_what_is_no_board(name, said, build):
    """Flags of no core would give a library that faults at its first instruction."""
    done = configure(build, f"-DCMAKE_TOOLCHAIN_FILE={TOOLCHAIN}", f"-DCODEQ_TARGET={name}")

    assert 0 != done.returncode
    assert said in done.stderr
