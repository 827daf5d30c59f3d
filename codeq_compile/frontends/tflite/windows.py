# SPDX-License-Identifier: Apache-2.0
"""SAME and VALID as pixels on four sides; AVERAGE_POOL_2D, MAX_POOL_2D."""

from codeq_compile.frontends.tflite.layer import Layer, Refusal, handles
from codeq_compile.frontends.tflite.options import Pool2DOptions
from codeq_compile.frontends.tflite.schema import Padding
from codeq_compile.ops.avgpool2d import AvgPool2D
from codeq_compile.ops.base import Padding as Sides
from codeq_compile.ops.base import Pair
from codeq_compile.ops.maxpool2d import MaxPool2D


def padding(kind: int, size: Pair, kernel: Pair, stride: Pair, dilation: Pair = (1, 1)) -> Sides:
    """Pixels (top, bottom, left, right); of an odd number the last one goes below or right.

    Source: `ComputePaddingHeightWidth` of TFLite's kernels/padding.h.
    """
    if min(*kernel, *stride, *dilation) < 1:
        raise Refusal(f"kernel {kernel}, stride {stride} and dilation {dilation} must be 1 or more")
    if kind == Padding.VALID:
        return 0, 0, 0, 0
    if kind != Padding.SAME:
        raise Refusal(f"its padding is neither SAME nor VALID but {kind}")
    totals = [
        max((-(-n // s) - 1) * s + (k - 1) * d + 1 - n, 0)
        for n, k, s, d in zip(size, kernel, stride, dilation, strict=True)
    ]
    top, left = (total // 2 for total in totals)
    return top, totals[0] - top, left, totals[1] - left


@handles("AVERAGE_POOL_2D", "MAX_POOL_2D")
def pool2d(layer: Layer) -> None:
    """Both keep the bytes of the input's grid; the limits are those of the output's."""
    options = layer.options(Pool2DOptions)
    image = layer.image()
    h, w, _ = layer.type(image).shape
    kernel, stride = (options.filter_h, options.filter_w), (options.stride_h, options.stride_w)
    op = MaxPool2D if layer.operator.kind == "MAX_POOL_2D" else AvgPool2D
    layer.add(
        op(
            kernel=kernel,
            stride=stride,
            padding=padding(options.padding, (h, w), kernel, stride),
            clamp=layer.clamp(options.activation),
        ),
        image,
    )
