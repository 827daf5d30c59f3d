# SPDX-License-Identifier: Apache-2.0
"""prelu: the golden against loops written from NUMERICS §prelu, and its refusals."""

import numpy as np
import pytest

from codeq_compile.errors import ModelError, SpecViolation
from codeq_compile.ir.types import Range
from codeq_compile.ops.prelu import PReLU, PReLUParams
from codeq_compile.passes import run
from codeq_compile.simulate import simulate
from tests.graphs import Case, grid, lowered, one_op_graph, s8
from tests.literal import clamp, rescale

X = s8(3, 4, 5, scale=0.05, zero_point=-3)

CASES = [
    *(
        Case(
            name=f"slope-{'x'.join(map(str, shape))}",
            op=PReLU(),
            inputs=(X, s8(*shape, scale=0.01, zero_point=20)),
            output=grid(0.04, -17),
        )
        for shape in [(3, 4, 5), (4, 5), (5,), (1, 1, 5), (1,)]
    ),
    Case(name="left-shift", op=PReLU(), inputs=(X, s8(5, scale=1.0)), output=grid(0.0009, 0)),
    Case(
        name="zeros-at-the-ends",
        op=PReLU(),
        inputs=(s8(33, zero_point=127), s8(33, scale=0.01, zero_point=-128)),
        output=grid(0.1, 0),
    ),
]


def _loops(params: PReLUParams, x: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """NUMERICS §prelu, Semantics."""
    period = slope.ravel().tolist()
    y = []
    for i, value in enumerate(x.ravel().tolist()):
        v = value - params.in_zero
        steep = period[i % len(period)] - params.slope_zero
        acc, scale = (v, params.above) if v >= 0 else (v * steep, params.below)
        scaled = rescale(acc, scale.multiplier, scale.exponent)
        y.append(clamp(scaled + params.out_zero, (-128, 127)))
    return np.array(y, np.int8).reshape(x.shape)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_golden_equals_the_spec_written_as_loops(case: Case):
    """A wrong golden makes every kernel wrong with it, and no comparison would notice."""
    graph = lowered(case.graph())
    data = case.data()
    (node,) = graph.nodes

    expected = [_loops(node.params, x, s) for x, s in zip(data["x0"], data["x1"], strict=True)]

    np.testing.assert_array_equal(expected, simulate(graph, data)["y"])


@pytest.mark.parametrize(("label", "inputs"), [("prelu-C1", [X]), ("prelu-C2", [X, s8(4)])])
def test_illegal_inputs_are_refused_by_their_rule(label, inputs):
    """A model that breaks a rule must be refused with the rule's number, not compiled wrongly."""
    with pytest.raises(SpecViolation) as caught:
        one_op_graph(PReLU(), inputs, grid(1.0, 0))

    assert label == caught.value.label


def test_an_output_too_fine_for_int32_is_refused():
    """The left shift may overflow the product; the bound must say so. [prelu-C3]"""
    with pytest.raises(ModelError, match=r"N4\.3"):
        run(one_op_graph(PReLU(), [X, s8(5, scale=100.0)], grid(1e-7, 0)))


def test_no_value_leaves_its_range(rng):
    """Too narrow a range would let a kernel be chosen whose sums overflow. [prelu-C1]"""
    x, slope = s8(5, scale=0.05, zero_point=-3), s8(5, scale=0.02, zero_point=20)
    graph = lowered(one_op_graph(PReLU(), [x, slope], grid(0.04, -17)))
    (node,) = graph.nodes
    ends = np.sort(rng.integers(-128, 128, (2, 2, 5)), axis=1)
    ranges = tuple(Range(low=low, high=high) for low, high in ends)
    values, slopes = (rng.integers(low, high + 1, (4000, 5)).astype(np.int8) for low, high in ends)

    y = node.op.output_range(node.params, ranges, graph.input_types(node), graph.output_type(node))

    found = simulate(graph, {"x0": values, "x1": slopes})["y"]
    assert (found >= y.low).all()
    assert (found <= y.high).all()


@pytest.mark.parametrize(("zero_point", "below"), [(-128, 0), (0, 128), (127, 255)])
def test_half_of_all_values_are_below_the_middle(zero_point: int, below: int):
    """Which branch is taken depends on the values: predicted is what is expected of any."""
    x = s8(8, 32, zero_point=zero_point)
    graph = run(one_op_graph(PReLU(), [x, s8(32)], grid(0.1, 0)))
    (node,) = graph.nodes
    found = node.op.trips(node.params, (x, s8(32)), x, None, "prelu", "ref")

    assert {"elements": 256, "elements below zero": below} == found
