# SPDX-License-Identifier: Apache-2.0
"""maxpool2d: the golden against loops written from NUMERICS §maxpool2d, and its refusals."""

import numpy as np
import pytest

from codeq_compile.errors import SpecViolation
from codeq_compile.ops.maxpool2d import MaxPool2D
from codeq_compile.simulate import simulate
from tests.graphs import Case, lowered, one_op_graph, s8
from tests.literal import clamp, window_pixels

X = s8(5, 6, 3)

CASES = [
    *(
        Case(name=name if x is X else f"{name}-c9", op=op, inputs=(x,))
        for x in (X, s8(5, 6, 9))
        for name, op in {
            "2x2": MaxPool2D(kernel=(2, 2), stride=(2, 2)),
            "3x3-s1-same": MaxPool2D(kernel=(3, 3), stride=(1, 1), padding=(1, 1, 1, 1)),
            "3x2-s21": MaxPool2D(kernel=(3, 2), stride=(2, 1)),
            "global": MaxPool2D(kernel=(5, 6), stride=(1, 1)),
            "pad-top": MaxPool2D(kernel=(2, 2), stride=(2, 2), padding=(1, 0, 0, 0)),
            "pad-bottom": MaxPool2D(kernel=(2, 2), stride=(2, 2), padding=(0, 1, 0, 0)),
            "pad-left": MaxPool2D(kernel=(2, 2), stride=(2, 2), padding=(0, 0, 1, 0)),
            "pad-right": MaxPool2D(kernel=(2, 2), stride=(2, 2), padding=(0, 0, 0, 1)),
            "empty-windows": MaxPool2D(kernel=(2, 2), stride=(1, 1), padding=(3, 3, 3, 3)),
            "dilation21": MaxPool2D(kernel=(2, 3), stride=(1, 1), dilation=(2, 1)),
            "dilation-same": MaxPool2D(
                kernel=(3, 2), stride=(2, 1), dilation=(2, 3), padding=(2, 1, 1, 2)
            ),
            "stride-beyond-kernel": MaxPool2D(kernel=(1, 2), stride=(3, 4)),
            "1x1": MaxPool2D(kernel=(1, 1), stride=(1, 1)),
            "clamp": MaxPool2D(kernel=(2, 2), stride=(1, 1), clamp=(-20, 30)),
        }.items()
    ),
    Case(name="row", op=MaxPool2D(kernel=(1, 4), stride=(1, 4)), inputs=(s8(1, 19, 2),)),
    Case(
        name="series",
        op=MaxPool2D(kernel=(3, 2), stride=(2, 2), padding=(2, 1, 0, 0)),
        inputs=(s8(11, 3, 9),),
    ),
    *(
        Case(
            name=f"c{c}",
            op=MaxPool2D(kernel=(2, 3), stride=(1, 2), padding=(1, 0, 0, 1)),
            inputs=(s8(3, 4, c),),
        )
        for c in (1, 4, 5, 15, 16, 17)
    ),
]


def _loops(op: MaxPool2D, x: np.ndarray, out: tuple[int, ...]) -> np.ndarray:
    """NUMERICS §maxpool2d, Semantics."""
    y = np.empty(out, np.int8)
    for oh, ow, c in np.ndindex(out):
        largest = -128
        for *_, h, w, inside in window_pixels(
            oh, ow, x.shape[:2], op.kernel, op.stride, op.dilation, op.padding
        ):
            if inside:
                largest = max(largest, int(x[h, w, c]))
        y[oh, ow, c] = clamp(largest, op.clamp)
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
        ("maxpool2d-C1", MaxPool2D(kernel=(2, 2), stride=(2, 2)), s8(30)),
        ("maxpool2d-C2", MaxPool2D(kernel=(2, 2), stride=(2, 2), dilation=(5, 1)), X),
        ("maxpool2d-C3", MaxPool2D(kernel=(2, 2), stride=(1, 1), clamp=(-300, 0)), X),
    ],
)
def test_an_illegal_pooling_is_refused_by_its_rule(label, op, x):
    """A model that breaks a rule must be refused with the rule's number, not compiled wrongly."""
    with pytest.raises(SpecViolation) as caught:
        one_op_graph(op, [x])

    assert label == caught.value.label
