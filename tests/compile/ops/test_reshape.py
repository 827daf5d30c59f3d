# SPDX-License-Identifier: Apache-2.0
"""reshape: the same bytes under another shape."""

import numpy as np
import pytest

from codeq_compile.errors import SpecViolation
from codeq_compile.ops.reshape import Reshape
from codeq_compile.simulate import simulate
from tests.graphs import Case, lowered, one_op_graph, s8

CASES = [
    Case(name="flatten", op=Reshape(shape=(24,)), inputs=(s8(2, 3, 4),)),
    Case(name="image", op=Reshape(shape=(2, 3, 4)), inputs=(s8(24),)),
    Case(name="swap", op=Reshape(shape=(4, 6)), inputs=(s8(2, 3, 4),)),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_bytes_stay_where_they_are(case: Case):
    """A view needs no kernel: the planner gives it its input's buffer. [reshape-C1]"""
    graph = lowered(case.graph())
    data = case.data()

    y = simulate(graph, data)["y"]

    assert case.op.is_view
    assert (len(y), *graph.tensors["y"].shape) == y.shape
    np.testing.assert_array_equal(data["x0"].ravel(), y.ravel())


@pytest.mark.parametrize(
    ("label", "op", "inputs"),
    [
        ("reshape-C1", Reshape(shape=(4,)), [s8(2), s8(2)]),
        ("reshape-C2", Reshape(shape=(5,)), [s8(2, 2)]),
        ("reshape-C2", Reshape(shape=(-2, -2)), [s8(2, 2)]),
        ("reshape-C2", Reshape(shape=()), [s8(1)]),
    ],
)
def test_an_illegal_shape_is_refused_by_its_rule(label, op, inputs):
    """A model that breaks a rule must be refused with the rule's number, not compiled wrongly."""
    with pytest.raises(SpecViolation) as caught:
        one_op_graph(op, inputs)

    assert label == caught.value.label
