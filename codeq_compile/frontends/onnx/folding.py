# SPDX-License-Identifier: Apache-2.0
"""Constants that follow from constants and shapes, before anything runs: Shape, Gather, …"""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from codeq_compile.frontends.onnx.layer import Layer, Refusal
from codeq_compile.frontends.onnx.schema import Operator, Tensor
from codeq_compile.frontends.onnx.values import Constant, Quantized, Value
from codeq_compile.ir.op import Array

_MAX_FOLDED = 4096
"""Elements of computed numbers: shapes are short, and damaged files are not."""


def stored(operator: Operator) -> Constant | None:
    """What a Constant holds; None for other operators."""
    if operator.kind != "Constant":
        return None
    value = next(iter(operator.attributes.values()), None)
    if isinstance(value, Tensor):
        return constant(value)
    if isinstance(value, int | float | tuple):
        has_floats = isinstance(value, float) or any(isinstance(v, float) for v in _flat(value))
        return Constant(array=np.array(value, np.float32 if has_floats else np.int64))
    return None


def constant(tensor: Tensor) -> Constant:
    """A stored tensor."""
    return Constant(array=tensor.values(), is_narrow=tensor.is_narrow)


def _flat(value: object) -> tuple[object, ...]:
    return value if isinstance(value, tuple) else ()


def fold(layer: Layer) -> bool:
    """Compute the operator's output now, if it does not depend on any sample."""
    kind = layer.operator.kind
    if kind == "Shape":
        shape = layer.value(0).shape
        start, end = layer.attribute("start", 0), layer.attribute("end", len(shape))
        layer.write(Constant(array=np.array(shape[start:end], np.int64)))
        return True
    positions = [i for i in range(len(layer.operator.inputs)) if layer.has_input(i)]
    if not positions or not all(map(layer.is_constant, positions)):
        return False
    values = [layer.value(i) for i in positions]
    if kind in _MOVES:
        layer.write(_moved(layer, values[0]))
        return True
    arrays = [each.array for each in values if isinstance(each, Constant)]
    function = _FUNCTIONS.get(kind)
    if function is None or len(arrays) < len(values):
        return False
    if max(array.size for array in arrays) > _MAX_FOLDED:
        raise Refusal("it computes with constants: simplify the model before it is quantized")
    try:
        with np.errstate(all="ignore"):
            result = np.asarray(function(layer, *arrays))
    except (ValueError, IndexError, TypeError, OverflowError) as error:
        raise Refusal(f"it cannot be computed: {error}") from error
    if result.size > _MAX_FOLDED:
        raise Refusal(f"it makes {result.size} constants")
    layer.write(Constant(array=result))
    return True


_MOVES = frozenset({"Transpose", "Reshape", "Squeeze", "Unsqueeze", "Identity", "Flatten"})
"""Also of weights, whose integers and scales stay as they are."""


def _moved(layer: Layer, value: Value) -> Value:
    rank = len(value.shape)
    if layer.operator.kind == "Identity":
        return value
    if layer.operator.kind == "Transpose":
        perm = layer.attribute("perm", tuple(range(rank))[::-1])
        if sorted(perm) != list(range(rank)):
            raise Refusal(f"{list(perm)} is no order of the axes of {list(value.shape)}")
        if isinstance(value, Quantized):
            axis = perm.index(value.axis) if len(value.scale) > 1 else 0
            return replace(value, levels=value.levels.transpose(perm), axis=axis)
        assert isinstance(value, Constant)
        return replace(value, array=value.array.transpose(perm))
    shape = new_shape(layer, value.shape)
    if isinstance(value, Quantized):
        axis = 0
        if len(value.scale) > 1:
            # the axis of the scales must still be an axis, with as many positions before it
            before = math.prod(value.shape[: value.axis])
            found = [i for i, n in enumerate(shape) if n == len(value.scale)]
            found = [i for i in found if math.prod(shape[:i]) == before]
            if not found:
                raise Refusal("it tears apart the axis that has the scales")
            axis = found[0]
        return replace(value, levels=value.levels.reshape(shape), axis=axis)
    assert isinstance(value, Constant)
    return replace(value, array=value.array.reshape(shape))


def new_shape(layer: Layer, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that Reshape, Flatten, Squeeze or Unsqueeze gives a tensor."""
    elements = math.prod(shape)
    match layer.operator.kind:
        case "Reshape":
            wanted = layer.integers(1, "shape")
            if not layer.attribute("allowzero", 0):
                copied = [i for i, n in enumerate(wanted) if n == 0]
                if any(i >= len(shape) for i in copied):
                    raise Refusal(f"its shape {wanted} copies axes that {list(shape)} lacks")
                wanted = [shape[i] if n == 0 else n for i, n in enumerate(wanted)]
        case "Flatten":
            axis = _axis(layer.attribute("axis", 1), len(shape) + 1)
            wanted = [math.prod(part) for part in (shape[:axis], shape[axis:])]
        case "Squeeze":
            axes = layer.axes(1, None)
            chosen = (
                {i for i, n in enumerate(shape) if n == 1}
                if axes is None
                else {_axis(axis, len(shape)) for axis in axes}
            )
            if any(shape[axis] != 1 for axis in chosen):
                raise Refusal(f"it removes axes {sorted(chosen)} of {list(shape)}, not all are 1")
            wanted = [n for i, n in enumerate(shape) if i not in chosen]
        case _:
            axes = layer.axes(1, None) or []
            rank = len(shape) + len(axes)
            places = {_axis(axis, rank) for axis in axes}
            if len(places) != len(axes) or rank > 16:
                raise Refusal(f"it adds the axes {axes}")
            rest = iter(shape)
            wanted = [1 if i in places else next(rest) for i in range(rank)]
    if wanted.count(-1) == 1:
        known = -math.prod(wanted)
        if known > 0 and elements % known == 0:
            wanted = [elements // known if n == -1 else n for n in wanted]
    if any(n < 1 for n in wanted) or math.prod(wanted) != elements:
        raise Refusal(f"{list(shape)} cannot become {wanted}")
    return tuple(wanted)


def _axis(axis: int, rank: int) -> int:
    if not -rank <= axis < rank:
        raise Refusal(f"it names axis {axis} of {rank}")
    return axis % rank


def _gather(layer: Layer, data: Array, indices: Array) -> Array:
    return np.take(data, indices, axis=layer.attribute("axis", 0))


def _concat(layer: Layer, *parts: Array) -> Array:
    return np.concatenate(parts, axis=layer.attribute("axis", 0))


def _slice(layer: Layer, data: Array, *limits: Array) -> Array:
    starts, ends = (each.reshape(-1).tolist() for each in limits[:2])
    axes = limits[2].reshape(-1).tolist() if len(limits) > 2 else range(len(starts))
    steps = limits[3].reshape(-1).tolist() if len(limits) > 3 else [1] * len(starts)
    chosen = [slice(None)] * data.ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        chosen[axis] = slice(start, end, step)
    return data[tuple(chosen)]


_CAST = {1: "f4", 2: "u1", 3: "i1", 4: "u2", 5: "i2", 6: "i4", 7: "i8", 9: "?", 11: "f8"}
"""Types of numpy, by the numbers of ElementType."""


def _cast(layer: Layer, data: Array) -> Array:
    dtype = _CAST.get(layer.attribute("to", 0))
    if dtype is None:
        raise Refusal(f"it casts a constant to type {layer.attribute('to', 0)}")
    return data.astype(dtype)


def _divide(layer: Layer, a: Array, b: Array) -> Array:
    if a.dtype.kind == "f":
        return a / b
    # toward zero, as in C
    return np.trunc(a.astype(np.float64) / b).astype(a.dtype)


_FUNCTIONS: Mapping[str, Callable[..., Array]] = {
    "Gather": _gather,
    "Concat": _concat,
    "Slice": _slice,
    "Cast": _cast,
    "Div": _divide,
    "Add": lambda layer, a, b: a + b,
    "Sub": lambda layer, a, b: a - b,
    "Mul": lambda layer, a, b: a * b,
    "Floor": lambda layer, a: np.floor(a),
    "Sqrt": lambda layer, a: np.sqrt(a),
}
