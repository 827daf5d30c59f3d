# SPDX-License-Identifier: Apache-2.0
"""Sums of dsp kernels over so many pixels that 16-bit lanes are full, and means of every sum."""

from typing import Any

import numpy as np
import pytest

from codeq_compile.ir import Op
from codeq_compile.ir.op import Array
from codeq_compile.kernels import Kernel
from codeq_compile.ops.avgpool2d import AvgPool2D
from codeq_compile.ops.mean import Mean
from codeq_compile.simulate import simulate
from tests.graphs import Case, grid, lowered, one_op_graph, s8
from tests.runtime.matrix import Job


def check(runtime: Any, op: Op[Any], samples: Array, isa: str = "dsp") -> None:
    """The kernel against the golden, on samples of one shape."""
    shape = samples.shape[1:]
    x = s8(*shape, zero_point=0)
    graph = lowered(one_op_graph(op, [x], x.grid if op.kind == "avgpool2d" else grid(0.05, 0)))
    inputs = (samples.astype(np.int8),)
    job = Job(
        kernel=Kernel(family=op.kind, act="s8", isa=isa),
        case=Case(name=f"{shape}", op=op, inputs=(x,)),
        graph=graph,
        packed=None,
        inputs=inputs,
        expected=np.asarray(simulate(graph, {"x0": inputs[0]})["y"]),
    )
    for sample in range(len(samples)):
        np.testing.assert_array_equal(
            job.expected[sample], runtime.run(job, sample), err_msg=f"{op.kind} {shape} {sample}"
        )


def full(*shape: int) -> Array:
    """All -128, all 127, and channels of both."""
    mixed = np.where(np.arange(shape[2]) % 2, 127, -128)
    return np.stack([np.full(shape, -128), np.full(shape, 127), np.broadcast_to(mixed, shape)])


@pytest.mark.parametrize("pixels", [255, 256, 257, 512, 700, 2047, 2048])
def test_a_full_lane_is_emptied_in_time(runtime, pixels):
    """257 times -128 is more than int16 holds: a mean of black images would turn white."""
    for channels in (3, 4, 6, 9):
        check(runtime, Mean(), full(1, pixels, channels))
        check(runtime, AvgPool2D(kernel=(1, pixels), stride=(1, 1)), full(1, pixels, channels))
    check(runtime, AvgPool2D(kernel=(2, pixels), stride=(1, 1)), full(3, pixels + 1, 8))


@pytest.mark.parametrize("pixels", [1, 2, 3, 4, 6, 9, 15, 16, 25, 255, 256, 257, 2046, 2047, 2048])
def test_the_mean_of_every_sum_is_rounded_like_the_quotient(runtime, pixels):
    """The kernel multiplies by a reciprocal: a tie that it misses is a pixel that is off by one."""
    # sums from both ends, around zero and at ties, where only the count is large
    sums = np.arange(-128 * pixels, 127 * pixels + 1)
    if pixels > 25:
        ties = (sums + pixels // 2) % pixels
        sums = sums[(np.abs(sums) < 600) | (ties < 2) | (ties == pixels - 1)]
    sums = np.resize(sums, (-(-len(sums) // 8), 8))
    least = sums // pixels
    window = least[:, None] + (np.arange(pixels)[:, None] < (sums - least * pixels)[:, None])

    assert np.array_equal(sums, window.sum(axis=1))
    for isa in ("ref", "dsp"):
        op = AvgPool2D(kernel=(1, pixels), stride=(1, pixels))
        check(runtime, op, window.reshape(1, 1, -1, 8), isa)
