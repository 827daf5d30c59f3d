# SPDX-License-Identifier: Apache-2.0
"""Conv, ConvTranspose, Gemm, MatMul and BatchNormalization: layers with weights."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from codeq_compile.errors import SpecViolation
from codeq_compile.frontends.onnx.layer import Layer, Refusal, handles
from codeq_compile.frontends.onnx.layout import Layout
from codeq_compile.frontends.onnx.values import Activation, Constant, Quantized
from codeq_compile.frontends.onnx.windows import window
from codeq_compile.ir.op import Array
from codeq_compile.ir.types import Weights
from codeq_compile.numerics import INT32_MAX
from codeq_compile.ops.conv2d import Conv2D
from codeq_compile.ops.dwconv2d import DWConv2D
from codeq_compile.ops.linear import Linear
from codeq_compile.ops.pad import Pad
from codeq_compile.ops.slice import Slice

_MAX_BIAS = float(1 << 29)
"""Larger biases would leave no room for the sums of products."""
_NEAR = 1e-6
"""Two scales so near to each other are one: products of float32 are rounded by whoever makes them.
"""


_INT32 = {"Conv", "Gemm"}
"""Operators whose biases may be integers, where they stand for QLinearConv and QGemm."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Affine:
    """Weights and biases of a layer as real numbers: ``scale · levels`` and `bias`.

    Parameters
    ----------
    levels : int array of shape (out, …)
    scale : float64 array of shape (out,) or (1,)
        Never 0; its sign counts.
    bits : int
    bias : float64 array of shape (out,)
    stored : (int64 array of shape (out,), float64 array of shape (out,) or (1,)), optional
        Integers and scale that the file has for the bias.
    """

    levels: Array
    scale: NDArray[np.float64]
    bits: int
    bias: NDArray[np.float64]
    stored: tuple[Array, NDArray[np.float64]] | None = None

    @classmethod
    def of(cls, layer: Layer, weights: Quantized, bias: int | None) -> "Affine":
        """From weights whose first axis is the output's, and the input `bias` of the operator."""
        count = len(weights.levels)
        scale = weights.scale.astype(np.float64)
        if len(scale) > 1 and (weights.axis != 0 or len(scale) != count):
            raise Refusal(
                f"its weights have a scale for each position of axis {weights.axis}: quantize them "
                "per output channel"
            )
        empty = np.zeros(count)
        result = cls(levels=weights.levels, scale=scale, bits=weights.bits, bias=empty)
        return result if bias is None else result.plus(layer, bias)

    def plus(self, layer: Layer, position: int, factor: float = 1.0) -> "Affine":
        """With an input of an operator, a constant, as its bias."""
        value, count = layer.value(position), len(self.levels)
        stored = None
        if isinstance(value, Quantized):
            real = value.real.reshape(-1)
            stored = (value.levels.reshape(-1), value.scale.astype(np.float64))
        elif isinstance(value, Constant) and value.array.dtype.kind == "f":
            real = value.array.astype(np.float64).reshape(-1)
        elif isinstance(value, Constant) and value.bits == 32 and layer.operator.kind in _INT32:
            # of an operator that computes in integers: on the accumulator's own scale
            steps = value.array.reshape(-1).astype(np.int64)
            unit = layer.grid(layer.real()).scale * self.scale
            real = steps * unit if len(unit) in {1, len(steps)} else np.empty(0)
            stored = (steps, unit)
        else:
            raise Refusal("its bias is computed while the model runs, and must be constant")
        if len(real) not in {1, count}:
            raise Refusal(f"its bias has {len(real)} values for {count} outputs")
        if not np.isfinite(real).all():
            raise Refusal("its bias is not finite")
        is_all = factor == 1.0 and len(real) == count and not self.bias.any()
        bias = self.bias + factor * np.broadcast_to(real, (count,))
        return replace(self, bias=bias, stored=stored if is_all else None)

    def scaled(self, gain: NDArray[np.float64], offset: NDArray[np.float64]) -> "Affine":
        """Behind a factor and an offset for each channel, or one for all."""
        bias = self.bias * gain + offset
        # a channel of gain 0 is its offset: no weight counts, whatever their scale
        dead = gain == 0.0
        levels = np.where(dead.reshape(-1, *[1] * (self.levels.ndim - 1)), 0, self.levels)
        scale = self.scale * np.where(dead, 1.0, gain)
        return replace(self, levels=levels, scale=scale, bias=bias, stored=None)

    def integers(self, input_scale: float) -> tuple[Weights, Array | None]:
        """Symmetric weights and int32 biases on ``input scale · weight scale``. [N4.1]

        Rows are rounded to wider steps where their levels do not fit int8, because they had a zero
        point, or where their bias does not fit int32, because a normalization made them tiny.
        """
        rows = self.levels.reshape(len(self.levels), -1)
        low, high = rows.min(axis=1).astype(np.int64), rows.max(axis=1).astype(np.int64)
        scale = np.broadcast_to(np.abs(self.scale), (len(rows),))
        negative = np.broadcast_to(self.scale < 0, (len(rows),))
        # a row that changes its sign may not hold -128, whose negative is no int8
        is_wide = (high > 127) | (low < np.where(negative, -127, -128))
        step = np.where(is_wide, np.maximum(high, -low) / 127.0, 1.0)
        step = np.maximum(step, np.abs(self.bias) / (_MAX_BIAS * input_scale * scale))
        levels, bits = self.levels, self.bits
        if negative.any() or (step > 1.0).any():
            rounded = np.rint(rows * (np.where(negative, -1.0, 1.0) / step)[:, None])
            levels, scale = rounded.reshape(levels.shape), scale * step
        else:
            scale = np.abs(self.scale)
        with np.errstate(over="ignore", under="ignore"):
            narrow = scale.astype(np.float32)
        try:
            weights = _weights(levels.astype(np.int8), narrow, bits)
        except SpecViolation as violation:
            raise Refusal(str(violation)) from violation
        return weights, self._bias(input_scale * narrow.astype(np.float64))

    def _bias(self, unit: NDArray[np.float64]) -> Array | None:
        if not self.bias.any():
            return None
        steps = np.rint(self.bias / unit)
        if self.stored is not None:
            integers, scale = self.stored
            if np.all(np.abs(scale / unit - 1.0) < _NEAR):
                steps = integers.astype(np.float64)
        steps = np.broadcast_to(steps, self.bias.shape)
        if np.abs(steps).max() > INT32_MAX:
            raise Refusal("a bias leaves int32: its scale is far too small for its value")
        return steps.astype(np.int32)


def normalization(layer: Layer, channels: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(factor, offset) of each channel of a BatchNormalization."""
    gamma, beta, mean, variance = (
        layer.constant(position, "statistics").astype(np.float64).reshape(-1)
        for position in range(1, 5)
    )
    if {len(each) for each in (gamma, beta, mean, variance)} != {channels}:
        raise Refusal(f"its statistics are not those of {channels} channels")
    if layer.attribute("training_mode", 0):
        raise Refusal("it is in training mode: export the model after eval()")
    with np.errstate(all="ignore"):
        gain = gamma / np.sqrt(variance + layer.attribute("epsilon", 1e-5))
        offset = beta - mean * gain
    if not (np.isfinite(gain).all() and np.isfinite(offset).all()):
        raise Refusal("its statistics are not finite")
    return gain, offset


def _weights(codes: Array, scale: Array, bits: int) -> Weights:
    """Weights of their own width; int4 with a -8 as a table of levels. [N3.3]"""
    if bits == 4 and codes.min() >= -8 and codes.max() <= 7:
        if codes.min() == -8:
            # only 8-bit grids hold their lowest value
            return Weights(
                codes=(codes + 8).astype(np.int8), bits=4, scale=scale, levels=tuple(range(-8, 8))
            )
        return Weights(codes=codes, bits=4, scale=scale)
    return Weights(codes=codes, bits=8, scale=scale)


def _quantized(layer: Layer, position: int = 1) -> Quantized:
    value = layer.value(position)
    if isinstance(value, Constant):
        raise Refusal(
            f"its weights are {value.array.dtype}: quantize them to int8 (quantize_static with "
            "QuantFormat.QDQ)"
        )
    if not isinstance(value, Quantized):
        raise Refusal("its weights are computed while the model runs, and must be constant")
    if value.bits > 8:
        raise Refusal(f"its weights have {value.bits} bits: quantize them to int8")
    return value


def _followed(layer: Layer, affine: Affine, rank: int, channels: int) -> tuple[Layer, Affine]:
    """(last operator, weights) with what is computed per channel behind, if nobody else sees it.

    The output has `rank` axes, of which `channels` is the one of the channels.
    """
    while (reader := layer.follower(*_PER_CHANNEL)) is not None:
        joined = _joined(layer, reader, affine, rank, channels)
        if joined is None:
            break
        layer.building.absorbed.add(reader.operator.index)
        layer, affine = reader, joined
    return layer, affine


_PER_CHANNEL = ("Add", "Sub", "Mul", "Div", "BatchNormalization")


def _joined(layer: Layer, reader: Layer, affine: Affine, rank: int, channels: int) -> Affine | None:
    """The weights with one operator more; None if it is not one number for each channel."""
    kind = reader.operator.kind
    if kind == "BatchNormalization":
        return affine.scaled(*normalization(reader, len(affine.levels)))
    position = 1 - list(reader.operator.inputs).index(layer.output)
    if not reader.is_constant(position):
        return None
    shape = reader.value(position).shape
    shape = (1,) * (rank - len(shape)) + shape
    if len(shape) > rank or any(n != 1 for i, n in enumerate(shape) if i != channels):
        return None
    match kind, position:
        case "Add", _:
            return affine.plus(reader, position)
        case "Sub", 1:
            return affine.plus(reader, position, -1.0)
        case ("Mul", _) | ("Div", 1):
            real = reader.constant(position, "factors").astype(np.float64).reshape(-1)
            with np.errstate(all="ignore"):
                gain = real if kind == "Mul" else 1.0 / real
            if not np.isfinite(gain).all() or gain.size not in {1, len(affine.levels)}:
                return None
            return affine.scaled(gain, np.zeros(1))
    return None


@handles("Conv")
def conv(layer: Layer) -> None:
    """Images and sequences; any stride, dilation, padding and groups; BatchNormalization behind."""
    stored, image, activation = _operands(layer)
    rank = len(activation.shape)
    h, w, c = layer.type(image).shape
    view = window(layer, (h, w), rank, stored.shape[2:])
    groups = layer.attribute("group", 1)
    out, each = stored.shape[:2]
    if groups < 1 or each * groups != c or out % groups:
        raise Refusal(f"its weights {list(stored.shape)} do not fit {groups} groups of {c} inputs")
    affine = Affine.of(layer, stored, 2 if layer.has_input(2) else None)
    last, affine = _followed(layer, affine, rank, 1)
    levels = affine.levels.reshape(out, each, *view.kernel).transpose(0, 2, 3, 1)
    weights, bias = replace(affine, levels=levels).integers(layer.grid(activation).scale)
    if groups == c and each == 1 and groups > 1:
        rows = replace(weights, codes=np.ascontiguousarray(weights.codes[..., 0]))
        depthwise = DWConv2D(
            stride=view.stride,
            dilation=view.dilation,
            padding=view.padding,
            multiplier_bits=_multiplier_bits(layer),
        )
        tensor = layer.node(depthwise, image, grid=last.output_grid(), weights=rows, bias=bias)
    else:
        op = Conv2D(
            stride=view.stride,
            dilation=view.dilation,
            padding=view.padding,
            groups=groups,
            multiplier_bits=_multiplier_bits(layer),
        )
        weights = replace(weights, codes=np.ascontiguousarray(weights.codes))
        tensor = layer.node(op, image, grid=last.output_grid(), weights=weights, bias=bias)
    last.write_image(tensor, rank)


def _operands(layer: Layer) -> tuple[Quantized, str, Activation]:
    """Weights, the image they slide over, and that image as the file sees it."""
    stored = _quantized(layer)
    image, activation = layer.image()
    if stored.levels.ndim != len(activation.shape):
        raise Refusal(
            f"its weights have the shape {list(stored.shape)} for {len(activation.shape)} axes"
        )
    return stored, image, activation


def _multiplier_bits(layer: Layer) -> int:
    return layer.building.multiplier_bits.get(layer.operator.name, 31)


@handles("ConvTranspose")
def conv_transpose(layer: Layer) -> None:
    """A convolution of the image with zeros between its pixels, by the weights turned around."""
    stored, image, activation = _operands(layer)
    rank = len(activation.shape)
    h, w, c = layer.type(image).shape
    if layer.attribute("auto_pad", "NOTSET") not in {"NOTSET", "VALID"}:
        raise Refusal("its padding follows from its output's shape: give it as pads")
    if "output_shape" in layer.operator.attributes:
        raise Refusal("its padding follows from its output_shape: give it as pads")
    view = window(layer, (h, w), rank, stored.shape[2:])
    if view.dilation != (1, 1):
        raise Refusal("its kernel is dilated")
    groups = layer.attribute("group", 1)
    inputs, each = stored.shape[:2]
    if groups < 1 or inputs != c or c % groups:
        raise Refusal(f"its weights {list(stored.shape)} do not fit {groups} groups of {c} inputs")
    more = layer.attribute("output_padding", (0,) * (rank - 2))
    if len(more) != rank - 2 or not all(0 <= n < 1 << 20 for n in more):
        raise Refusal(f"its output_padding is {list(more)}")
    affine = Affine.of(layer, _by_output(stored, groups), 2 if layer.has_input(2) else None)
    last, affine = _followed(layer, affine, rank, 1)
    top, bottom, left, right = view.padding
    image = _with_zeros_between(layer, image, view.stride)
    below, beside = (0, *more)[-2:]
    ends = (
        (view.kernel[0] - 1 - top, view.kernel[0] - 1 - bottom + below),
        (view.kernel[1] - 1 - left, view.kernel[1] - 1 - right + beside),
    )
    image, padding = _padded(layer, image, view.stride, ends)
    kernel = view.kernel
    levels = affine.levels.reshape(groups * each, c // groups, *kernel)[:, :, ::-1, ::-1]
    affine = replace(affine, levels=levels.transpose(0, 2, 3, 1))
    weights, bias = affine.integers(layer.grid(activation).scale)
    weights = replace(weights, codes=np.ascontiguousarray(weights.codes))
    op = Conv2D(padding=padding, groups=groups)
    tensor = layer.node(op, image, grid=last.output_grid(), weights=weights, bias=bias)
    last.write_image(tensor, rank)


def _by_output(stored: Quantized, groups: int) -> Quantized:
    """Weights (in, out / groups, …) as (out, in / groups, …)."""
    inputs, each, *kernel = stored.shape
    levels = stored.levels.reshape(groups, inputs // groups, each, *kernel)
    levels = np.swapaxes(levels, 1, 2).reshape(groups * each, inputs // groups, *kernel)
    scale = stored.scale
    if len(scale) > 1:
        if stored.axis != 1:
            raise Refusal(
                f"its weights have a scale for each position of axis {stored.axis}: quantize them "
                "per output channel"
            )
        scale = np.tile(scale, groups)
    return replace(stored, levels=levels, scale=scale, axis=0)


def _with_zeros_between(layer: Layer, image: str, stride: tuple[int, int]) -> str:
    """The image with `stride` - 1 zeros behind each column and each row."""
    h, w, c = layer.type(image).shape
    view = layer.building.view
    if stride[1] > 1:
        columns = Pad(after=(0, stride[1] - 1, 0))
        image = layer.node(columns, view(image, (h * w, 1, c)))
    if stride[0] > 1:
        rows = Pad(after=(0, stride[0] - 1, 0))
        image = layer.node(rows, view(image, (h, 1, w * stride[1] * c)))
    return view(image, (h * stride[0], w * stride[1], c))


def _padded(
    layer: Layer,
    image: str,
    stride: tuple[int, int],
    ends: tuple[tuple[int, int], tuple[int, int]],
) -> tuple[str, tuple[int, int, int, int]]:
    """(image, padding): what is less than no padding is cut off; the zeros behind the end too."""
    h, w, c = layer.type(image).shape
    first = tuple(max(0, -before) for before, _ in ends)
    # the zeros behind the last pixel count as padding
    last = tuple(after - (s - 1) for (_, after), s in zip(ends, stride, strict=True))
    size = tuple(
        n - start + min(0, after) for n, start, after in zip((h, w), first, last, strict=True)
    )
    if min(size) < 1:
        raise Refusal("its pads leave nothing of its output")
    if size != (h, w):
        part = Slice(begin=(*first, 0), step=(1, 1, 1), shape=(*size, c))
        image = layer.node(part, image)
    (top, _), (left, _) = ends
    return image, (max(0, top), max(0, last[0]), max(0, left), max(0, last[1]))


@handles("Gemm")
def gemm(layer: Layer) -> None:
    """With constant weights; the bias may be a constant of floats or integers."""
    if layer.attribute("transA", 0):
        raise Refusal("it transposes its first operand")
    stored = _quantized(layer)
    if stored.levels.ndim != 2:
        raise Refusal(f"its weights have the shape {list(stored.shape)}")
    alpha, beta = layer.attribute("alpha", 1.0), layer.attribute("beta", 1.0)
    if not layer.attribute("transB", 0):
        stored = _turned(stored)
    affine = Affine.of(layer, stored, None)
    if alpha != 1.0:
        if not np.isfinite(alpha) or alpha == 0.0:
            raise Refusal(f"its alpha is {alpha}")
        affine = replace(affine, scale=affine.scale * alpha)
    if layer.has_input(2) and beta != 0.0:
        affine = affine.plus(layer, 2, beta)
    _linear(layer, affine)


@handles("MatMul")
def mat_mul(layer: Layer) -> None:
    """With a constant matrix behind; an Add of a constant row is its bias."""
    stored = _quantized(layer)
    if stored.levels.ndim != 2:
        raise Refusal(f"its weights have the shape {list(stored.shape)}, and two axes are due")
    _linear(layer, Affine.of(layer, _turned(stored), None))


def _turned(stored: Quantized) -> Quantized:
    """Weights (in, out) as (out, in)."""
    return replace(stored, levels=stored.levels.T, axis=1 - stored.axis)


def _linear(layer: Layer, affine: Affine) -> None:
    """A linear layer along the last axis; memory may have that axis in any order."""
    source = layer.real()
    length = affine.levels.shape[1]
    if not source.shape or source.shape[-1] != length:
        raise Refusal(f"its input {list(source.shape)} has no last axis of {length}")
    source, columns = _rows(layer, source)
    rank = len(source.shape)
    last, affine = _followed(layer, affine, rank, rank - 1)
    levels = affine.levels if columns is None else affine.levels[:, columns]
    weights, bias = replace(affine, levels=levels).integers(layer.grid(source).scale)
    weights = replace(weights, codes=np.ascontiguousarray(weights.codes))
    rows = source.elements // length
    tensor = layer.building.view(source.tensor, (length,) if rows == 1 else (rows, length))
    op = Linear(multiplier_bits=_multiplier_bits(layer))
    tensor = layer.node(op, tensor, grid=last.output_grid(), weights=weights, bias=bias)
    shape = (*source.shape[:-1], len(levels))
    last.write(Activation(tensor=tensor, shape=shape, layout=Layout.plain(shape)))


def _rows(layer: Layer, source: Activation) -> tuple[Activation, Array | None]:
    """(input with its rows one after the other, order of the elements within a row if it is one).

    Columns of weights move instead of the elements where the last axis alone is out of order.
    """
    length = source.shape[-1]
    plain = Layout.plain(source.shape)
    if source.layout == plain:
        return source, None
    split = source.layout.split((source.elements // length, length))
    if split is None:
        return layer.arranged(source, plain), None
    rows, row = split.axes((source.elements // length, length))
    if split.order[: len(rows)] != tuple(rows):
        return layer.arranged(source, plain), None
    inner = Layout(
        tuple(split.extents[factor] for factor in row),
        tuple(factor - len(rows) for factor in split.order[len(rows) :]),
    )
    return source, inner.positions()


@handles("BatchNormalization")
def batch_normalization(layer: Layer) -> None:
    """Into the layer before it; one that stands alone is a depthwise convolution of 1x1."""
    image, activation = layer.image()
    channels = activation.shape[1]
    affine = Affine(
        levels=np.full((channels, 1, 1), 127, np.int16),
        scale=np.full(channels, 1 / 127.0),
        bits=8,
        bias=np.zeros(channels),
    )
    scaled = affine.scaled(*normalization(layer, channels))
    weights, bias = scaled.integers(layer.grid(activation).scale)
    tensor = layer.node(DWConv2D(), image, grid=layer.output_grid(), weights=weights, bias=bias)
    layer.write_image(tensor, len(activation.shape))
