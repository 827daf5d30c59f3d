# SPDX-License-Identifier: Apache-2.0
"""argmax: the golden against loops written from NUMERICS §argmax, and its refusals."""

import numpy as np
import pytest

from codeq_compile.errors import SpecViolation
from codeq_compile.ir import DType, TensorType
from codeq_compile.ops.argmax import Argmax
from codeq_compile.simulate import simulate
from tests.graphs import Case, lowered, one_op_graph, s8

CASES = [
    Case(name=f"{'x'.join(map(str, shape))}", op=Argmax(), inputs=(s8(*shape),))
    for shape in [(1,), (2,), (12,), (300,), (3, 7), (2, 3, 5), (4, 1)]
]


def _loops(x: np.ndarray) -> list[int]:
    """NUMERICS §argmax, Semantics."""
    y = []
    for row in x.reshape(-1, x.shape[-1]).tolist():
        best = 0
        for i, value in enumerate(row):
            if value > row[best]:
                best = i
        y.append(best)
    return y


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_golden_equals_the_spec_written_as_loops(case: Case):
    """A wrong golden makes every kernel wrong with it, and no comparison would notice."""
    graph = lowered(case.graph())
    data = case.data()

    y = simulate(graph, data)["y"]

    assert y.dtype == np.int32
    assert (len(y), *graph.tensors["y"].shape) == y.shape
    np.testing.assert_array_equal([_loops(x) for x in data["x0"]], y.reshape(len(y), -1))


def test_the_first_of_equal_values_wins():
    """Two classes with the same score: simulation and C must name the same one."""
    graph = lowered(one_op_graph(Argmax(), [s8(4)]))

    y = simulate(graph, {"x0": np.array([[1, 7, 7, 0], [-128] * 4], np.int8)})["y"]

    assert [[1], [0]] == y.tolist()


def test_an_input_that_is_not_int8_is_refused():
    """argmax of an argmax is a modelling mistake and must be named as one."""
    with pytest.raises(SpecViolation) as caught:
        one_op_graph(Argmax(), [TensorType(shape=(3,), dtype=DType.S32)])

    assert caught.value.label == "argmax-C1"
