# SPDX-License-Identifier: Apache-2.0
"""pad: the golden against loops written from NUMERICS §pad, and its refusals."""

import numpy as np
import pytest

from codeq_compile.errors import SpecViolation
from codeq_compile.ops.pad import Pad
from codeq_compile.simulate import simulate
from tests.graphs import Case, lowered, one_op_graph, s8

X = s8(3, 4, 2)

CASES = [
    *(
        Case(name=name, op=op, inputs=(X,))
        for name, op in {
            "nothing": Pad(),
            "top": Pad(before=(2, 0, 0)),
            "left": Pad(before=(0, 2, 0)),
            "first-channel": Pad(before=(0, 0, 2)),
            "bottom": Pad(after=(2, 0, 0)),
            "right": Pad(after=(0, 2, 0)),
            "last-channel": Pad(after=(0, 0, 3)),
            "all": Pad(before=(1, 2, 3), after=(3, 2, 1)),
            "value-low": Pad(before=(1, 1, 1), after=(1, 1, 1), value=-128),
            "value-high": Pad(before=(1, 1, 0), after=(1, 1, 0), value=127),
        }.items()
    ),
    Case(name="sequence", op=Pad(before=(0, 3, 0), after=(0, 1, 0)), inputs=(s8(1, 9, 3),)),
]


def _loops(op: Pad, fill: int, x: np.ndarray, out: tuple[int, ...]) -> np.ndarray:
    """NUMERICS §pad, Semantics."""
    y = np.full(out, fill, np.int8)
    for h, w, c in np.ndindex(x.shape):
        y[h + op.before[0], w + op.before[1], c + op.before[2]] = x[h, w, c]
    return y


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_golden_equals_the_spec_written_as_loops(case: Case):
    """A wrong golden makes every kernel wrong with it, and no comparison would notice."""
    graph = lowered(case.graph())
    data = case.data()
    fill = X.zero_point if case.op.value is None else case.op.value

    expected = [_loops(case.op, fill, x, graph.tensors["y"].shape) for x in data["x0"]]

    np.testing.assert_array_equal(expected, simulate(graph, data)["y"])


@pytest.mark.parametrize(
    ("label", "op", "x"),
    [
        ("pad-C1", Pad(), s8(4)),
        ("pad-C2", Pad(after=(0, -1, 0)), X),
        ("pad-C3", Pad(value=128), X),
    ],
)
def test_an_illegal_border_is_refused_by_its_rule(label, op, x):
    """A model that breaks a rule must be refused with the rule's number, not compiled wrongly."""
    with pytest.raises(SpecViolation) as caught:
        one_op_graph(op, [x])

    assert label == caught.value.label
