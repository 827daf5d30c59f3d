# SPDX-License-Identifier: Apache-2.0
"""Convolutions of few channels whose weights are shifted to the left, at the extremes."""

import numpy as np
import pytest

from codeq_compile.ir import Weights
from codeq_compile.ir.op import Array
from codeq_compile.kernels import Kernel
from codeq_compile.ops.conv2d import Conv2D
from codeq_compile.packing import pack
from codeq_compile.simulate import simulate
from tests.graphs import Case, grid, lowered, one_op_graph, s8
from tests.runtime.matrix import Job

KERNEL = Kernel(family="conv2d_stem", act="s8", bits=8, packing="dense", isa="dsp")
SHAPES = [(3, 3, 3), (10, 4, 1), (5, 5, 5), (1, 1, 1)]
"""Windows, of 27, 40, 125 and 1 products."""


def job(shape: tuple[int, ...], weights: Array, bias: Array, x: Array, right: int) -> Job:
    """A layer with a ReLU whose factor is 0.75 * 2^-right, which makes the exponent -right."""
    codes = Weights(codes=weights, bits=8, scale=np.full(len(weights), 0.75, np.float32))
    image = s8(shape[0] + 1, shape[1] + 2, shape[2], scale=1.0, zero_point=0)
    op = Conv2D(clamp=(-5, 127))
    graph = lowered(one_op_graph(op, [image], grid(2.0**right, -5), weights=codes, bias=bias))
    data = np.resize(x, (1, *image.shape)).astype(np.int8)
    return Job(
        kernel=KERNEL,
        case=Case(name=f"{shape} right {right}", op=op, inputs=(image,)),
        graph=graph,
        packed=pack(codes, "dense"),
        inputs=(data,),
        expected=np.asarray(simulate(graph, {"x0": data})["y"]),
    )


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("right", range(3, 14))
def test_shifted_weights_and_sums_are_exact_at_the_extremes(runtime, shape, right):
    """A sum that leaves int32, or a weight int16, turns a bright pixel dark. [conv2d-C12]"""
    products = int(np.prod(shape))
    most = ((1 << 31) - 1 >> min(max(13 - right, 2), 8)) - products * 128 * 128
    for w in ((-128,), (127,), (-128, 127, 127), (127, -128, 1)):
        weights = np.resize(np.array(w, np.int8), (4, *shape))
        for ends in ((0, 1, -1, 9), (most - 1, 1 - most, 4, 5), (most, -most, most + 1, 4)):
            bias = np.array(ends, np.int32)
            for x in ((-128,), (127,), (127, -128, -128)):
                one = job(shape, weights, bias, np.array(x), right)
                np.testing.assert_array_equal(
                    one.expected[0], runtime.run(one, 0), err_msg=f"{one} {w} {ends} {x}"
                )
