# SPDX-License-Identifier: Apache-2.0
"""extremum: the golden against loops written from NUMERICS §extremum, and its refusals."""

import numpy as np
import pytest

from codeq_compile.errors import SpecViolation
from codeq_compile.ir.types import Range
from codeq_compile.ops.extremum import Extremum
from codeq_compile.simulate import simulate
from tests.graphs import Case, lowered, one_op_graph, s8

A = s8(3, 4, 5)

CASES = [
    Case(
        name=f"{'max' if largest else 'min'}-{'x'.join(map(str, shape))}",
        op=Extremum(largest=largest),
        inputs=(A, s8(*shape)),
    )
    for largest in (True, False)
    for shape in [(3, 4, 5), (4, 5), (5,), (1, 1, 5), (1,)]
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_golden_equals_the_spec_written_as_loops(case: Case):
    """A wrong golden makes every kernel wrong with it, and no comparison would notice."""
    data = case.data()
    choose = max if case.op.largest else min
    expected = []
    for a, b in zip(data["x0"], data["x1"], strict=True):
        period = b.ravel().tolist()
        chosen = [choose(v, period[i % len(period)]) for i, v in enumerate(a.ravel().tolist())]
        expected.append(np.array(chosen).reshape(a.shape))

    np.testing.assert_array_equal(expected, simulate(lowered(case.graph()), data)["y"])


@pytest.mark.parametrize(
    ("label", "inputs"),
    [
        ("extremum-C1", [A]),
        ("extremum-C2", [A, s8(4)]),
        ("extremum-C3", [A, s8(5, scale=0.9)]),
    ],
)
def test_illegal_inputs_are_refused_by_their_rule(label, inputs):
    """A model that breaks a rule must be refused with the rule's number, not compiled wrongly."""
    with pytest.raises(SpecViolation) as caught:
        one_op_graph(Extremum(largest=True), inputs)

    assert label == caught.value.label


@pytest.mark.parametrize(("largest", "expected"), [(True, (2, 9)), (False, (1, 5))])
def test_ranges_follow_the_choice(largest, expected):
    """Too narrow a range would let a kernel be chosen whose sums overflow. [extremum-C1]"""
    graph = lowered(one_op_graph(Extremum(largest=largest), [s8(1), s8(1)]))
    (node,) = graph.nodes
    limits = ((1, 9), (2, 5))
    ranges = tuple(Range(low=np.array([low]), high=np.array([high])) for low, high in limits)

    y = node.op.output_range(node.params, ranges, graph.input_types(node), graph.output_type(node))

    assert expected == (int(y.low[0]), int(y.high[0]))
