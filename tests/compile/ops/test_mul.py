# SPDX-License-Identifier: Apache-2.0
"""mul: the golden against loops written from NUMERICS §mul, and its refusals."""

import numpy as np
import pytest

from codeq_compile.errors import SpecViolation
from codeq_compile.ir import DType, TensorType
from codeq_compile.ops.mul import Mul, MulParams
from codeq_compile.simulate import simulate
from tests.graphs import Case, grid, lowered, one_op_graph, s8
from tests.literal import clamp, rescale

A = s8(3, 4, 5, scale=0.05, zero_point=-3)
B = s8(3, 4, 5, scale=0.031, zero_point=17)

CASES = [
    Case(name="same-shape", op=Mul(), inputs=(A, B), output=grid(0.07, -11)),
    Case(name="relu", op=Mul(clamp=(-11, 127)), inputs=(A, B), output=grid(0.07, -11)),
    Case(name="left-shift", op=Mul(), inputs=(A, B), output=grid(1e-5, 0)),
    Case(name="coarse-output", op=Mul(), inputs=(A, B), output=grid(1e7, 7)),
    Case(
        name="zeros-at-the-ends",
        op=Mul(),
        inputs=(s8(33, zero_point=-128), s8(33, zero_point=127)),
        output=grid(1.3, 0),
    ),
    *(
        Case(
            name=f"b-{'x'.join(map(str, shape))}",
            op=Mul(),
            inputs=(A, s8(*shape, scale=1 / 256, zero_point=-128)),
            output=grid(0.04, 2),
        )
        for shape in [(5,), (1, 5), (1, 1, 5), (4, 5), (1,), (1, 1, 1)]
    ),
    *(
        Case(name=f"size-{n}", op=Mul(), inputs=(s8(n), s8(n, scale=0.03)), output=grid(0.07, 1))
        for n in (1, 3, 4, 5, 15, 16, 17, 64)
    ),
]


def _loops(params: MulParams, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """NUMERICS §mul, Semantics."""
    period = b.ravel().tolist()
    y = []
    for i, value in enumerate(a.ravel().tolist()):
        acc = (value - params.a_zero) * (period[i % len(period)] - params.b_zero)
        scaled = rescale(acc, params.scale.multiplier, params.scale.exponent)
        y.append(clamp(scaled + params.out_zero, params.clamp))
    return np.array(y, np.int8).reshape(a.shape)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_golden_equals_the_spec_written_as_loops(case: Case):
    """A wrong golden makes every kernel wrong with it, and no comparison would notice."""
    graph = lowered(case.graph())
    data = case.data()
    (node,) = graph.nodes

    expected = [_loops(node.params, a, b) for a, b in zip(data["x0"], data["x1"], strict=True)]

    np.testing.assert_array_equal(expected, simulate(graph, data)["y"])


@pytest.mark.parametrize(
    ("label", "op", "inputs"),
    [
        ("mul-C1", Mul(), [A, B, B]),
        ("mul-C1", Mul(), [TensorType(shape=(3, 4, 5), dtype=DType.S32), A]),
        ("mul-C2", Mul(), [s8(5), A]),
        ("mul-C2", Mul(), [A, s8(3, 4, 1)]),
        ("mul-C3", Mul(clamp=(0, 200)), [A, B]),
    ],
)
def test_an_illegal_product_is_refused_by_its_rule(label, op, inputs):
    """A model that breaks a rule must be refused with the rule's number, not compiled wrongly."""
    with pytest.raises(SpecViolation) as caught:
        one_op_graph(op, inputs, grid(0.1, 0))

    assert label == caught.value.label


@pytest.mark.parametrize(("output_scale", "fits"), [(1e-7, True), (1e-8, False)])
def test_an_output_too_fine_for_int32_is_noticed(output_scale, fits):
    """The left shift may overflow the product; the bound must say so. [mul-C4]"""
    graph = lowered(one_op_graph(Mul(), [A, B], grid(output_scale, 0)))
    (node,) = graph.nodes

    assert fits == (node.op.accumulator_bound(node.params).max() < 2**31)


def test_every_element_is_one_multiplication():
    """The banner of a layer states its work."""
    graph = lowered(CASES[0].graph())
    (node,) = graph.nodes

    assert 3 * 4 * 5 == node.op.macs(node.params, graph.tensors["y"])
