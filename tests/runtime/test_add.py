# SPDX-License-Identifier: Apache-2.0
"""add with a table of terms, which the matrix gives it no room for. [add-C5]"""

from dataclasses import replace

import numpy as np
import pytest

from codeq_compile.kernels import Kernel
from codeq_compile.ops.add import MIN_TABLED, TABLE_BYTES, Add
from codeq_compile.simulate import simulate
from tests.graphs import Case, grid, lowered, one_op_graph, s8
from tests.runtime.matrix import Job

VALUES = np.arange(-128, 128, dtype=np.int8)


def job(a_scale: float, b_scale: float, period: int, clamp: tuple[int, int]) -> Job:
    """The sums of all pairs of values, with room for the table."""
    types = (
        s8(65536 // period, period, scale=a_scale, zero_point=-77),
        s8(*([65536 // period] * (period < 256)), period, scale=b_scale, zero_point=5),
    )
    graph = lowered(one_op_graph(Add(clamp=clamp), types, grid(0.06, -20)))
    (node,) = graph.nodes
    graph = graph.with_nodes(
        (replace(node, params=node.op.with_scratch(node.params, TABLE_BYTES)),)
    )
    inputs = (
        np.repeat(VALUES, 256).reshape(1, *types[0].shape),
        (VALUES if period == 256 else np.tile(VALUES, 256)).reshape(1, *types[1].shape),
    )
    return Job(
        kernel=Kernel(family="add", act="s8", isa="dsp"),
        case=Case(name=f"{a_scale} {b_scale}", op=node.op, inputs=types),
        graph=graph,
        packed=None,
        inputs=inputs,
        expected=np.asarray(simulate(graph, dict(zip(("x0", "x1"), inputs, strict=True)))["y"]),
    )


@pytest.mark.parametrize("clamp", [(-128, 127), (-20, 127), (-30, 100)], ids=str)
@pytest.mark.parametrize("period", [256, 16], ids=["repeated", "same-shape"])
@pytest.mark.parametrize("scales", [(0.05, 0.031), (0.031, 0.05), (0.05, 0.05), (0.05, 1e-9)])
def test_all_pairs_are_added_with_a_table_as_without(runtime, scales, period, clamp):
    """What has room in the arena must not change what is computed."""
    tabled = job(*scales, period, clamp)

    assert TABLE_BYTES == tabled.scratch_bytes
    np.testing.assert_array_equal(tabled.expected[0], runtime.run(tabled, 0))
    np.testing.assert_array_equal(tabled.expected[0], runtime.run(tabled, 0, in_place=0))


def test_a_table_needs_elements_and_room():
    """A small sum is done before the table is; RAM is never taken for speed."""
    for elements, room, expected in [
        (MIN_TABLED, TABLE_BYTES, TABLE_BYTES),
        (MIN_TABLED, TABLE_BYTES - 1, 0),
        (MIN_TABLED - 1, TABLE_BYTES, 0),
    ]:
        graph = lowered(one_op_graph(Add(), [s8(elements), s8(elements)], grid(0.06, 0)))
        (node,) = graph.nodes
        params = node.op.with_scratch(node.params, room)
        kinds = graph.input_types(node), graph.output_type(node)

        assert expected == node.op.scratch_bytes(params, *kinds, None, "add", "dsp")
        assert 0 == node.op.scratch_bytes(params, *kinds, None, "add", "ref")
