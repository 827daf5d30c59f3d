# SPDX-License-Identifier: Apache-2.0
"""QuantizeLinear and DequantizeLinear: where integers become reals and back, and on which grids."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from codeq_compile.frontends.onnx.layer import Layer, Refusal, handles
from codeq_compile.frontends.onnx.schema import ElementType, Model, Operator
from codeq_compile.frontends.onnx.values import (
    UINT8_OFFSET,
    Activation,
    Constant,
    Function,
    Quantized,
    Value,
    grid_of,
)
from codeq_compile.ir.op import Array
from codeq_compile.ir.types import Grid
from codeq_compile.ops.elementwise import INT8
from codeq_compile.ops.lut import Lut

_KEEPS_VALUES = frozenset(
    [
        *("Clip", "Relu", "Max", "Min", "MaxPool", "GlobalMaxPool"),
        *("Concat", "Gather", "Pad", "Resize", "Slice", "Split"),
        *("Flatten", "Reshape", "Squeeze", "Transpose", "Unsqueeze"),
        *("Dropout", "Identity"),
    ]
)
"""Operators before which one may quantize as well as behind them, on the same grid."""
_OFFSETS: Mapping[str, int] = {"int8": 0, "uint8": UINT8_OFFSET}


def grids(model: Model, values: Mapping[str, Value], fixed: set[str]) -> dict[str, Grid]:
    """For each float tensor the grid on which it will be quantized, where there is one.

    That of a QuantizeLinear which reads it; else the one on which all its readers put what they
    only select from it or limit.

    Parameters
    ----------
    model : Model
    values : mapping of str to Value
        What is known so far: its constants.
    fixed : set of str
        From `fixed_tensors`.
    """
    given = {border.name for border in model.outputs}
    int8_inputs = {border.name for border in model.inputs if border.kind is ElementType.INT8}
    direct: dict[str, Grid] = {}
    indirect: dict[str, set[Grid | None]] = {}

    def of(name: str) -> Grid | None:
        if name in direct:
            return direct[name]
        found = indirect.get(name, {None})
        return next(iter(found)) if len(found) == 1 else None

    for operator in reversed(model.operators):
        read = [name for name in operator.inputs if name and name not in fixed]
        if operator.kind in {"QuantizeLinear", "DequantizeLinear"} and read:
            grid = _declared(operator, values, "int8" if read[0] in int8_inputs else "uint8")
            if grid is not None:
                direct[read[0]] = grid
            continue
        used = [n for n in operator.outputs if n in direct or n in indirect or n in given]
        later = {of(name) for name in used} if operator.kind in _KEEPS_VALUES else {None}
        for name in read:
            indirect.setdefault(name, set()).update(later)
    return {name: grid for name in {*direct, *indirect} if (grid := of(name)) is not None}


def fixed_tensors(operators: Iterable[Operator], values: Mapping[str, Value]) -> set[str]:
    """Tensors that do not depend on any sample."""
    fixed = set(values)
    for operator in operators:
        if all(name in fixed for name in operator.inputs if name):
            fixed.update(operator.outputs)
    return fixed


def _declared(operator: Operator, values: Mapping[str, Value], default: str) -> Grid | None:
    """The grid that an operator names; None where something is wrong, which its handler tells."""
    scale, zero_point = (
        values.get(operator.inputs[i]) if i < len(operator.inputs) else None for i in (1, 2)
    )
    if not isinstance(scale, Constant) or scale.array.size != 1:
        return None
    if operator.attributes.get("output_dtype") == ElementType.INT8:
        default = "int8"
    zero = zero_point.array if isinstance(zero_point, Constant) else np.zeros(1, default)
    offset = _OFFSETS.get(str(zero.dtype))
    if offset is None or zero.size != 1:
        return None
    try:
        return grid_of(float(scale.array.reshape(-1)[0]), int(zero.reshape(-1)[0]) - offset)
    except Refusal:
        return None


@handles("QuantizeLinear")
def quantize(layer: Layer) -> None:
    """To int8 or uint8; at an input of the model the caller does it, of constants the compiler."""
    # what is wrong with its own numbers comes first: an input of the model needs them too
    scale, zero = _parameters(layer)
    if layer.is_constant(0):
        array = layer.constant(0, "values")
        layer.write(replace(zero, array=_rounded(layer, array, scale, zero)))
        return
    grid, offset = _grid(layer, scale, zero)
    value = layer.value(0)
    if isinstance(value, Function):
        activation = layer.computed(value, grid)
    else:
        activation = layer.on(layer.real(), grid)
    layer.write(replace(activation, offset=offset))


@handles("DequantizeLinear")
def dequantize(layer: Layer) -> None:
    """Of activations, and of weights of int8, uint8, int4 or uint4; not of blocks of weights."""
    scale, zero = _parameters(layer)
    if layer.is_constant(0):
        layer.write(_quantized(layer, scale, zero.array))
        return
    grid, offset = _grid(layer, scale, zero)
    value = layer.value(0)
    if isinstance(value, Function):
        if not value.is_integer:
            raise Refusal("it reads reals, and integers are expected")
        results = grid.scale * (value.results - (grid.zero_point + offset))
        layer.write(replace(value, results=results, grid=grid, is_integer=False))
        return
    if not isinstance(value, Activation) or value.offset is None:
        raise Refusal("it reads reals, and integers are expected")
    if value.offset != offset:
        raise Refusal("its zero point has another type than its input")
    tensor = value.tensor
    if layer.grid(value) != grid:
        # the same integers, but they stand for other values from here on
        kind = replace(layer.type(tensor), grid=grid)
        tensor = layer.node(Lut(), tensor, kind=kind, table=INT8.astype(np.int8))
    layer.write(replace(value, tensor=tensor, offset=None))


def _parameters(layer: Layer) -> tuple[Array, Constant]:
    """Scales, which are positive and finite, and zero points."""
    if layer.attribute("block_size", 0):
        raise Refusal("it quantizes blocks of an axis: quantize per tensor or per channel")
    scale = layer.constant(1, "scales")
    if scale.dtype.kind != "f":
        raise Refusal(f"its scales are {scale.dtype}")
    with np.errstate(over="ignore"):
        scale = scale.astype(np.float32)
    if scale.size == 0 or not (np.isfinite(scale).all() and (scale > 0).all()):
        raise Refusal("its scales are not all positive and finite: calibrate the model again")
    zero = layer.value(2) if layer.has_input(2) else _zeros(layer, scale)
    if not isinstance(zero, Constant) or zero.array.dtype.kind not in "iu":
        raise Refusal("its zero points are no constant integers")
    if zero.array.size != scale.size:
        raise Refusal(f"it has {scale.size} scales and {zero.array.size} zero points")
    return scale, zero


def _zeros(layer: Layer, scale: Array) -> Constant:
    """Zero points where the file has none: of the type of the integers."""
    value = layer.value(0)
    if layer.operator.kind == "QuantizeLinear":
        kind = layer.attribute("output_dtype", 0) or ElementType.UINT8
        dtype = {ElementType.INT8: "int8", ElementType.UINT8: "uint8"}.get(kind, "int16")
    elif isinstance(value, Constant):
        dtype = value.array.dtype.name
    else:
        dtype = "int8" if isinstance(value, Activation) and value.offset == 0 else "uint8"
    return Constant(array=np.zeros(scale.shape, dtype))


def _grid(layer: Layer, scale: Array, zero: Constant) -> tuple[Grid, int]:
    """(grid, offset) of an activation."""
    if scale.size != 1:
        raise Refusal(f"it has {scale.size} scales: an activation needs one for the tensor")
    offset = _OFFSETS.get(zero.array.dtype.name)
    if offset is None or zero.bits != 8:
        raise Refusal(f"its integers are {zero.type_name}: quantize activations to int8 or uint8")
    return grid_of(float(scale.reshape(-1)[0]), int(zero.array.reshape(-1)[0]) - offset), offset


def _axis(layer: Layer, scale: Array, shape: Sequence[int]) -> int:
    """The axis along which the scales of a constant differ, 0 where there is one."""
    if scale.size == 1:
        return 0
    axis: int = layer.attribute("axis", 1)
    if not -len(shape) <= axis < len(shape) or scale.ndim != 1 or shape[axis] != scale.size:
        raise Refusal(f"it has scales {list(scale.shape)} for axis {axis} of {list(shape)}")
    return axis % len(shape)


def _spread(array: Array, axis: int, rank: int) -> Array:
    """Numbers of an axis so that they meet it, or one for all."""
    if array.size == 1:
        return array.reshape(())
    return array.reshape([-1 if i == axis else 1 for i in range(rank)])


def _rounded(layer: Layer, real: Array, scale: Array, zero: Constant) -> Array:
    """What QuantizeLinear makes of a constant: nearest, ties to even, saturated."""
    if real.dtype.kind != "f":
        raise Refusal(f"it quantizes {real.dtype}")
    axis = _axis(layer, scale, real.shape)
    low, high = zero.limits
    with np.errstate(over="ignore", invalid="ignore"):
        steps = np.rint(real / _spread(scale, axis, real.ndim))
    if np.isnan(steps).any():
        raise Refusal("it quantizes what is not a number")
    shifted = steps + _spread(zero.array, axis, real.ndim).astype(np.float32)
    result: Array = np.clip(shifted, low, high).astype(zero.array.dtype)
    return result


def _quantized(layer: Layer, scale: Array, zero: Array) -> Quantized:
    stored = layer.value(0)
    if not isinstance(stored, Constant):
        raise Refusal("it reads reals, and integers are expected")
    array = stored.array
    if array.dtype.kind not in "iu":
        raise Refusal(f"it reads {array.dtype}, and integers are expected")
    axis = _axis(layer, scale, array.shape)
    levels = array.astype(np.int16 if array.dtype.itemsize == 1 else np.int64)
    if np.any(zero):
        levels = levels - _spread(zero, axis, array.ndim).astype(levels.dtype)
    return Quantized(levels=levels, scale=scale.reshape(-1), axis=axis, bits=stored.bits)
