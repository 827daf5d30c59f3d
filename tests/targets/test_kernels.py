# SPDX-License-Identifier: Apache-2.0
"""Every row of kernels.inc times its op's cases on the six emulated cores: C equals the golden."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from codeq_compile import target
from codeq_compile.build import firmware, run
from codeq_compile.build.firmware import Firmware, Program
from codeq_compile.emit.runtime import needed
from codeq_compile.kernels import Kernel, rows
from codeq_compile.resources import runtime_dir
from tests.boards import COMPILERS, EMULATED, emulator_of, found
from tests.runtime.matrix import jobs
from tests.targets.jobs import Request, differences, encode, requests, table_source

pytestmark = [pytest.mark.qemu, pytest.mark.slow]

HERE = Path(__file__).parent


@cache
def requests_of(kernel: Kernel) -> tuple[Request, ...]:
    """The same bytes for every core."""
    return tuple(request for job in jobs(kernel) for request in requests(job))


def kernels_of(board: str) -> list[Kernel]:
    """Every row that the board's core can execute."""
    return [kernel for kernel in rows() if kernel.isa in target.load(board).isa]


def image(board: str, kernels: list[Kernel], folder: Path, compiler: str = "best") -> Firmware:
    table = folder / "kernel_table.c"
    table.write_text(table_source(kernels))
    sources = (runtime_dir() / path for path in needed(kernels) if path.endswith(".c"))
    program = Program(
        app=HERE / "kernel_server.c",
        library=(table, *sources),
        includes=(runtime_dir() / "include", HERE),
    )
    return firmware.link(program, target.load(board), compiler=found(COMPILERS[compiler]))


def run_jobs(
    server: Firmware, batch: list[Request], kernels: list[Kernel], folder: Path
) -> list[str]:
    (folder / "jobs.bin").write_bytes(encode(batch, kernels))
    run.execute(server, folder, emulator=emulator_of(server.target.name))
    return differences(batch, (folder / "results.bin").read_bytes())


def assert_equal_to_the_golden(board: str, compiler: str, folder: Path) -> None:
    kernels = kernels_of(board)
    server = image(board, kernels, folder, compiler)
    batch = [request for kernel in kernels for request in requests_of(kernel)]

    differing = run_jobs(server, batch, kernels, folder)

    assert [] == differing[:20]
    tried = {request.kernel for request in batch}
    # one call says little about a kernel that remembers: tests/e2e/test_state.py makes several
    assert {"svdf"} == {kernel.family for kernel in kernels if kernel not in tried}


@pytest.mark.parametrize("board", EMULATED)
def test_every_kernel_equals_the_golden_on_the_core(board, tmp_path):
    """Another compiler, instruction set and alignment rule: still the same integers."""
    assert_equal_to_the_golden(board, "best", tmp_path)


@pytest.mark.parametrize("board", ["mps2_an386", "mps3_an547"])
def test_every_kernel_equals_the_golden_when_the_second_compiler_built_it(board, tmp_path):
    """gcc 12 gets constant Helium predicates wrong: one compiler alone proves too little."""
    assert_equal_to_the_golden(board, "zig", tmp_path)


def test_a_wrong_byte_anywhere_is_seen(tmp_path):
    """The comparison itself must be able to fail: in the output, in a guard, in an input."""
    kernels = kernels_of("mps2_an386")[:1]
    server = image("mps2_an386", kernels, tmp_path)
    request = requests_of(kernels[0])[0]
    positions = [0, len(request.expected) // 2, len(request.expected) - 1]
    batch = [
        replace(request, expected=_flipped(request.expected, position)) for position in positions
    ]

    assert 3 == len(run_jobs(server, batch, kernels, tmp_path))


def _flipped(data: bytes, position: int) -> bytes:
    return data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]
