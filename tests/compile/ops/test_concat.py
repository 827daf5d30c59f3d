# SPDX-License-Identifier: Apache-2.0
"""concat: the golden against loops written from NUMERICS §concat, and its refusals."""

import itertools

import numpy as np
import pytest

from codeq_compile.errors import SpecViolation
from codeq_compile.ir import DType, TensorType
from codeq_compile.ops.concat import Concat
from codeq_compile.simulate import simulate
from tests.graphs import Case, lowered, one_op_graph, s8

CASES = [
    Case(name="channels", op=Concat(), inputs=(s8(2, 3, 4), s8(2, 3, 1))),
    Case(name="three", op=Concat(axis=2), inputs=(s8(2, 3, 4), s8(2, 3, 1), s8(2, 3, 7))),
    Case(name="rows", op=Concat(axis=0), inputs=(s8(2, 3, 4), s8(5, 3, 4))),
    Case(name="columns", op=Concat(axis=1), inputs=(s8(2, 3, 4), s8(2, 1, 4))),
    Case(name="negative-axis", op=Concat(axis=-2), inputs=(s8(2, 3, 4), s8(2, 1, 4))),
    Case(name="vectors", op=Concat(axis=0), inputs=(s8(5), s8(1), s8(17))),
    Case(name="one-input", op=Concat(), inputs=(s8(2, 3),)),
]


def _loops(axis: int, inputs: list[np.ndarray], out: tuple[int, ...]) -> np.ndarray:
    """NUMERICS §concat, Semantics."""
    y = np.empty(out, np.int8)
    starts = itertools.accumulate((x.shape[axis] for x in inputs), initial=0)
    for x, start in zip(inputs, starts, strict=False):
        for index in np.ndindex(x.shape):
            place = list(index)
            place[axis] += start
            y[tuple(place)] = x[index]
    return y


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_golden_equals_the_spec_written_as_loops(case: Case):
    """A wrong golden makes every kernel wrong with it, and no comparison would notice."""
    graph = lowered(case.graph())
    data = case.data()
    axis = graph.nodes[0].params.axis

    expected = [
        _loops(axis, list(sample), graph.tensors["y"].shape)
        for sample in zip(*data.values(), strict=True)
    ]

    np.testing.assert_array_equal(expected, simulate(graph, data)["y"])


@pytest.mark.parametrize("case", CASES, ids=str)
def test_blocks_of_the_c_parameters_make_the_same_tensor(case: Case):
    """The kernel copies `inner` bytes of every input, `outer` times; that must be this concat."""
    graph = lowered(case.graph())
    (node,) = graph.nodes
    data = case.data(batch=1)

    c = node.op.c_params(node.params, graph.input_types(node), graph.tensors["y"], None)
    parts = [data[name].reshape(c["outer"], -1) for name in graph.inputs]

    assert c["count"] == len(parts)
    assert c["inner"].data.tolist() == [part.shape[1] for part in parts]
    np.testing.assert_array_equal(
        np.concatenate(parts, axis=1).ravel(), simulate(graph, data)["y"].ravel()
    )


@pytest.mark.parametrize(
    ("label", "op", "inputs"),
    [
        ("concat-C1", Concat(), []),
        ("concat-C1", Concat(), [s8(3), TensorType(shape=(3,), dtype=DType.S32)]),
        ("concat-C2", Concat(axis=1), [s8(3), s8(3)]),
        ("concat-C2", Concat(axis=-2), [s8(3), s8(3)]),
        ("concat-C3", Concat(), [s8(2, 3), s8(3, 3)]),
        ("concat-C3", Concat(axis=0), [s8(2, 3), s8(6)]),
        ("concat-C4", Concat(), [s8(3), s8(3, zero_point=0)]),
    ],
)
def test_an_illegal_join_is_refused_by_its_rule(label, op, inputs):
    """A model that breaks a rule must be refused with the rule's number, not compiled wrongly."""
    with pytest.raises(SpecViolation) as caught:
        one_op_graph(op, inputs)

    assert label == caught.value.label
