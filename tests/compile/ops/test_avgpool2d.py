# SPDX-License-Identifier: Apache-2.0
"""avgpool2d: the golden against loops written from NUMERICS §avgpool2d, and its refusals."""

import numpy as np
import pytest

from codeq_compile.errors import SpecViolation
from codeq_compile.ops.avgpool2d import AvgPool2D
from codeq_compile.simulate import simulate
from tests.graphs import Case, lowered, one_op_graph, s8
from tests.literal import c_divide, clamp, window_pixels

X = s8(5, 6, 3)

CASES = [
    *(
        Case(name=name if x is X else f"{name}-c9", op=op, inputs=(x,))
        for x in (X, s8(5, 6, 9))
        for name, op in {
            "2x2": AvgPool2D(kernel=(2, 2), stride=(2, 2)),
            "3x3-s1-same": AvgPool2D(kernel=(3, 3), stride=(1, 1), padding=(1, 1, 1, 1)),
            "3x2-s21": AvgPool2D(kernel=(3, 2), stride=(2, 1)),
            "global": AvgPool2D(kernel=(5, 6), stride=(1, 1)),
            "pad-top": AvgPool2D(kernel=(2, 2), stride=(2, 2), padding=(1, 0, 0, 0)),
            "pad-bottom": AvgPool2D(kernel=(2, 2), stride=(2, 2), padding=(0, 1, 0, 0)),
            "pad-left": AvgPool2D(kernel=(2, 2), stride=(2, 2), padding=(0, 0, 1, 0)),
            "pad-right": AvgPool2D(kernel=(2, 2), stride=(2, 2), padding=(0, 0, 0, 1)),
            "pad-most": AvgPool2D(kernel=(3, 4), stride=(1, 1), padding=(2, 2, 3, 3)),
            "window-beyond-image": AvgPool2D(kernel=(9, 10), stride=(1, 1), padding=(3, 3, 3, 3)),
            "stride-beyond-kernel": AvgPool2D(kernel=(1, 2), stride=(3, 4)),
            "1x1": AvgPool2D(kernel=(1, 1), stride=(1, 1)),
            "clamp": AvgPool2D(kernel=(2, 2), stride=(1, 1), clamp=(-20, 30)),
        }.items()
    ),
    Case(name="row", op=AvgPool2D(kernel=(1, 4), stride=(1, 4)), inputs=(s8(1, 19, 2),)),
    Case(
        name="series",
        op=AvgPool2D(kernel=(3, 2), stride=(2, 2), padding=(2, 1, 0, 0)),
        inputs=(s8(11, 3, 9),),
    ),
    *(
        Case(
            name=f"c{c}",
            op=AvgPool2D(kernel=(2, 3), stride=(1, 2), padding=(1, 0, 0, 1)),
            inputs=(s8(3, 4, c),),
        )
        for c in (1, 4, 5, 15, 16, 17)
    ),
]


def _loops(op: AvgPool2D, x: np.ndarray, out: tuple[int, ...]) -> np.ndarray:
    """NUMERICS §avgpool2d, Semantics."""
    y = np.empty(out, np.int8)
    for oh, ow, c in np.ndindex(out):
        pixels = [
            int(x[h, w, c])
            for *_, h, w, inside in window_pixels(
                oh, ow, x.shape[:2], op.kernel, op.stride, (1, 1), op.padding
            )
            if inside
        ]
        acc, n = sum(pixels), len(pixels)
        y[oh, ow, c] = clamp(c_divide(acc + n // 2 if acc > 0 else acc - n // 2, n), op.clamp)
    return y


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_golden_equals_the_spec_written_as_loops(case: Case):
    """A wrong golden makes every kernel wrong with it, and no comparison would notice."""
    graph = lowered(case.graph())
    data = case.data()

    expected = [_loops(case.op, x, graph.tensors["y"].shape) for x in data["x0"]]

    np.testing.assert_array_equal(expected, simulate(graph, data)["y"])


def test_ties_round_away_from_zero():
    """TFLite rounds -1.5 to -2 and -0.5 to -1; a shift would give -1 and 0."""
    graph = lowered(one_op_graph(AvgPool2D(kernel=(1, 2), stride=(1, 2)), [s8(1, 8, 1)]))
    x = np.array([-1, -2, 1, 2, -1, 0, 0, 1], np.int8).reshape(1, 1, 8, 1)

    assert [-2, 2, -1, 1] == simulate(graph, {"x0": x})["y"].ravel().tolist()


@pytest.mark.parametrize(
    ("label", "op", "x"),
    [
        ("avgpool2d-C1", AvgPool2D(kernel=(2, 2), stride=(2, 2)), s8(30)),
        ("avgpool2d-C2", AvgPool2D(kernel=(6, 2), stride=(2, 2)), X),
        ("avgpool2d-C2", AvgPool2D(kernel=(2, 2), stride=(2, 0)), X),
        ("avgpool2d-C3", AvgPool2D(kernel=(2, 2), stride=(1, 1), padding=(2, 0, 0, 0)), X),
        ("avgpool2d-C3", AvgPool2D(kernel=(2, 2), stride=(1, 1), padding=(0, 0, 0, 2)), X),
        ("avgpool2d-C4", AvgPool2D(kernel=(2, 2), stride=(1, 1), clamp=(0, 300)), X),
    ],
)
def test_an_illegal_pooling_is_refused_by_its_rule(label, op, x):
    """A model that breaks a rule must be refused with the rule's number, not compiled wrongly."""
    with pytest.raises(SpecViolation) as caught:
        one_op_graph(op, [x])

    assert label == caught.value.label


def test_the_bound_counts_only_pixels_of_the_image():
    """A window larger than the image is not refused for pixels it never adds. [avgpool2d-C5]"""
    case = next(case for case in CASES if case.name == "window-beyond-image")
    (node,) = lowered(case.graph()).nodes

    assert [128 * 30 + 15] == node.op.accumulator_bound(node.params).tolist()
