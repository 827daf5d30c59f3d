# SPDX-License-Identifier: Apache-2.0
"""Operators that move or select values: RESHAPE and its like, CONCATENATION, PAD, MEAN, ARG_MAX."""

import math
from collections.abc import Sequence

import numpy as np

from codeq_compile.frontends.tflite.folding import strided
from codeq_compile.frontends.tflite.layer import Layer, Refusal, handles, tensor_type
from codeq_compile.frontends.tflite.options import (
    ConcatenationOptions,
    MirrorPadOptions,
    ResizeOptions,
    StridedSliceOptions,
)
from codeq_compile.frontends.tflite.schema import Activation, ElementType, Tensor
from codeq_compile.ir.types import Shape
from codeq_compile.ops.argmax import Argmax
from codeq_compile.ops.base import Pair
from codeq_compile.ops.concat import Concat
from codeq_compile.ops.mean import Mean
from codeq_compile.ops.pad import Pad
from codeq_compile.ops.reshape import Reshape
from codeq_compile.ops.slice import Slice
from codeq_compile.ops.transpose import Transpose
from codeq_compile.ops.upsample2d import Upsample2D

MAX_PIXELS = 1 << 14
"""Height and width of an image that is made larger."""


@handles("RESHAPE", "SQUEEZE", "EXPAND_DIMS")
def reshape(layer: Layer) -> None:
    """Nothing is copied; the shape may be computed from other shapes."""
    layer.add(Reshape(shape=tensor_type(layer.output).shape), layer.input())


@handles("TRANSPOSE")
def transpose(layer: Layer) -> None:
    """Any order of at most four axes that are not 1."""
    x = layer.tensor(0)
    axes = [axis_of(axis, len(x.shape)) for axis in layer.integers(1, "order of axes")]
    if sorted(axes) != list(range(len(x.shape))):
        raise Refusal(f"{axes} is no order of the axes of {x}")
    shape, order = _without_ones(x.shape, axes)
    if order == sorted(order):
        layer.add(Reshape(shape=tensor_type(layer.output).shape), layer.input())
    else:
        layer.add(Transpose(axes=tuple(order)), layer.view(layer.input(), shape))


def _without_ones(shape: Shape, axes: Sequence[int]) -> tuple[Shape, list[int]]:
    """A shape and an order of its axes without those of 1, which are nowhere in memory."""
    real = [axis for axis, n in enumerate(shape) if n > 1]
    return tuple(shape[axis] for axis in real), [real.index(axis) for axis in axes if axis in real]


def _in_order(layer: Layer, name: str, shape: Shape, axes: Sequence[int]) -> str:
    """A tensor of this shape in the file with its axes in another order."""
    real, order = _without_ones(shape, axes)
    if order == sorted(order):
        return name
    return layer.step(Transpose(axes=tuple(order)), layer.view(name, real))


@handles("SLICE")
def slice_(layer: Layer) -> None:
    """Positions and sizes are constants."""
    x = layer.tensor(0)
    begin, size = layer.integers(1, "positions"), layer.integers(2, "sizes")
    if not len(begin) == len(size) == len(x.shape):
        raise Refusal(f"its positions {begin} and sizes {size} do not fit {x}")
    count = [n - b if s == -1 else s for n, b, s in zip(x.shape, begin, size, strict=True)]
    _part(layer, layer.output, begin, [1] * len(begin), count)


@handles("STRIDED_SLICE")
def strided_slice(layer: Layer) -> None:
    """Limits and masks are constants; no ellipsis and no new axis."""
    x = layer.tensor(0)
    chosen = strided(layer, x.shape, layer.options(StridedSliceOptions))
    positions = [
        range(n)[part] if isinstance(part, slice) else [part % n]
        for n, part in zip(x.shape, (*chosen, *[slice(None)] * len(x.shape)), strict=False)
    ]
    if not all(positions):
        raise Refusal(f"it selects nothing of {x}")
    begin = [each[0] for each in positions]
    step = [each[1] - each[0] if len(each) > 1 else 1 for each in positions]
    _part(layer, layer.output, begin, step, [len(each) for each in positions])


@handles("SPLIT", "SPLIT_V")
def split(layer: Layer) -> None:
    """As many slices as outputs."""
    is_even = layer.operator.kind == "SPLIT"
    data, position_of_axis = (1, 0) if is_even else (0, 2)
    x = layer.tensor(data)
    axis = axis_of(_integer(layer, position_of_axis, "axes"), len(x.shape))
    position = 0
    for output in layer.operator.outputs:
        if len(output.shape) != len(x.shape):
            raise Refusal(f"it splits {x} into {output}")
        begin, count = [0] * len(x.shape), list(x.shape)
        begin[axis], count[axis] = position, output.shape[axis]
        _part(layer, output, begin, [1] * len(begin), count, data)
        position += output.shape[axis]
    if position != x.shape[axis]:
        raise Refusal(f"it splits {x.shape[axis]} positions into {position}")


def _part(
    layer: Layer,
    output: Tensor,
    begin: Sequence[int],
    step: Sequence[int],
    count: Sequence[int],
    position: int = 0,
) -> None:
    """A slice of an input; a batch of 1 is left out, since it is no axis of the graph."""
    source = layer.input(position)
    x = layer.tensor(position)
    skip = len(x.shape) - len(layer.type(source).shape) if len(x.shape) > 1 else 0
    first, each, shape = (tuple(values[skip:]) for values in (begin, step, count))
    layer.add(Slice(begin=first, step=each, shape=shape), source, output=output)


@handles("CONCATENATION")
def concatenation(layer: Layer) -> None:
    """Along any axis, of tensors and constants on one grid."""
    options = layer.options(ConcatenationOptions)
    if options.activation != Activation.NONE:
        raise Refusal("it has a fused function, which no TFLite kernel computes for int8")
    positions = range(len(layer.operator.inputs))
    rank = len(layer.output.shape)
    axis = axis_of(options.axis, rank)
    names = []
    for position in positions:
        tensor = layer.tensor(position)
        if len(tensor.shape) != rank:
            raise Refusal(f"it joins {tensor} to a tensor of {rank} axes")
        # all axes are kept here: a batch that is not 1 may be what is joined
        names.append(layer.view(layer.operand(position), tensor.shape))
    layer.add(Concat(axis=axis), *names)


@handles("PAD", "PADV2")
def pad(layer: Layer) -> None:
    """Around an image, a sequence or a vector, with the output's zero point or a constant."""
    x = layer.tensor(0)
    pairs = _borders(layer, x)
    lead = [i for i in range(len(pairs) - 3) if x.shape[i] != 1 or pairs[i] != (0, 0)]
    if lead:
        raise Refusal(f"it pads axis {lead[0]} of {x}: only the last three can be padded")
    # (h, w, c), with axes of 1 where the tensor has fewer
    shape = (1, 1, 1, *x.shape)[-3:]
    inner = ([(0, 0)] * 3 + pairs)[-3:]
    value = layer.output_grid.zero_point
    if layer.operator.kind == "PADV2":
        value = _integer(layer, 2, "values")
    (top, bottom), (left, right), (front, back) = inner
    op = Pad(before=(top, left, front), after=(bottom, right, back), value=value)
    layer.add(op, layer.view(layer.input(), shape))


def _borders(layer: Layer, x: Tensor) -> list[Pair]:
    """Positions before and behind each axis."""
    borders = layer.integers(1, "borders")
    if len(borders) != 2 * len(x.shape):
        raise Refusal(f"it has {len(borders)} borders for {x}")
    return list(zip(borders[::2], borders[1::2], strict=True))


@handles("MIRROR_PAD")
def mirror_pad(layer: Layer) -> None:
    """Axis by axis: the tensor between slices of itself that run backwards."""
    offset = 1 if layer.options(MirrorPadOptions).mode == 0 else 0
    x = layer.tensor(0)
    pairs = _borders(layer, x)
    for (before, after), n in zip(pairs, x.shape, strict=True):
        if min(before, after) < 0 or max(before, after) > n - offset:
            raise Refusal(f"it mirrors {max(before, after)} of {n} positions")
    name = layer.view(layer.input(), x.shape)
    padded = [axis for axis, pair in enumerate(pairs) if pair != (0, 0)]
    for axis in padded[:-1]:
        op, parts = _mirrored(layer, name, axis, *pairs[axis], offset)
        name = layer.step(op, *parts)
    if not padded:
        layer.add(Reshape(shape=tensor_type(layer.output).shape), layer.input())
        return
    op, parts = _mirrored(layer, name, padded[-1], *pairs[padded[-1]], offset)
    layer.add(op, *parts)


def _mirrored(
    layer: Layer, name: str, axis: int, before: int, after: int, offset: int
) -> tuple[Concat, list[str]]:
    """What mirrors a tensor along one axis: how its parts are joined, and they themselves."""
    shape = layer.type(name).shape
    n = shape[axis]

    def backwards(first: int, count: int) -> list[str]:
        if not count:
            return []
        begin, step, extent = ([0] * len(shape), [1] * len(shape), list(shape))
        begin[axis], step[axis], extent[axis] = first, -1, count
        op = Slice(begin=tuple(begin), step=tuple(step), shape=tuple(extent))
        return [layer.step(op, name)]

    left = backwards(before - 1 + offset, before)
    right = backwards(n - 1 - offset, after)
    return Concat(axis=axis), [*left, name, *right]


@handles("MEAN")
def mean(layer: Layer) -> None:
    """Over any axes; nothing is moved for leading ones, such as height and width, or time."""
    x = layer.tensor(0)
    axes = {axis_of(axis, len(x.shape)) for axis in layer.integers(1, "axes")}
    kept = [axis for axis in range(len(x.shape)) if axis not in axes]
    source = _in_order(layer, layer.input(), x.shape, [*sorted(axes), *kept])
    pixels = math.prod(x.shape[axis] for axis in axes)
    layer.add(Mean(), layer.view(source, (pixels, 1, x.elements // pixels)))


@handles("ARG_MAX")
def arg_max(layer: Layer) -> None:
    """Along any axis, to int32; nothing is moved for the last one."""
    x = layer.tensor(0)
    if layer.output.kind is not ElementType.INT32:
        raise Refusal(f"it gives {layer.output}: let it give int32")
    axis = axis_of(_integer(layer, 1, "axes"), len(x.shape))
    kept = [each for each in range(len(x.shape)) if each != axis]
    source = _in_order(layer, layer.input(), x.shape, [*kept, axis])
    rows = tensor_type(layer.output).shape
    is_vector = x.elements == x.shape[axis]
    layer.add(Argmax(), layer.view(source, (*(() if is_vector else rows), x.shape[axis])))


@handles("RESIZE_NEAREST_NEIGHBOR")
def resize_nearest_neighbor(layer: Layer) -> None:
    """By whole factors."""
    options = layer.options(ResizeOptions)
    image = layer.image()
    h, w, _ = layer.type(image).shape
    rows, columns = layer.output.shape[1:3] if len(layer.output.shape) == 4 else (0, 0)
    factor = (_factor(h, rows, options), _factor(w, columns, options))
    layer.add(Upsample2D(factor=factor), image)


def _factor(size: int, wanted: int, options: ResizeOptions) -> int:
    """Source: `GetNearestNeighbor` of TFLite's reference/resize_nearest_neighbor.h."""
    if not 1 <= wanted <= MAX_PIXELS or wanted % size:
        raise Refusal(
            f"it resizes {size} pixels to {wanted}: only whole factors and at most {MAX_PIXELS} "
            "pixels are possible"
        )
    position = np.arange(wanted, dtype=np.float32)
    corners = options.align_corners and wanted > 1
    scale = (
        np.float32(size - 1) / np.float32(wanted - 1)
        if corners
        else (np.float32(size) / np.float32(wanted))
    )
    exact = (position + np.float32(0.5 if options.half_pixel_centers else 0.0)) * scale
    nearest = np.floor(exact + np.float32(0.5)) if options.align_corners else np.floor(exact)
    factor = wanted // size
    if not np.array_equal(np.minimum(nearest, size - 1), np.arange(wanted) // factor):
        raise Refusal(
            f"it resizes {size} pixels to {wanted} with positions that are no whole multiples: "
            "leave align_corners out"
        )
    return factor


def _integer(layer: Layer, position: int, what: str) -> int:
    """The only value of a constant."""
    values = layer.integers(position, what)
    if len(values) != 1:
        raise Refusal(f"it has {len(values)} {what}, and one is expected")
    return values[0]


def axis_of(axis: int, rank: int) -> int:
    """An axis counted from 0; a negative one counts from the end."""
    if not -rank <= axis < rank:
        raise Refusal(f"it names axis {axis} of a tensor of {rank}")
    return axis % rank
