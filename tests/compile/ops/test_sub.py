# SPDX-License-Identifier: Apache-2.0
"""sub: the golden against loops written from NUMERICS §sub, and its refusals."""

import numpy as np
import pytest

from codeq_compile.errors import SpecViolation
from codeq_compile.ir import DType, TensorType
from codeq_compile.ir.types import Range
from codeq_compile.ops.elementwise import SumParams
from codeq_compile.ops.sub import Sub
from codeq_compile.simulate import simulate
from tests.graphs import Case, grid, lowered, one_op_graph, s8
from tests.literal import clamp, rescale

A = s8(3, 4, 5, scale=0.05, zero_point=-3)
B = s8(3, 4, 5, scale=0.031, zero_point=17)

CASES = [
    Case(name="same-shape", op=Sub(), inputs=(A, B), output=grid(0.07, -11)),
    Case(name="relu", op=Sub(clamp=(-11, 127)), inputs=(A, B), output=grid(0.07, -11)),
    Case(name="same-grid", op=Sub(), inputs=(A, A), output=A.grid),
    Case(name="first-larger", op=Sub(), inputs=(s8(9, scale=40.0), s8(9)), output=grid(30, 0)),
    Case(name="second-larger", op=Sub(), inputs=(s8(9), s8(9, scale=1e4)), output=grid(1e4, 0)),
    Case(name="vanishing-term", op=Sub(), inputs=(s8(9, scale=1e-12), s8(9)), output=grid(0.1, 3)),
    Case(name="fine-output", op=Sub(), inputs=(A, B), output=grid(1e-7, 0)),
    Case(name="coarse-output", op=Sub(), inputs=(A, B), output=grid(1e5, 7)),
    Case(
        name="zeros-at-the-ends",
        op=Sub(),
        inputs=(s8(33, zero_point=-128), s8(33, zero_point=127)),
        output=grid(0.05, 0),
    ),
    *(
        Case(
            name=f"b-{'x'.join(map(str, shape))}",
            op=Sub(),
            inputs=(A, s8(*shape, scale=0.02, zero_point=9)),
            output=grid(0.06, 2),
        )
        for shape in [(5,), (1, 5), (1, 1, 5), (4, 5), (1,), (1, 1, 1)]
    ),
    *(
        Case(name=f"size-{n}", op=Sub(), inputs=(s8(n), s8(n, scale=0.03)), output=grid(0.07, 1))
        for n in (1, 3, 4, 5, 15, 16, 17, 64)
    ),
]


def _loops(params: SumParams, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """NUMERICS §sub, Semantics."""
    period = b.ravel().tolist()
    y = []
    for i, value in enumerate(a.ravel().tolist()):
        left = rescale(
            (value - params.a_zero) << 20, params.a_scale.multiplier, params.a_scale.exponent
        )
        right = rescale(
            (period[i % len(period)] - params.b_zero) << 20,
            params.b_scale.multiplier,
            params.b_scale.exponent,
        )
        acc = rescale(left - right, params.out_scale.multiplier, params.out_scale.exponent)
        y.append(clamp(acc + params.out_zero, params.clamp))
    return np.array(y, np.int8).reshape(a.shape)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_golden_equals_the_spec_written_as_loops(case: Case):
    """A wrong golden makes every kernel wrong with it, and no comparison would notice."""
    graph = lowered(case.graph())
    data = case.data()
    (node,) = graph.nodes

    expected = [_loops(node.params, a, b) for a, b in zip(data["x0"], data["x1"], strict=True)]

    np.testing.assert_array_equal(expected, simulate(graph, data)["y"])


def test_all_pairs_of_int8_values_are_subtracted_as_the_spec_says():
    """A difference of two signals meets any pair; a table of terms must hold for all 65 536."""
    a, b = np.meshgrid(np.arange(-128, 128, dtype=np.int8), np.arange(-128, 128, dtype=np.int8))
    graph = lowered(one_op_graph(Sub(), [s8(256), s8(256, scale=0.0213)], grid(0.06, 4)))

    expected = [_loops(graph.nodes[0].params, x, y) for x, y in zip(a, b, strict=True)]

    np.testing.assert_array_equal(expected, simulate(graph, {"x0": a, "x1": b})["y"])


@pytest.mark.parametrize(
    ("label", "op", "inputs"),
    [
        ("sub-C1", Sub(), [A]),
        ("sub-C1", Sub(), [A, TensorType(shape=(3, 4, 5), dtype=DType.S32)]),
        ("sub-C2", Sub(), [s8(5), A]),
        ("sub-C2", Sub(), [A, s8(3, 1, 5)]),
        ("sub-C2", Sub(), [A, s8(4)]),
        ("sub-C3", Sub(clamp=(1, 0)), [A, B]),
    ],
)
def test_an_illegal_difference_is_refused_by_its_rule(label, op, inputs):
    """A model that breaks a rule must be refused with the rule's number, not compiled wrongly."""
    with pytest.raises(SpecViolation) as caught:
        one_op_graph(op, inputs, grid(0.1, 0))

    assert label == caught.value.label


@pytest.mark.parametrize(("output_scale", "fits"), [(1e-8, True), (1e-9, False)])
def test_an_output_too_fine_for_int32_is_noticed(output_scale, fits):
    """The last left shift may overflow the difference; the bound must say so. [sub-C4]"""
    graph = lowered(one_op_graph(Sub(), [A, B], grid(output_scale, 0)))
    (node,) = graph.nodes

    assert fits == (node.op.accumulator_bound(node.params).max() < 2**31)


def test_factors_can_be_formed_in_float32():
    """Kernels until 2026 did: some multipliers differ in their last bits. [sub-C5]"""
    a, b = s8(5, scale=0.0371), s8(5, scale=0.0213)
    new, old = (
        lowered(one_op_graph(Sub(float32_scales=value), [a, b], grid(0.06, 4))).nodes[0].params
        for value in (False, True)
    )

    assert new != old
    assert abs(new.out_scale.multiplier / old.out_scale.multiplier - 1) < 2.0**-22


def test_ranges_of_a_difference_are_crosswise():
    """Too narrow a range would let a kernel be chosen whose sums overflow. [sub-C1]"""
    a, b = s8(1, scale=0.05, zero_point=0), s8(1, scale=0.05, zero_point=0)
    graph = lowered(one_op_graph(Sub(), [a, b], grid(0.05, 0)))
    (node,) = graph.nodes
    ranges = tuple(
        Range(low=np.array([low]), high=np.array([high])) for low, high in ((1, 9), (2, 5))
    )

    y = node.op.output_range(node.params, ranges, graph.input_types(node), graph.output_type(node))

    assert (1 - 5, 9 - 2) == (int(y.low[0]), int(y.high[0]))
