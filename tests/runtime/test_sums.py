# SPDX-License-Identifier: Apache-2.0
"""Sums of dsp kernels over so many pixels that 16-bit lanes are full."""

from typing import Any

import numpy as np
import pytest

from codeq_compile.ir import Op
from codeq_compile.kernels import Kernel
from codeq_compile.ops.avgpool2d import AvgPool2D
from codeq_compile.ops.mean import Mean
from codeq_compile.simulate import simulate
from tests.graphs import Case, grid, lowered, one_op_graph, s8
from tests.runtime.matrix import Job


def check(runtime: Any, op: Op[Any], shape: tuple[int, ...]) -> None:
    """All -128, all 127, and channels of both."""
    x = s8(*shape, zero_point=0)
    graph = lowered(one_op_graph(op, [x], x.grid if op.kind == "avgpool2d" else grid(0.05, 0)))
    mixed = np.where(np.arange(shape[2]) % 2, 127, -128)
    samples = np.stack([np.full(shape, -128), np.full(shape, 127), np.broadcast_to(mixed, shape)])
    inputs = (samples.astype(np.int8),)
    full = Job(
        kernel=Kernel(family=op.kind, act="s8", isa="dsp"),
        case=Case(name=f"{shape}", op=op, inputs=(x,)),
        graph=graph,
        packed=None,
        inputs=inputs,
        expected=np.asarray(simulate(graph, {"x0": inputs[0]})["y"]),
    )
    for sample in range(len(samples)):
        np.testing.assert_array_equal(
            full.expected[sample], runtime.run(full, sample), err_msg=f"{op.kind} {shape} {sample}"
        )


@pytest.mark.parametrize("pixels", [255, 256, 257, 512, 700])
def test_a_full_lane_is_emptied_in_time(runtime, pixels):
    """257 times -128 is more than int16 holds: a mean of black images would turn white."""
    for channels in (3, 4, 6, 9):
        check(runtime, Mean(), (1, pixels, channels))
        check(runtime, AvgPool2D(kernel=(1, pixels), stride=(1, 1)), (1, pixels, channels))
    check(runtime, AvgPool2D(kernel=(2, pixels), stride=(1, 1)), (3, pixels + 1, 8))
