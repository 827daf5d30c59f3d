# SPDX-License-Identifier: Apache-2.0
"""upsample2d: the golden against loops written from NUMERICS §upsample2d, and its refusals."""

import numpy as np
import pytest

from codeq_compile.errors import SpecViolation
from codeq_compile.ops.upsample2d import Upsample2D
from codeq_compile.simulate import simulate
from tests.graphs import Case, lowered, one_op_graph, s8

CASES = [
    *(
        Case(name=name, op=Upsample2D(factor=factor), inputs=(s8(3, 4, 5),))
        for name, factor in {
            "2x2": (2, 2),
            "1x1": (1, 1),
            "rows-only": (3, 1),
            "columns-only": (1, 3),
            "3x2": (3, 2),
        }.items()
    ),
    Case(name="pixel", op=Upsample2D(factor=(4, 4)), inputs=(s8(1, 1, 1),)),
    Case(name="sequence", op=Upsample2D(factor=(1, 2)), inputs=(s8(1, 17, 3),)),
]


def _loops(op: Upsample2D, x: np.ndarray, out: tuple[int, ...]) -> np.ndarray:
    """NUMERICS §upsample2d, Semantics."""
    y = np.empty(out, np.int8)
    for oh, ow, c in np.ndindex(out):
        y[oh, ow, c] = x[oh // op.factor[0], ow // op.factor[1], c]
    return y


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_golden_equals_the_spec_written_as_loops(case: Case):
    """A wrong golden makes every kernel wrong with it, and no comparison would notice."""
    graph = lowered(case.graph())
    data = case.data()

    expected = [_loops(case.op, x, graph.tensors["y"].shape) for x in data["x0"]]

    np.testing.assert_array_equal(expected, simulate(graph, data)["y"])


@pytest.mark.parametrize(
    ("label", "op", "x"),
    [
        ("upsample2d-C1", Upsample2D(factor=(2, 2)), s8(30)),
        ("upsample2d-C2", Upsample2D(factor=(0, 2)), s8(3, 4, 5)),
    ],
)
def test_an_illegal_enlargement_is_refused_by_its_rule(label, op, x):
    """A model that breaks a rule must be refused with the rule's number, not compiled wrongly."""
    with pytest.raises(SpecViolation) as caught:
        one_op_graph(op, [x])

    assert label == caught.value.label
