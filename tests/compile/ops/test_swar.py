# SPDX-License-Identifier: Apache-2.0
"""Scratch of the swar kernels: what product_swar.h lays out, byte by byte."""

import re

import numpy as np
import pytest

from codeq_compile.ir import Packed
from codeq_compile.ops import swar
from codeq_compile.ops.dwconv2d import DWConv2D
from codeq_compile.resources import runtime_dir
from tests.graphs import lowered, one_op_graph, random_weights, s8

PLAIN = Packed(packing="dense", bits=8, data=b"")
NARROW = Packed(packing="dense", bits=3, data=b"")


def test_c_and_python_share_their_constants():
    """A tile that is larger in C than in the plan overwrites what lies behind the scratch."""
    text = (runtime_dir() / "include" / "codeq" / "types.h").read_text()
    in_c = {name: int(value) for name, value in re.findall(r"#define CQ_(\w+)\s+(\d+)", text)}

    for name in ("TILE_BYTES", "MIN_TILE", "MAX_TILE", "SUMS"):
        assert getattr(swar, name) == in_c[f"SWAR_{name}"]


@pytest.mark.parametrize(
    ("length", "vectors", "expected"),
    [(1, 1, 1), (8, 100, 25), (64, 16, 16), (64, 17, 9), (129, 100, 7), (1000, 9, 3)],
)
def test_tiles_are_alike_and_bounded(length, vectors, expected):
    """A last tile of one vector would decode all weights for it."""
    assert expected == swar.tile_vectors(length, vectors)


def test_pieces_of_a_row_are_alike_and_whole_steps():
    """A last piece of a few weights costs a pass over all vectors."""
    assert [1, 200, 256, 136, 192] == [swar.piece(length) for length in (1, 200, 256, 257, 576)]


def test_scratch_is_the_tile_the_row_cache_the_sums_and_a_decoded_piece():
    """Too little scratch is a buffer overflow on the device. [conv2d-C10] [linear-C7]"""
    # 8 vectors of 24 pairs of bytes, four rows of them, four sums a vector, one row as bytes
    assert 8 * 48 + 4 * 48 + 8 * 16 == swar.product_bytes(PLAIN, 20, 8)
    assert 8 * 48 + 4 * 48 + 8 * 16 + 20 == swar.product_bytes(NARROW, 20, 8)


def test_a_gathered_patch_lies_where_the_cache_is_later():
    """Both are needed one after the other; a long patch is longer than the cache."""
    assert swar.product_bytes(PLAIN, 20, 8) == swar.product_bytes(PLAIN, 20, 8, gathered=20)
    assert 4 * 4800 + 2400 == swar.product_bytes(PLAIN, 2400, 4, gathered=2400)


def test_depthwise_scratch_is_rows_sums_and_weights():
    """One sum more than there are outputs: windows come in groups of four. [dwconv2d-C9]"""
    op = DWConv2D(stride=(1, 2), padding=(1, 1, 1, 1))
    weights = random_weights(np.random.default_rng(0), (2, 3, 3), bits=4)
    graph = lowered(one_op_graph(op, [s8(4, 9, 2)], weights=weights))
    node, y = graph.nodes[0], graph.tensors["y"]
    arguments = (node.params, graph.input_types(node), y, NARROW, "dwconv2d", "swar")

    assert (4, 5) == y.shape[:2]
    assert 4 * (3 * (2 * 5 + 3) + 64 + 1 + 9) + 12 == node.op.scratch_bytes(*arguments)
