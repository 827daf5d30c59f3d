# SPDX-License-Identifier: Apache-2.0
"""CONV_2D, DEPTHWISE_CONV_2D, FULLY_CONNECTED: weights of int8 or int4, per tensor or channel."""

import numpy as np

from codeq_compile.errors import SpecViolation
from codeq_compile.frontends.tflite.layer import Layer, Refusal, activation_grid, handles
from codeq_compile.frontends.tflite.options import (
    Conv2DOptions,
    DepthwiseConv2DOptions,
    FullyConnectedOptions,
    SVDFOptions,
)
from codeq_compile.frontends.tflite.schema import Activation, ElementType
from codeq_compile.frontends.tflite.windows import padding
from codeq_compile.ir.op import Array
from codeq_compile.ir.types import Weights
from codeq_compile.ops.conv2d import Conv2D
from codeq_compile.ops.dwconv2d import DWConv2D
from codeq_compile.ops.linear import Linear
from codeq_compile.ops.svdf import Svdf

_INPUT, _FILTER, _BIAS = 0, 1, 2


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


@handles("SVDF")
def svdf(layer: Layer) -> None:
    """State and time weights of int8 or int16; the state is the caller's."""
    options = layer.options(SVDFOptions)
    if options.activation not in {Activation.NONE, Activation.RELU}:
        raise Refusal("its fused function is neither RELU nor none, which TFLite's kernel ignores")
    state = layer.tensor(4)
    time = layer.tensor(2)
    if not state.is_variable or state.is_constant or state.kind is not time.kind:
        raise Refusal(f"its state is {state} and its time weights are {time}")
    grid = activation_grid(state)
    codes = _codes(layer, rank=2)
    if layer.known(2) is None:
        raise Refusal("its time weights are computed while the model runs, and must be constant")
    bias = layer.constant(3, "biases").astype(np.int32).reshape(-1) if layer.has_input(3) else None
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
        bias=bias,
    )


def _codes(layer: Layer, rank: int) -> Array:
    """The stored integers of the filter; a zero point of the tensor leaves them."""
    tensor = layer.tensor(_FILTER)
    if tensor.kind not in {ElementType.INT8, ElementType.INT4}:
        raise Refusal(f"its weights are {tensor}: quantize them to int8 or int4")
    codes = layer.constant(_FILTER, "weights")
    if codes.ndim != rank:
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


def _bias(layer: Layer) -> Array | None:
    if not layer.has_input(_BIAS):
        return None
    tensor = layer.tensor(_BIAS)
    if tensor.kind is not ElementType.INT32:
        raise Refusal(f"its bias is {tensor}, and int32 is due")
    return layer.constant(_BIAS, "biases").astype(np.int32).reshape(-1)
