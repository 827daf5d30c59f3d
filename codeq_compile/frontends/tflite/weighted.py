# SPDX-License-Identifier: Apache-2.0
"""Layers with weights of int8 or int4, per tensor or channel: convolutions, FULLY_CONNECTED, SVDF.

DENSIFY, which stands between sparse weights and convolutions, is theirs."""

import numpy as np

from codeq_compile.errors import SpecViolation
from codeq_compile.frontends.tflite.layer import Layer, Refusal, activation_grid, handles
from codeq_compile.frontends.tflite.options import (
    Conv2DOptions,
    DepthwiseConv2DOptions,
    FullyConnectedOptions,
    SVDFOptions,
    TransposeConvOptions,
)
from codeq_compile.frontends.tflite.schema import Activation, ElementType
from codeq_compile.frontends.tflite.windows import padding
from codeq_compile.ir.op import Array
from codeq_compile.ir.types import Weights
from codeq_compile.ops.base import Pair
from codeq_compile.ops.conv2d import Conv2D
from codeq_compile.ops.dwconv2d import DWConv2D
from codeq_compile.ops.linear import Linear
from codeq_compile.ops.pad import Pad
from codeq_compile.ops.slice import Slice
from codeq_compile.ops.svdf import Svdf

_INPUT, _FILTER, _BIAS = 0, 1, 2
_IMAGE = 2
"""Of TRANSPOSE_CONV, whose first input is the output's shape."""


@handles("CONV_2D")
def conv2d(layer: Layer) -> None:
    """Any stride, dilation and groups; weights of int8 or int4, dense or sparse."""
    options = layer.options(Conv2DOptions)
    codes = _codes(layer, rank=4)
    image = layer.image(_INPUT)
    h, w, c = layer.type(image).shape
    stride = (options.stride_h, options.stride_w)
    dilation = (options.dilation_h, options.dilation_w)
    _, kh, kw, channels = codes.shape
    op = Conv2D(
        stride=stride,
        dilation=dilation,
        padding=padding(options.padding, (h, w), (kh, kw), stride, dilation),
        groups=c // channels,
        clamp=layer.clamp(options.activation),
    )
    layer.add(op, image, weights=weights(layer, codes, axis=0), bias=_bias(layer))


@handles("DEPTHWISE_CONV_2D")
def depthwise_conv2d(layer: Layer) -> None:
    """Any channel multiplier; weights of int8 or int4, dense or sparse."""
    options = layer.options(DepthwiseConv2DOptions)
    codes = _codes(layer, rank=4)
    if codes.shape[0] != 1:
        raise Refusal(f"its filter has the shape {list(codes.shape)}, and (1, kh, kw, out) is due")
    image = layer.image(_INPUT)
    stride = (options.stride_h, options.stride_w)
    dilation = (options.dilation_h, options.dilation_w)
    h, w, _ = layer.type(image).shape
    _, kh, kw, _ = codes.shape
    op = DWConv2D(
        stride=stride,
        dilation=dilation,
        padding=padding(options.padding, (h, w), (kh, kw), stride, dilation),
        clamp=layer.clamp(options.activation),
    )
    rows = np.ascontiguousarray(codes[0].transpose(2, 0, 1))
    layer.add(op, image, weights=weights(layer, rows, axis=3), bias=_bias(layer))


@handles("FULLY_CONNECTED")
def fully_connected(layer: Layer) -> None:
    """Flattens its input; weights of int8 or int4, dense or sparse, per tensor or per channel."""
    options = layer.options(FullyConnectedOptions)
    if options.weights_format:
        raise Refusal("its weights are shuffled: convert the model again without that option")
    codes = _codes(layer, rank=2)
    source = layer.input(_INPUT)
    kind = layer.type(source)
    length = codes.shape[1]
    if kind.elements % length:
        raise Refusal(f"its input {kind} cannot be cut into rows of {length}")
    rows = kind.elements // length
    if kind.shape[-1] != length:
        source = layer.view(source, (length,) if rows == 1 else (rows, length))
    tensor = layer.tensor(_FILTER)
    op = Linear(
        clamp=layer.clamp(options.activation),
        float32_product=layer.building.kernels.multiplies_in_float32 and len(tensor.scale) == 1,
    )
    layer.add(op, source, weights=weights(layer, codes, axis=0), bias=_bias(layer))


@handles("TRANSPOSE_CONV")
def transpose_conv(layer: Layer) -> None:
    """A convolution of the image with zeros between its pixels, by the weights turned around."""
    options = layer.options(TransposeConvOptions)
    codes = _codes(layer, rank=4)
    image = layer.image(_IMAGE)
    shape = layer.output.shape
    if len(shape) != 4 or shape[0] != 1:
        raise Refusal(f"its output is {layer.output}, and one image (1, h, w, c) is expected")
    stride, kernel = (options.stride_h, options.stride_w), codes.shape[1:3]
    wanted = (shape[1], shape[2])
    # TFLite's padding is that of the convolution from the output to the input
    top, _, left, _ = padding(options.padding, wanted, kernel, stride)
    image = _with_zeros_between(layer, image, stride)
    before = (kernel[0] - 1 - top, kernel[1] - 1 - left)
    size = layer.type(image).shape
    after = tuple(
        out - n - first + k - 1
        for out, n, first, k in zip(wanted, size, before, kernel, strict=False)
    )
    # zeros behind the last pixel may be more than are needed
    cut = tuple(n + min(0, extra) for n, extra in zip(size, after, strict=False))
    if min(*before, *cut) < 0:
        raise Refusal(f"its output {layer.output} does not follow from its input and its stride")
    if cut != size[:2]:
        whole = (*cut, size[2])
        image = layer.step(Slice(begin=(0, 0, 0), step=(1, 1, 1), shape=whole), image)
    op = Conv2D(
        padding=(before[0], max(0, after[0]), before[1], max(0, after[1])),
        clamp=layer.clamp(options.activation),
    )
    turned = np.ascontiguousarray(codes[:, ::-1, ::-1])
    layer.add(op, image, weights=weights(layer, turned, axis=0), bias=_bias(layer, position=3))


def _with_zeros_between(layer: Layer, image: str, stride: Pair) -> str:
    """The image with `stride` - 1 zeros behind each column and each row."""
    h, w, c = layer.type(image).shape
    if stride[1] > 1:
        columns = Pad(after=(0, stride[1] - 1, 0))
        image = layer.step(columns, layer.view(image, (h * w, 1, c)))
    if stride[0] > 1:
        rows = Pad(after=(0, stride[0] - 1, 0))
        image = layer.step(rows, layer.view(image, (h, 1, w * stride[1] * c)))
    return layer.view(image, (h * stride[0], w * stride[1], c))


@handles("SVDF")
def svdf(layer: Layer) -> None:
    """State and time weights of int8 or int16; the state is the caller's."""
    options = layer.options(SVDFOptions)
    if options.activation not in {Activation.NONE, Activation.RELU}:
        raise Refusal("its fused function is neither RELU nor none, which TFLite's kernel ignores")
    state = layer.tensor(4)
    time = layer.tensor(2)
    is_state = state.is_variable and not state.is_constant and state.kind is time.kind
    if not is_state or state.kind not in {ElementType.INT8, ElementType.INT16}:
        raise Refusal(f"its state is {state} and its time weights are {time}")
    grid = activation_grid(state)
    codes = _codes(layer, rank=2)
    if layer.known(2) is None:
        raise Refusal("its time weights are computed while the model runs, and must be constant")
    layer.add(
        Svdf(
            rank=options.rank,
            state_scale=grid.scale,
            state_zero=grid.zero_point,
            float32_scales=layer.building.kernels.multiplies_in_float32,
        ),
        layer.input(_INPUT),
        layer.operand(2),
        weights=weights(layer, codes, axis=0),
        bias=_bias(layer, position=3),
    )


@handles("DENSIFY")
def densify(layer: Layer) -> None:
    """The sparse weights of the layers that read it, which stay sparse; nothing is computed."""
    stored, dense = layer.tensor(0), layer.output
    if (stored.kind, stored.shape) != (dense.kind, dense.shape):
        raise Refusal(f"it makes {dense} of {stored}")
    layer.building.folded[dense.index] = layer.constant(0, "values")


def _codes(layer: Layer, rank: int) -> Array:
    """The stored integers of the filter; a zero point of the tensor leaves them."""
    tensor = layer.tensor(_FILTER)
    if tensor.kind not in {ElementType.INT8, ElementType.INT4}:
        raise Refusal(f"its weights are {tensor}: quantize them to int8 or int4")
    codes = layer.constant(_FILTER, "weights")
    if codes.ndim != rank or not codes.size:
        raise Refusal(f"its weights have the shape {list(codes.shape)}, and {rank} axes are due")
    zero_points = set(tensor.zero_point.tolist())
    if zero_points <= {0}:
        return codes
    shifted = codes.astype(np.int64) - tensor.zero_point[0]
    is_linear = layer.operator.kind == "FULLY_CONNECTED" and len(tensor.zero_point) == 1
    if not is_linear or shifted.min() < -128 or shifted.max() > 127:
        raise Refusal("its weights have a zero point: quantize them symmetrically")
    result: Array = shifted.astype(np.int8)
    return result


def weights(layer: Layer, codes: Array, axis: int, position: int = _FILTER) -> Weights:
    """Weights on a grid of their own width; int4 with a -8 as a table of levels. [N3.3]"""
    tensor = layer.tensor(position)
    if len(tensor.scale) not in {1, len(codes)}:
        raise Refusal(f"its weights have {len(tensor.scale)} scales for {len(codes)} channels")
    if len(tensor.scale) > 1 and tensor.axis != axis:
        raise Refusal(f"its weights have a scale for each position of axis {tensor.axis}")
    bits = 4 if tensor.kind is ElementType.INT4 else 8
    levels = None
    if bits == 4 and codes.min() == -8:
        # only 8-bit grids hold their lowest value
        codes, levels = codes + np.int8(8), tuple(range(-8, 8))
    try:
        return Weights(codes=codes.astype(np.int8), bits=bits, scale=tensor.scale, levels=levels)
    except SpecViolation as violation:
        raise Refusal(str(violation)) from violation


def _bias(layer: Layer, position: int = _BIAS) -> Array | None:
    if not layer.has_input(position):
        return None
    tensor = layer.tensor(position)
    if tensor.kind is ElementType.INT64:
        raise Refusal(f"its bias is {tensor}, as beside int16 activations: quantize those to int8")
    if tensor.kind is not ElementType.INT32:
        raise Refusal(f"its bias is {tensor}, and int32 is due")
    return layer.constant(position, "biases").astype(np.int32).reshape(-1)
