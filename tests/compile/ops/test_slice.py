# SPDX-License-Identifier: Apache-2.0
"""slice: the golden against loops written from NUMERICS §slice, and its refusals."""

import numpy as np
import pytest

from codeq_compile.errors import SpecViolation
from codeq_compile.ir.types import Range
from codeq_compile.ops.slice import Slice
from codeq_compile.simulate import simulate
from tests.graphs import Case, lowered, one_op_graph, s8

CASES = [
    Case(name=name, op=Slice(begin=begin, step=step, shape=shape), inputs=(s8(*x),))
    for name, x, begin, step, shape in (
        ("all", (4, 5, 6), (0, 0, 0), (1, 1, 1), (4, 5, 6)),
        ("rows", (4, 5, 6), (1, 0, 0), (1, 1, 1), (2, 5, 6)),
        ("channels", (4, 5, 6), (0, 0, 2), (1, 1, 1), (4, 5, 3)),
        ("every-second", (4, 5, 7), (1, 0, 0), (2, 2, 2), (2, 3, 4)),
        ("backwards", (4, 5, 6), (3, 4, 5), (-1, -2, -1), (4, 3, 6)),
        ("one", (4, 5, 6), (2, 3, 5), (1, 1, 1), (1, 1, 1)),
        ("vector", (17,), (3,), (1,), (13,)),
        ("matrix", (3, 40), (0, 1), (1, 3), (3, 13)),
        ("four-axes", (2, 3, 4, 5), (1, 0, 1, 0), (1, 2, 1, 4), (1, 2, 3, 2)),
    )
]


def _loops(op: Slice, x: np.ndarray) -> np.ndarray:
    """NUMERICS §slice, Semantics."""
    y = np.empty(op.shape, np.int8)
    for i in np.ndindex(op.shape):
        y[i] = x[tuple(b + n * s for n, b, s in zip(i, op.begin, op.step, strict=True))]
    return y


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_golden_equals_the_spec_written_as_loops(case: Case):
    """A wrong golden makes every kernel wrong with it, and no comparison would notice."""
    graph = lowered(case.graph())
    data = case.data()

    expected = [_loops(case.op, x) for x in data["x0"]]

    np.testing.assert_array_equal(expected, simulate(graph, data)["y"])


@pytest.mark.parametrize(
    ("begin", "step", "shape", "x"),
    [
        ((0,), (1,), (3,), (3, 4)),
        ((0, 0), (1, 1), (3, 5), (3, 4)),
        ((0, 0), (1, -1), (3, 2), (3, 4)),
        ((0, 4), (1, 1), (3, 1), (3, 4)),
        ((0, 0), (1, 0), (3, 2), (3, 4)),
        ((0, 0), (1, 1), (3, 0), (3, 4)),
        ((0,) * 5, (1,) * 5, (1,) * 5, (1, 1, 1, 1, 1)),
    ],
)
def test_an_illegal_part_is_refused_by_its_rule(begin, step, shape, x):
    """A model that breaks a rule must be refused with the rule's number, not compiled wrongly."""
    with pytest.raises(SpecViolation) as caught:
        one_op_graph(Slice(begin=begin, step=step, shape=shape), [s8(*x)])

    assert "slice-C2" == caught.value.label


def test_ranges_follow_the_channels():
    """A range that is too narrow would let a kernel be chosen whose sums overflow. [slice-C1]"""
    x = Range(low=np.array([-5, 3, -7]), high=np.array([6, 9, 8]))
    graph = lowered(one_op_graph(Slice(begin=(0, 2), step=(1, -2), shape=(4, 2)), [s8(4, 3)]))
    (node,) = graph.nodes

    y = node.op.output_range(node.params, (x,), graph.input_types(node), graph.output_type(node))

    assert ([-7, -5], [8, 6]) == (y.low.tolist(), y.high.tolist())
