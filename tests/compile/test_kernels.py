# SPDX-License-Identifier: Apache-2.0
"""The rows of kernels.inc, and which one serves a layer."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from codeq_compile import target
from codeq_compile.errors import InputError, NoKernel
from codeq_compile.ir import Node, Packed, op_kinds, op_type
from codeq_compile.kernels import Kernel, parse, rows, select
from codeq_compile.ops.add import Add
from codeq_compile.ops.conv2d import Conv2D
from codeq_compile.packing import CODECS, pack
from codeq_compile.resources import runtime_dir
from tests.graphs import lowered, one_op_graph, random_weights, s8

M3, M4, M55 = (target.load(name) for name in ("mps2_an385", "mps2_an386", "mps3_an547"))


def conv(rng: np.random.Generator, kernel: int, packing: str) -> tuple[Node, Packed]:
    """A lowered convolution and its stream."""
    layer = random_weights(rng, (4, kernel, kernel, 3), bits=4)
    (node,) = lowered(one_op_graph(Conv2D(), [s8(5, 5, 3)], weights=layer)).nodes
    return node, pack(layer, packing)


def test_every_row_has_its_source_and_header() -> None:
    """CMake and the emitted library take the file names from here."""
    for kernel in rows():
        assert (runtime_dir() / kernel.source).is_file(), kernel.source
        assert (runtime_dir() / "include" / kernel.header).is_file(), kernel.header


def test_every_op_has_reference_kernels_for_all_it_promises() -> None:
    """`ref` is what every core can run: without it an op is no op."""
    known = set(rows())
    for kind in op_kinds():
        op = op_type(kind)
        if op.is_view:
            continue
        if not op.has_weights:
            assert Kernel(family=kind, act="s8", isa="ref") in known
            continue
        for packing in op.packings:
            widths: dict[str, Iterable[int]] = {
                "ternary": [2],
                "gap": range(2, 7),
                "csr": [2, 4, 8],
                "huffman": range(2, 9),
            }
            for bits in widths.get(packing, range(1, 9)):
                row = Kernel(family=kind, act="s8", isa="ref", bits=bits, packing=packing)
                assert row in known, f"{row} is missing"


def test_no_row_is_written_twice_or_for_nothing() -> None:
    """A row of an op or codec that does not exist is never selected."""
    assert len(set(rows())) == len(rows())
    for kernel in rows():
        assert kernel.op in op_kinds()
        assert kernel.packing in {None, *CODECS}


def test_names_follow_the_grammar() -> None:
    """The name in the emitted C is what people search for."""
    weighted = Kernel(family="conv2d_1x1", act="s8", isa="dsp", bits=4, packing="dense")

    assert "cq_conv2d_1x1_s8_w4_dense_dsp" == weighted.symbol == str(weighted)
    assert "src/conv2d_1x1/conv2d_1x1_dsp.c" == weighted.source
    assert ("conv2d", "codeq/conv2d.h") == (weighted.op, weighted.header)
    assert "cq_add_s8_ref" == Kernel(family="add", act="s8", isa="ref").symbol


def test_rows_are_read_as_text(tmp_path: Path) -> None:
    """Comments and preprocessor lines around them are skipped."""
    path = tmp_path / "kernels.inc"
    path.write_text(
        "/* CQ_KERNEL(in, a, comment) */\n#ifdef X\n"
        "CQ_KERNEL_W(conv2d,  s8,  w4,  dense,  ref)\nCQ_KERNEL(  add,  s8,  ref)\n#endif\n"
    )

    assert (
        Kernel(family="conv2d", act="s8", isa="ref", bits=4, packing="dense"),
        Kernel(family="add", act="s8", isa="ref"),
    ) == parse(path)


@pytest.mark.parametrize(
    "row", ["CQ_KERNEL(add, s8)", "CQ_KERNEL_W(conv2d, s8, w9, dense, ref)", "CQ_KERNELS(x, y, z)"]
)
def test_a_row_that_is_not_understood_is_told_with_its_line(row: str, tmp_path: Path) -> None:
    """Skipping it would hide a kernel."""
    path = tmp_path / "kernels.inc"
    path.write_text("\n" + row + "\n")

    with pytest.raises(InputError, match=r"kernels\.inc:2: not a row"):
        parse(path)
    with pytest.raises(InputError, match="cannot read"):
        parse(tmp_path / "missing.inc")


def test_the_best_instruction_set_wins(rng: np.random.Generator) -> None:
    """A DSP core with reference kernels is several times slower."""
    node, packed = conv(rng, 1, "dense")
    symbols = [select(node.op, node.params, packed, board).symbol for board in (M3, M4, M55)]

    assert [
        "cq_conv2d_s8_w4_dense_swar",
        "cq_conv2d_1x1_s8_w4_dense_dsp",
        "cq_conv2d_1x1_s8_w4_dense_mve",
    ] == symbols


def test_a_special_family_is_used_only_where_it_applies(rng: np.random.Generator) -> None:
    """The pointwise kernel reads pixels as patches: a 3x3 window would be wrong."""
    node, packed = conv(rng, 3, "dense")

    assert "cq_conv2d_s8_w4_dense_mve" == select(node.op, node.params, packed, M55).symbol


def test_a_layer_without_a_kernel_is_told_with_the_nearest_rows(rng: np.random.Generator) -> None:
    """The two nearest rows and what is different there say what to change."""
    node, packed = conv(rng, 1, "dense")
    strange = Packed(packing="tans", bits=packed.bits, data=packed.data)

    with pytest.raises(NoKernel) as caught:
        select(node.op, node.params, strange, M3)
    lines = str(caught.value).splitlines()

    assert 'no kernel for op "conv2d" on mps2_an385: cq_conv2d_s8_w4_tans_ref' in lines[0]
    assert "  nearest: cq_conv2d_s8_w4_dense_ref (packing dense, not tans)" == lines[1]
    assert 3 == len(lines)


def test_unweighted_ops_have_one_kernel(rng: np.random.Generator) -> None:
    """Whatever the packing of the other layers."""
    graph = lowered(one_op_graph(Add(), [s8(4), s8(4)], s8(4).grid))
    (node,) = graph.nodes

    assert "cq_add_s8_mve" == select(node.op, node.params, None, M55).symbol
