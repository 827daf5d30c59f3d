# SPDX-License-Identifier: Apache-2.0
"""mean: the golden against loops written from NUMERICS §mean, and its refusals."""

import numpy as np
import pytest

from codeq_compile.errors import SpecViolation
from codeq_compile.ops.mean import Mean, MeanParams
from codeq_compile.simulate import simulate
from tests.graphs import Case, grid, lowered, one_op_graph, s8
from tests.literal import clamp, rescale

X = s8(5, 6, 3)
Y = grid(0.02, 9)

CASES = [
    Case(name="image", op=Mean(), inputs=(X,), output=Y),
    Case(name="vector-out", op=Mean(keep_dims=False), inputs=(X,), output=Y),
    Case(name="same-grid", op=Mean(), inputs=(X,), output=X.grid),
    Case(name="clamp", op=Mean(clamp=(9, 60)), inputs=(X,), output=Y),
    Case(name="one-pixel", op=Mean(), inputs=(s8(1, 1, 4),), output=Y),
    Case(name="sequence", op=Mean(), inputs=(s8(1, 128, 4),), output=Y),
    Case(name="zero-low", op=Mean(), inputs=(s8(7, 7, 2, zero_point=-128),), output=Y),
    Case(name="zero-high", op=Mean(), inputs=(s8(7, 7, 2, zero_point=127),), output=Y),
    Case(name="left-shift", op=Mean(), inputs=(X,), output=grid(1e-5, 0)),
    Case(name="tiny-factor", op=Mean(), inputs=(X,), output=grid(1e8, 3)),
    Case(name="vanishing-factor", op=Mean(), inputs=(X,), output=grid(1e30, 3)),
    *(
        Case(name=f"pixels-{n}", op=Mean(), inputs=(s8(1, n, 2),), output=Y)
        for n in (2, 3, 7, 8, 9, 64, 125, 1000)
    ),
    *(Case(name=f"c{c}", op=Mean(), inputs=(s8(2, 3, c),), output=Y) for c in (1, 4, 15, 16, 17)),
]


def _loops(params: MeanParams, x: np.ndarray) -> list[int]:
    """NUMERICS §mean, Semantics."""
    y = []
    for channel in x.reshape(-1, x.shape[2]).T.tolist():
        acc = sum(channel) - params.in_zero * len(channel)
        scaled = rescale(acc, params.scale.multiplier, params.scale.exponent)
        y.append(clamp(scaled + params.out_zero, params.clamp))
    return y


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_golden_equals_the_spec_written_as_loops(case: Case):
    """A wrong golden makes every kernel wrong with it, and no comparison would notice."""
    graph = lowered(case.graph())
    data = case.data()

    expected = [_loops(graph.nodes[0].params, x) for x in data["x0"]]

    y = simulate(graph, data)["y"]
    assert (len(y), *graph.tensors["y"].shape) == y.shape
    np.testing.assert_array_equal(expected, y.reshape(len(y), -1))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_mean_is_within_one_step_of_the_real_mean(case: Case):
    """The division inside the multiplier must not shift a layer beyond its rounding. [mean-C4]"""
    graph = lowered(case.graph())
    x, y = graph.tensors["x0"], graph.tensors["y"]
    data = case.data()

    real = x.grid.dequantize(data["x0"]).astype(np.float64).mean(axis=(1, 2))
    expected = np.clip(np.round(real / y.scale) + y.zero_point, *case.op.clamp)

    # the truncated multiplier and two roundings: one output step
    actual = simulate(graph, data)["y"].reshape(len(real), -1)
    assert np.abs(expected - actual).max() <= 1


@pytest.mark.parametrize(
    ("label", "op", "x"),
    [("mean-C1", Mean(), s8(30)), ("mean-C2", Mean(clamp=(1, 0)), X)],
)
def test_an_illegal_mean_is_refused_by_its_rule(label, op, x):
    """A model that breaks a rule must be refused with the rule's number, not compiled wrongly."""
    with pytest.raises(SpecViolation) as caught:
        one_op_graph(op, [x], Y)

    assert label == caught.value.label


def test_the_division_never_shifts_further_than_the_kernels_can():
    """cq_rounding_divide_by_pot is defined for 0 to 31 bits. [mean-C4]"""
    case = next(case for case in CASES if case.name == "tiny-factor")

    scale = lowered(case.graph()).nodes[0].params.scale

    assert (scale.exponent, scale.multiplier > 0) == (-31, True)


@pytest.mark.parametrize(("pixels", "fits"), [(1 << 22, True), (1 << 25, False)])
def test_too_many_pixels_for_int32_are_noticed(pixels, fits):
    """The sum of an enormous image may overflow; the bound must say so. [mean-C3]"""
    graph = lowered(one_op_graph(Mean(), [s8(pixels >> 10, 1 << 10, 1)], grid(0.05, 0)))
    (node,) = graph.nodes

    assert fits == (node.op.accumulator_bound(node.params).max() < 2**31)
