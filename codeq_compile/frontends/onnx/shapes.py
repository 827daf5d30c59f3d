# SPDX-License-Identifier: Apache-2.0
"""Operators that move or select values: Reshape and Transpose, Concat, Slice, Pad, ReduceMean."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from codeq_compile.frontends.onnx.elementwise import last_in_memory
from codeq_compile.frontends.onnx.folding import new_shape
from codeq_compile.frontends.onnx.layer import Layer, Refusal, handles
from codeq_compile.frontends.onnx.layout import Layout
from codeq_compile.frontends.onnx.values import Activation, Constant, Function, Value
from codeq_compile.ops.argmax import Argmax
from codeq_compile.ops.concat import Concat
from codeq_compile.ops.mean import Mean
from codeq_compile.ops.pad import Pad
from codeq_compile.ops.slice import Slice
from codeq_compile.ops.upsample2d import Upsample2D


def axis_of(axis: int, rank: int) -> int:
    """An axis counted from 0; a negative one counts from the end."""
    if not -rank <= axis < rank:
        raise Refusal(f"it names axis {axis} of a tensor of {rank}")
    return axis % rank


def _reshaped(layer: Layer, value: Value, shape: tuple[int, ...]) -> Value:
    """The same elements, in ONNX's order, in another shape."""
    if isinstance(value, Function):
        source = _reshaped(layer, value.source, shape)
        assert isinstance(source, Activation)
        return replace(value, source=source)
    assert isinstance(value, Activation)
    return replace(value, shape=shape)


@handles("Reshape", "Flatten", "Squeeze", "Unsqueeze")
def reshape(layer: Layer) -> None:
    """Nothing is copied; the shape may be computed from other shapes."""
    value = layer.value(0)
    layer.write(_reshaped(layer, value, new_shape(layer, value.shape)))


@handles("Identity", "Dropout")
def identity(layer: Layer) -> None:
    """Nothing is computed."""
    layer.write(layer.value(0))


@handles("Transpose")
def transpose(layer: Layer) -> None:
    """Nothing is copied until a layer needs another order; then any of four axes that are not 1."""
    value = layer.value(0)
    rank = len(value.shape)
    axes = layer.attribute("perm", tuple(range(rank))[::-1])
    if sorted(axes) != list(range(rank)):
        raise Refusal(f"{list(axes)} is no order of the axes of {list(value.shape)}")
    source = value.source if isinstance(value, Function) else value
    assert isinstance(source, Activation)
    layout = source.layout.transposed(source.shape, axes)
    if layout is None:
        source = layer.arranged(source, Layout.plain(source.shape))
        layout = source.layout.transposed(source.shape, axes)
        assert layout is not None
    shape = tuple(source.shape[axis] for axis in axes)
    source = replace(source, shape=shape, layout=layout)
    layer.write(replace(value, source=source) if isinstance(value, Function) else source)


@handles("Slice")
def slice_(layer: Layer) -> None:
    """Positions and steps are constants; steps may be negative."""
    x = layer.real(or_integers=True)
    starts, ends = layer.integers(1, "starts"), layer.integers(2, "ends")
    axes = layer.integers(3, "axes") if layer.has_input(3) else list(range(len(starts)))
    steps = layer.integers(4, "steps") if layer.has_input(4) else [1] * len(starts)
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        raise Refusal(f"its starts {starts}, ends {ends}, axes {axes}, steps {steps} do not fit")
    positions = [range(n) for n in x.shape]
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        axis = axis_of(axis, len(x.shape))
        # numpy's rule is that of ONNX, limits beyond both ends included
        positions[axis] = range(x.shape[axis])[start:end:step]
    if not all(positions):
        raise Refusal(f"it selects nothing of {list(x.shape)}")
    layer.write(_part(layer, x, positions))


@handles("Split")
def split(layer: Layer) -> None:
    """As many slices as outputs."""
    x = layer.real(or_integers=True)
    axis = axis_of(layer.attribute("axis", 0), len(x.shape))
    n, count = x.shape[axis], len(layer.operator.outputs)
    if layer.has_input(1):
        sizes = layer.integers(1, "sizes")
    else:
        each = -(-n // max(count, 1))
        sizes = [min(each, n - each * i) for i in range(count)]
    if len(sizes) != count or sum(sizes) != n or min(sizes, default=0) < 1:
        raise Refusal(f"it splits {n} positions into {sizes}")
    start = 0
    for name, size in zip(layer.operator.outputs, sizes, strict=True):
        positions = [range(m) for m in x.shape]
        positions[axis] = range(start, start + size)
        start += size
        if name:
            layer.write(_part(layer, x, positions), name)


@handles("Gather")
def gather(layer: Layer) -> None:
    """One position of an axis; or a table of constants, looked up by integers."""
    data = layer.value(0)
    axis = layer.attribute("axis", 0)
    if isinstance(data, Constant):
        _look_up(layer, data, axis)
        return
    x = layer.real(or_integers=True)
    axis = axis_of(axis, len(x.shape))
    indices = layer.constant(1, "positions")
    if indices.size != 1 or indices.dtype.kind not in "iu" or indices.ndim > 1:
        raise Refusal("it gathers several positions: use Slice or Split")
    index = int(indices.reshape(-1)[0])
    if not -x.shape[axis] <= index < x.shape[axis]:
        raise Refusal(f"it gathers position {index} of {x.shape[axis]}")
    positions = [range(n) for n in x.shape]
    positions[axis] = range(index % x.shape[axis], index % x.shape[axis] + 1)
    part = _part(layer, x, positions)
    if indices.ndim == 0:
        part = replace(part, shape=(*part.shape[:axis], *part.shape[axis + 1 :]))
    layer.write(part)


def _look_up(layer: Layer, table: Constant, axis: int) -> None:
    index = layer.value(1)
    if not isinstance(index, Function) or not index.is_integer:
        raise Refusal("it looks up values at positions that are no integers of 8 bits")
    if table.array.ndim != 1 or axis_of(axis, 1) != 0 or table.array.dtype.kind not in "iuf":
        raise Refusal(f"its table has the shape {list(table.shape)}")
    entries, low = len(table.array), float(index.results.min())
    if index.results.max() >= entries or low < -entries or (index.results % 1).any():
        raise Refusal(f"it looks up positions that a table of {entries} does not have")
    values = table.array[index.results.astype(np.int64)].astype(np.float64)
    is_integer = table.array.dtype.kind != "f"
    layer.write(replace(index, results=values, grid=None, is_integer=is_integer))


def _part(layer: Layer, x: Activation, positions: Sequence[range]) -> Activation:
    """Regular positions of each axis."""
    shape = tuple(len(each) for each in positions)
    if all(each == range(n) for each, n in zip(positions, x.shape, strict=True)):
        return x
    x, order = layer.by_axes(x)
    # axes of 1 are nowhere in memory: without them there are few enough
    order = tuple(axis for axis in order if x.shape[axis] > 1)
    op = Slice(
        begin=tuple(positions[axis].start for axis in order),
        step=tuple(positions[axis].step if shape[axis] > 1 else 1 for axis in order),
        shape=tuple(shape[axis] for axis in order),
    )
    tensor = layer.node(op, layer.viewed(x, order))
    return replace(x, tensor=tensor, shape=shape, layout=Layout.of(shape, order))


@handles("Concat")
def concat(layer: Layer) -> None:
    """Along any axis, of tensors that are put on the output's grid first."""
    if not layer.operator.inputs:
        raise Refusal("it has no inputs")
    first, order = layer.by_axes(layer.real(0))
    rank = len(first.shape)
    axis = axis_of(layer.attribute("axis", 0), rank)
    if first.shape[axis] == 1 and rank in {3, 4}:
        # in memory that axis is nowhere yet: it goes where images have it
        order = _with_axis(order, axis, rank)
    grid = layer.building.grids.get(layer.output) or layer.grid(first)
    names, total = [], 0
    for position in range(len(layer.operator.inputs)):
        x = layer.real(position)
        if len(x.shape) != rank or any(
            n != m for i, (n, m) in enumerate(zip(x.shape, first.shape, strict=True)) if i != axis
        ):
            raise Refusal(f"it joins {list(x.shape)} to {list(first.shape)} along axis {axis}")
        x = layer.on(layer.arranged(x, Layout.of(x.shape, order)), grid)
        names.append(layer.viewed(x, order))
        total += x.shape[axis]
    shape = (*first.shape[:axis], total, *first.shape[axis + 1 :])
    tensor = layer.node(Concat(axis=order.index(axis)), *names)
    layer.write(Activation(tensor=tensor, shape=shape, layout=Layout.of(shape, order)))


def _with_axis(order: tuple[int, ...], axis: int, rank: int) -> tuple[int, ...]:
    """The order with an axis of 1 where it stands in an image: channels last, others in turn."""
    others = [each for each in order if each != axis]
    if axis == 1:
        return (*others, axis)
    place = next((i for i, each in enumerate(others) if each > axis or each == 1), len(others))
    return (*others[:place], axis, *others[place:])


@handles("Pad")
def pad(layer: Layer) -> None:
    """With a constant, around at most three axes."""
    mode = layer.attribute("mode", "constant")
    if mode != "constant":
        raise Refusal(f"its mode is {mode}: pad with a constant")
    x = layer.real()
    rank = len(x.shape)
    borders = layer.integers(1, "borders")
    axes = layer.integers(3, "axes") if layer.has_input(3) else list(range(rank))
    if len(borders) != 2 * len(axes):
        raise Refusal(f"it has {len(borders)} borders for {len(axes)} axes")
    before, after = [0] * rank, [0] * rank
    for i, axis in enumerate(axes):
        axis = axis_of(axis, rank)
        before[axis], after[axis] = borders[i], borders[i + len(axes)]
    if min(*before, *after) < 0 or max(*before, *after) > 1 << 20:
        raise Refusal(f"its borders are {borders}: crop with a Slice")
    real = layer.scalar(2, "value") if layer.has_input(2) else 0.0
    x, order = layer.by_axes(x)
    if rank in {3, 4}:
        for axis in range(rank):
            if x.shape[axis] == 1 and before[axis] + after[axis]:
                order = _with_axis(order, axis, rank)
    order = tuple(a for a in order if x.shape[a] > 1 or before[a] + after[a])
    grid = layer.grid(x)
    value, _ = layer.clamp(grid, real, real)
    shape = tuple(b + n + a for b, n, a in zip(before, x.shape, after, strict=True))
    # an image has three axes: more may only lead, without a border
    lead = order[:-3]
    if any(before[axis] + after[axis] for axis in lead):
        raise Refusal(f"it pads four axes of {list(x.shape)}")
    if math.prod(x.shape[axis] for axis in lead) > 1:
        raise Refusal(f"it pads {list(x.shape)}: a batch of 1 is expected")
    inner = order[-3:]
    first, last = ([0] * (3 - len(inner)) + [e[axis] for axis in inner] for e in (before, after))
    extent = (1,) * (3 - len(inner)) + tuple(x.shape[axis] for axis in inner)
    op = Pad(before=(first[0], first[1], first[2]), after=(last[0], last[1], last[2]), value=value)
    tensor = layer.node(op, layer.building.view(x.tensor, extent))
    made = replace(x, tensor=tensor, shape=shape, layout=Layout.of(shape, order))
    layer.write(layer.on(made, layer.building.grids.get(layer.output)))


@handles("ReduceMean")
def reduce_mean(layer: Layer) -> None:
    """Over axes that come first in memory: height and width of images, or time."""
    x = layer.real()
    rank = len(x.shape)
    axes = layer.axes(1, range(rank))
    chosen = {axis_of(axis, rank) for axis in axes or range(rank)}
    if not axes and layer.attribute("noop_with_empty_axes", 0):
        layer.write(x)
        return
    keeps = layer.attribute("keepdims", 1)
    x, order = layer.by_axes(x)
    averaged = tuple(axis for axis in order if axis in chosen)
    kept = tuple(axis for axis in order if axis not in chosen)
    x = layer.arranged(x, Layout.of(x.shape, (*averaged, *kept)))
    pixels = math.prod(x.shape[axis] for axis in averaged)
    image = layer.building.view(x.tensor, (pixels, 1, x.elements // pixels))
    grid = layer.building.grids.get(layer.output) or layer.grid(x)
    tensor = layer.node(Mean(), image, grid=grid)
    full = tuple(1 if axis in chosen else n for axis, n in enumerate(x.shape))
    layout = Layout.of(full, order)
    shape = full if keeps else tuple(n for axis, n in enumerate(full) if axis not in chosen)
    layer.write(Activation(tensor=tensor, shape=shape or (1,), layout=layout))


@handles("ArgMax")
def arg_max(layer: Layer) -> None:
    """Along one axis, to int32; of equals the first."""
    if layer.attribute("select_last_index", 0):
        raise Refusal("it selects the last of equals: leave select_last_index out")
    x = layer.real()
    rank = len(x.shape)
    axis = axis_of(layer.attribute("axis", 0), rank)
    tensor, order = last_in_memory(layer, x, axis)
    # axes of 1 are left out: plain integers have no views
    real = tuple(n for n in layer.type(tensor).shape[:-1] if n > 1)
    made = layer.node(Argmax(), layer.building.view(tensor, (*real, x.shape[axis])))
    full = tuple(1 if i == axis else n for i, n in enumerate(x.shape))
    keeps = layer.attribute("keepdims", 1)
    shape = full if keeps else (*full[:axis], *full[axis + 1 :])
    layer.write(Activation(tensor=made, shape=shape or (1,), layout=Layout.of(full, order)))


@handles("Resize")
def resize(layer: Layer) -> None:
    """Nearest, by whole factors."""
    mode = layer.attribute("mode", "nearest")
    if mode != "nearest":
        raise Refusal(f"its mode is {mode}: resize to the nearest pixel, by whole factors")
    image, activation = layer.image()
    shape = activation.shape
    rank = len(shape)
    if layer.attribute("axes", ()):
        raise Refusal("it names axes: give scales or sizes for all of them")
    if layer.has_input(3):
        sizes = layer.integers(3, "sizes")
    else:
        scales = layer.constant(2, "scales").reshape(-1)
        if scales.dtype.kind != "f" or len(scales) != rank or not (0 < scales.min() <= 1e6):
            raise Refusal("its scales are not one for each axis")
        sizes = [math.floor(n * float(s)) for n, s in zip(shape, scales.tolist(), strict=True)]
    if len(sizes) != rank or tuple(sizes[:2]) != shape[:2]:
        raise Refusal(f"it resizes {list(shape)} to {sizes}: only height and width can grow")
    pairs = [(1, 1), *zip(shape[2:], sizes[2:], strict=True)][-2:]
    (h, rows), (w, columns) = pairs
    factor = (_factor(layer, h, rows), _factor(layer, w, columns))
    tensor = layer.node(Upsample2D(factor=factor), image)
    layer.write_image(tensor, rank, layer.building.grids.get(layer.output))


def _factor(layer: Layer, size: int, wanted: int) -> int:
    """Source: the operator Resize of ONNX."""
    if wanted < 1 or wanted % size or wanted > 1 << 20:
        raise Refusal(f"it resizes {size} pixels to {wanted}: only whole factors are possible")
    position = np.arange(wanted, dtype=np.float64)
    factor = wanted // size
    mode = layer.attribute("coordinate_transformation_mode", "half_pixel")
    match mode:
        case "asymmetric":
            exact = position / factor
        case "half_pixel":
            exact = (position + 0.5) / factor - 0.5
        case "pytorch_half_pixel":
            exact = (position + 0.5) / factor - 0.5 if wanted > 1 else position * 0
        case "align_corners":
            exact = position * ((size - 1) / max(wanted - 1, 1))
        case _:
            raise Refusal(f"its coordinate_transformation_mode is {mode}")
    rounding = layer.attribute("nearest_mode", "round_prefer_floor")
    match rounding:
        case "floor":
            nearest = np.floor(exact)
        case "ceil":
            nearest = np.ceil(exact)
        case "round_prefer_floor":
            nearest = np.ceil(exact - 0.5)
        case "round_prefer_ceil":
            nearest = np.floor(exact + 0.5)
        case _:
            raise Refusal(f"its nearest_mode is {rounding}")
    if not np.array_equal(np.clip(nearest, 0, size - 1), np.arange(wanted) // factor):
        raise Refusal(
            f"it resizes {size} pixels to {wanted} with positions that are no whole multiples: "
            "let it be asymmetric with nearest_mode floor"
        )
    return factor
