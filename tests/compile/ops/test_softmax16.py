# SPDX-License-Identifier: Apache-2.0
"""softmax16: the golden against softmax in real numbers and against softmax itself."""

import numpy as np
import pytest

from codeq_compile.errors import SpecViolation
from codeq_compile.ops.softmax16 import Softmax16
from codeq_compile.simulate import simulate
from tests.compile.ops import test_softmax
from tests.graphs import Case, grid, lowered, one_op_graph, s8

OUTPUT = grid(1 / 65536, -32768, 16)
CASES = [
    Case(name=case.name, op=Softmax16(beta=case.op.beta), inputs=case.inputs, output=OUTPUT)
    for case in test_softmax.CASES
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_golden_is_softmax_with_more_bits(case: Case):
    """Both divide the same exponentials by the same sum. [softmax16-C1]"""
    graph = lowered(case.graph())
    data = case.data()
    plain = lowered(one_op_graph(test_softmax.Softmax(beta=case.op.beta), case.inputs))

    wide = simulate(graph, data)["y"].astype(np.int64) + 32768

    narrow = simulate(plain, data)["y"].astype(np.int64) + 128
    # 256 steps of one are a step of the other; the largest values of both are limited
    limited = np.minimum(wide, 65535)
    assert (np.abs(limited - 256 * narrow) <= 257).all()


def test_the_golden_is_near_the_real_softmax():
    """A shift that is wrong by one would double every probability. [softmax16-C1]"""
    x = s8(10, scale=0.1, zero_point=0)
    graph = lowered(one_op_graph(Softmax16(), [x], OUTPUT))
    q = np.arange(-50, 50).reshape(10, 10).astype(np.int8)

    actual = (simulate(graph, {"x0": q})["y"].astype(np.float64) + 32768) / 65536

    real = np.exp(0.1 * q)
    np.testing.assert_allclose(real / real.sum(axis=1, keepdims=True), actual, atol=2e-5)


def test_an_illegal_softmax_is_refused_by_its_rule():
    """A model that breaks a rule must be refused with the rule's number, not compiled wrongly."""
    with pytest.raises(SpecViolation) as caught:
        one_op_graph(Softmax16(beta=0.0), [s8(3)], OUTPUT)

    assert "softmax-C3" == caught.value.label
