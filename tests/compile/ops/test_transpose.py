# SPDX-License-Identifier: Apache-2.0
"""transpose: the golden against loops written from NUMERICS §transpose, and its refusals."""

import itertools

import numpy as np
import pytest

from codeq_compile.errors import SpecViolation
from codeq_compile.ir.types import Range
from codeq_compile.ops.transpose import Transpose
from codeq_compile.simulate import simulate
from tests.graphs import Case, lowered, one_op_graph, s8

CASES = [
    *(
        Case(name="x".join(map(str, axes)), op=Transpose(axes=axes), inputs=(s8(3, 4, 5),))
        for axes in itertools.permutations(range(3))
    ),
    Case(name="vector", op=Transpose(axes=(0,)), inputs=(s8(7),)),
    Case(name="matrix", op=Transpose(axes=(1, 0)), inputs=(s8(13, 16),)),
    Case(name="four-axes", op=Transpose(axes=(3, 1, 0, 2)), inputs=(s8(2, 3, 4, 5),)),
    Case(name="ones", op=Transpose(axes=(2, 0, 1)), inputs=(s8(1, 1, 6),)),
]


def _loops(op: Transpose, x: np.ndarray, out: tuple[int, ...]) -> np.ndarray:
    """NUMERICS §transpose, Semantics."""
    y = np.empty(out, np.int8)
    for i in np.ndindex(out):
        j = [0] * len(out)
        for k, axis in enumerate(op.axes):
            j[axis] = i[k]
        y[i] = x[tuple(j)]
    return y


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_golden_equals_the_spec_written_as_loops(case: Case):
    """A wrong golden makes every kernel wrong with it, and no comparison would notice."""
    graph = lowered(case.graph())
    data = case.data()

    expected = [_loops(case.op, x, graph.tensors["y"].shape) for x in data["x0"]]

    np.testing.assert_array_equal(expected, simulate(graph, data)["y"])


@pytest.mark.parametrize(
    ("label", "axes", "shape"),
    [
        ("transpose-C2", (0, 0), (3, 4)),
        ("transpose-C2", (1, 0, 2), (3, 4)),
        ("transpose-C2", (0, 2, 1, 3, 4), (1, 2, 3, 4, 5)),
    ],
)
def test_an_illegal_order_is_refused_by_its_rule(label, axes, shape):
    """A model that breaks a rule must be refused with the rule's number, not compiled wrongly."""
    with pytest.raises(SpecViolation) as caught:
        one_op_graph(Transpose(axes=axes), [s8(*shape)])

    assert label == caught.value.label


@pytest.mark.parametrize(("axes", "low"), [((1, 0, 2), [-5, 3]), ((0, 2, 1), [-5] * 4)])
def test_ranges_follow_the_channels(axes, low):
    """Too narrow a range would let a kernel be chosen whose sums overflow. [transpose-C1]"""
    x = Range(low=np.array([-5, 3]), high=np.array([6, 9]))
    graph = lowered(one_op_graph(Transpose(axes=axes), [s8(3, 4, 2)]))
    (node,) = graph.nodes

    y = node.op.output_range(node.params, (x,), graph.input_types(node), graph.output_type(node))

    assert low == y.low.tolist()
