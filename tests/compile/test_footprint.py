# SPDX-License-Identifier: Apache-2.0
"""Predicted code: the functions that a linked image holds; the table that the compiler gives."""

from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

import codeq_compile
from codeq_compile import footprint, target
from codeq_compile.build import firmware, tools
from codeq_compile.kernels import rows
from tests.bench.footprint import parts
from tests.boards import EMULATED, found
from tests.networks import benchmark

M4 = target.load("mps2_an386")


def same_compiler() -> tools.Tool:
    """The test is skipped where another compiler is installed: it gives other code."""
    compiler = found(tools.arm_cc)
    if f"{compiler.name} {compiler.version}" != footprint.table().compiler:
        pytest.skip(f"the table is of {footprint.table().compiler}")
    return compiler


@pytest.mark.parametrize("board", EMULATED)
def test_every_kernel_of_a_board_is_known(board: str) -> None:
    """A new kernel needs `python tests/bench/footprint.py`."""
    there = target.load(board)

    assert all(footprint.parts(kernel, there.core) for kernel in rows() if kernel.isa in there.isa)


def test_what_kernels_share_counts_once() -> None:
    """Two widths of a packing differ by a few bytes, not by a kernel."""
    four, six = (
        next(kernel for kernel in rows() if kernel.symbol == symbol)
        for symbol in ("cq_conv2d_s8_w4_dense_dsp", "cq_conv2d_s8_w6_dense_dsp")
    )
    one, both = footprint.predict([four], M4.core), footprint.predict([four, six, six], M4.core)
    assert one is not None
    assert both is not None

    assert one < both < one + 200
    assert footprint.predict([], M4.core) == 0
    assert footprint.predict([four], "cortex-a9") is None


@pytest.mark.slow
@pytest.mark.parametrize("board", ["microbit", "mps2_an386", "mps3_an547"])
def test_the_table_is_what_the_compiler_makes(board: str) -> None:
    """Whoever changes a kernel sees what its code became: on one core of each instruction set."""
    compiler, there = same_compiler(), target.load(board)

    assert footprint.table().cores[there.core] == parts(there, compiler)


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["dense8", "sparse4", "ternary"])
def test_a_linked_image_holds_the_predicted_functions(variant: str, tmp_path: Path) -> None:
    """No other one, and each with its size but for what aligns the next one."""
    compiler = same_compiler()
    made = codeq_compile.compile(benchmark("kws", variant), tmp_path / "kws", target=M4.name)
    image = firmware.build(tmp_path / "kws", M4, compiler=compiler, app="footprint")
    with image.elf.open("rb") as file:
        linked = {
            symbol.name: symbol["st_size"]
            for symbol in firmware.symbols(ELFFile(file))
            if symbol.name.startswith("cq_") and symbol["st_info"]["type"] == "STT_FUNC"
        }
    predicted = {
        part.name.split(":")[-1]: part.bytes
        for layer in made.plan.layers
        for part in footprint.parts(layer.kernel, M4.core) or ()
        if part.is_code
    }

    assert predicted.keys() == linked.keys()
    assert {0, 2} >= {predicted[name] - linked[name] for name in linked}
