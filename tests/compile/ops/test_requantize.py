# SPDX-License-Identifier: Apache-2.0
"""requantize: the golden against loops written from NUMERICS §requantize, and its refusals."""

import numpy as np
import pytest

from codeq_compile.errors import SpecViolation
from codeq_compile.ir import DType, TensorType
from codeq_compile.ops.requantize import Requantize
from codeq_compile.simulate import simulate
from tests.graphs import Case, grid, lowered, one_op_graph, s8
from tests.literal import clamp, rescale

X = s8(3, 4, 5)

CASES = [
    *(
        Case(name=name, op=Requantize(), inputs=(X,), output=output)
        for name, output in {
            "finer": grid(0.031, 5),
            "coarser": grid(0.13, -100),
            "same-scale": grid(0.05, 40),
            "half": grid(0.1, 0),
            "much-finer": grid(1e-8, 0),
            "much-coarser": grid(1e5, 1),
            "vanishing": grid(1e30, -7),
        }.items()
    ),
    Case(name="relu", op=Requantize(clamp=(-20, 90)), inputs=(X,), output=grid(0.04, -20)),
    Case(name="low", op=Requantize(), inputs=(s8(9, zero_point=-128),), output=grid(0.04, 127)),
    Case(name="high", op=Requantize(), inputs=(s8(9, zero_point=127),), output=grid(0.04, -128)),
    *(
        Case(name=f"size-{n}", op=Requantize(), inputs=(s8(n),), output=grid(0.07, 1))
        for n in (1, 3, 4, 5, 15, 16, 17, 300)
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_golden_equals_the_spec_for_every_value(case: Case):
    """A wrong golden makes every kernel wrong with it, and no comparison would notice."""
    graph = lowered(case.graph())
    (node,) = graph.nodes
    p = node.params
    data = dict(case.data())
    # 256 samples: every element meets every int8 value
    data["x0"] = (np.arange(256).reshape(-1, *[1] * data["x0"][0].ndim) + data["x0"][:1]).astype(
        np.int8
    )

    of_value = {
        v: clamp(rescale(v - p.in_zero, p.scale.multiplier, p.scale.exponent) + p.out_zero, p.clamp)
        for v in range(-128, 128)
    }
    expected = np.vectorize(of_value.get)(data["x0"])

    np.testing.assert_array_equal(expected, simulate(graph, data)["y"])


@pytest.mark.parametrize(
    ("label", "op", "inputs"),
    [
        ("requantize-C1", Requantize(), [X, X]),
        ("requantize-C1", Requantize(), [TensorType(shape=(3,), dtype=DType.S32)]),
        ("requantize-C2", Requantize(clamp=(0, -1)), [X]),
    ],
)
def test_an_illegal_change_of_grid_is_refused_by_its_rule(label, op, inputs):
    """A model that breaks a rule must be refused with the rule's number, not compiled wrongly."""
    with pytest.raises(SpecViolation) as caught:
        one_op_graph(op, inputs, grid(0.1, 0))

    assert label == caught.value.label


@pytest.mark.parametrize(("output_scale", "fits"), [(1e-8, True), (1e-9, False)])
def test_an_output_too_fine_for_int32_is_noticed(output_scale, fits):
    """The left shift may overflow; the bound must say so. [requantize-C3]"""
    graph = lowered(one_op_graph(Requantize(), [X], grid(output_scale, 0)))
    (node,) = graph.nodes

    assert fits == (node.op.accumulator_bound(node.params).max() < 2**31)
