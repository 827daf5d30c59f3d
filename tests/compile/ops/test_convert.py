# SPDX-License-Identifier: Apache-2.0
"""convert: the golden against loops written from NUMERICS §convert, and its refusals."""

import numpy as np
import pytest

from codeq_compile.errors import ModelError, SpecViolation
from codeq_compile.ir import DType, TensorType
from codeq_compile.ops.convert import Convert, ConvertParams
from codeq_compile.passes import run
from codeq_compile.simulate import simulate
from tests.graphs import Case, grid, lowered, one_op_graph, s8, s16
from tests.literal import clamp, rescale

CASES = [
    Case(name=f"{x.dtype}-to-{dtype}-{name}", op=Convert(dtype=dtype), inputs=(x,), output=output)
    for dtype in DType
    for x in (s8(257, scale=0.05, zero_point=-9), s16(257, scale=0.0006, zero_point=1000))
    for name, output in (
        ("finer", grid(x.scale / 3.7, 5, dtype.bits)),
        ("coarser", grid(x.scale * 41.3, -7, dtype.bits)),
    )
]


def _loops(params: ConvertParams, x: np.ndarray, dtype: DType) -> list[int]:
    """NUMERICS §convert, Semantics."""
    limits = np.iinfo(dtype.numpy)
    scaled = (
        rescale(v - params.in_zero, params.scale.multiplier, params.scale.exponent)
        for v in x.tolist()
    )
    return [clamp(params.out_zero + v, (limits.min, limits.max)) for v in scaled]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_golden_equals_the_spec_written_as_loops(case: Case):
    """A wrong golden makes every kernel wrong with it, and no comparison would notice."""
    graph = lowered(case.graph())
    data = case.data()
    params = graph.nodes[0].params

    expected = [_loops(params, x, case.op.dtype) for x in data["x0"]]

    np.testing.assert_array_equal(expected, simulate(graph, data)["y"])


def test_a_wider_input_is_refused_by_its_rule():
    """No kernel reads it. [convert-C1]"""
    with pytest.raises(SpecViolation) as caught:
        one_op_graph(Convert(dtype=DType.S8), [TensorType(shape=(3,), dtype=DType.S32)])

    assert "convert-C1" == caught.value.label


def test_a_factor_that_overflows_is_refused():
    """A multiplier cannot bring back what the shift has lost. [convert-C2]"""
    graph = one_op_graph(Convert(dtype=DType.S32), [s16(3, scale=1.0)], grid(1e-6, 0, 32))

    with pytest.raises(ModelError, match=r"N4\.3"):
        run(graph)
