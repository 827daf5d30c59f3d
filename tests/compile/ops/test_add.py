# SPDX-License-Identifier: Apache-2.0
"""add: the golden against loops written from NUMERICS §add, and its refusals."""

import numpy as np
import pytest

from codeq_compile.errors import SpecViolation
from codeq_compile.ir import DType, TensorType
from codeq_compile.ops.add import Add, AddParams
from codeq_compile.simulate import simulate
from tests.graphs import Case, grid, lowered, one_op_graph, s8
from tests.literal import clamp, rescale

A = s8(3, 4, 5, scale=0.05, zero_point=-3)
B = s8(3, 4, 5, scale=0.031, zero_point=17)

CASES = [
    Case(name="same-shape", op=Add(), inputs=(A, B), output=grid(0.07, -11)),
    Case(name="relu", op=Add(clamp=(-11, 127)), inputs=(A, B), output=grid(0.07, -11)),
    Case(name="same-grid", op=Add(), inputs=(A, A), output=A.grid),
    Case(name="first-larger", op=Add(), inputs=(s8(9, scale=40.0), s8(9)), output=grid(30, 0)),
    Case(name="second-larger", op=Add(), inputs=(s8(9), s8(9, scale=1e4)), output=grid(1e4, 0)),
    Case(name="vanishing-term", op=Add(), inputs=(s8(9, scale=1e-12), s8(9)), output=grid(0.1, 3)),
    Case(name="fine-output", op=Add(), inputs=(A, B), output=grid(1e-7, 0)),
    Case(name="coarse-output", op=Add(), inputs=(A, B), output=grid(1e5, 7)),
    Case(
        name="zeros-at-the-ends",
        op=Add(),
        inputs=(s8(33, zero_point=-128), s8(33, zero_point=127)),
        output=grid(0.05, 0),
    ),
    *(
        Case(
            name=f"b-{'x'.join(map(str, shape))}",
            op=Add(),
            inputs=(A, s8(*shape, scale=0.02, zero_point=9)),
            output=grid(0.06, 2),
        )
        for shape in [(5,), (1, 5), (1, 1, 5), (4, 5), (1,), (1, 1, 1)]
    ),
    *(
        Case(name=f"size-{n}", op=Add(), inputs=(s8(n), s8(n, scale=0.03)), output=grid(0.07, 1))
        for n in (1, 3, 4, 5, 15, 16, 17, 64)
    ),
]


def _loops(params: AddParams, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """NUMERICS §add, Semantics."""
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
        acc = rescale(left + right, params.out_scale.multiplier, params.out_scale.exponent)
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


def test_all_pairs_of_int8_values_are_added_as_the_spec_says():
    """A residual connection meets any pair; a table of terms must hold for all 65 536."""
    a, b = np.meshgrid(np.arange(-128, 128, dtype=np.int8), np.arange(-128, 128, dtype=np.int8))
    graph = lowered(one_op_graph(Add(), [s8(256), s8(256, scale=0.0213)], grid(0.06, 4)))

    expected = [_loops(graph.nodes[0].params, x, y) for x, y in zip(a, b, strict=True)]

    np.testing.assert_array_equal(expected, simulate(graph, {"x0": a, "x1": b})["y"])


@pytest.mark.parametrize(
    ("label", "op", "inputs"),
    [
        ("add-C1", Add(), [A]),
        ("add-C1", Add(), [A, TensorType(shape=(3, 4, 5), dtype=DType.S32)]),
        ("add-C2", Add(), [s8(5), A]),
        ("add-C2", Add(), [A, s8(3, 1, 5)]),
        ("add-C2", Add(), [A, s8(4)]),
        ("add-C3", Add(clamp=(1, 0)), [A, B]),
    ],
)
def test_an_illegal_sum_is_refused_by_its_rule(label, op, inputs):
    """A model that breaks a rule must be refused with the rule's number, not compiled wrongly."""
    with pytest.raises(SpecViolation) as caught:
        one_op_graph(op, inputs, grid(0.1, 0))

    assert label == caught.value.label


@pytest.mark.parametrize(("output_scale", "fits"), [(1e-8, True), (1e-9, False)])
def test_an_output_too_fine_for_int32_is_noticed(output_scale, fits):
    """The last left shift may overflow the sum; the bound must say so. [add-C4]"""
    graph = lowered(one_op_graph(Add(), [A, B], grid(output_scale, 0)))
    (node,) = graph.nodes

    assert fits == (node.op.accumulator_bound(node.params).max() < 2**31)
