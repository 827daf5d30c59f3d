# SPDX-License-Identifier: Apache-2.0
"""Operators of each element alone: functions of one value, sums, products, extrema; Softmax."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codeq_compile.frontends.onnx.layer import Layer, Refusal, handles, reals
from codeq_compile.frontends.onnx.layout import Layout
from codeq_compile.frontends.onnx.values import (
    Activation,
    Constant,
    Function,
    Quantized,
    Value,
)
from codeq_compile.ir.op import Op
from codeq_compile.ir.types import Grid, TensorType
from codeq_compile.ops.add import Add
from codeq_compile.ops.extremum import Extremum
from codeq_compile.ops.mul import Mul
from codeq_compile.ops.prelu import PReLU
from codeq_compile.ops.requantize import Requantize
from codeq_compile.ops.softmax import Softmax
from codeq_compile.ops.sub import Sub

Reals = NDArray[np.float64]
_INT8 = np.arange(-128, 128, dtype=np.float64)

# ---- functions of one value


@handles("Relu")
def relu(layer: Layer) -> None:
    """Becomes the limits of the layer before it, where both have one grid."""
    _limit(layer, 0.0, math.inf)


@handles("Clip")
def clip(layer: Layer) -> None:
    """Becomes the limits of the layer before it, where both have one grid; limits are constants."""
    low = layer.scalar(1, "lower limit") if layer.has_input(1) else -math.inf
    high = layer.scalar(2, "upper limit") if layer.has_input(2) else math.inf
    if not low <= high:
        raise Refusal(f"its limits are {low} and {high}")
    _limit(layer, low, high)


def _limit(layer: Layer, low: float, high: float) -> None:
    value = layer.value(0)
    if isinstance(value, Function):
        layer.write(_of(value, lambda x: np.clip(x, low, high)))
        return
    activation = layer.real()
    grid = layer.building.grids.get(layer.output)
    if grid is None:
        # part of a function; its results are on the grid that they come from
        limited = _of(identity(layer, activation), lambda x: np.clip(x, low, high))
        layer.write(replace(limited, grid=layer.grid(activation)))
        return
    op = Requantize(clamp=layer.clamp(grid, low, high))
    tensor = layer.node(op, activation.tensor, grid=grid)
    layer.write(replace(activation, tensor=tensor))


@handles("Sigmoid", "Tanh", "HardSwish", "Softplus", "Softsign", "Mish")
def function(layer: Layer) -> None:
    """A table of 256 values."""
    _apply(layer, FUNCTIONS[layer.operator.kind])


@handles("Abs", "Neg", "Exp", "Sqrt", "Reciprocal", "Log", "Sign", "Erf")
def plain_function(layer: Layer) -> None:
    """A table of 256 values; others behind it without a QuantizeLinear join the same table."""
    _apply(layer, FUNCTIONS[layer.operator.kind])


@handles("LeakyRelu", "Elu", "Selu", "Celu", "ThresholdedRelu", "HardSigmoid", "Gelu", "Swish")
def parametric_function(layer: Layer) -> None:
    """A table of 256 values, with the operator's numbers."""
    kind = layer.operator.kind
    default = {"LeakyRelu": 0.01, "HardSigmoid": 0.2, "Selu": 1.6732632423543772}.get(kind, 1.0)
    alpha = layer.attribute("alpha", default)
    beta = layer.attribute("beta", 0.5)
    gamma = layer.attribute("gamma", 1.0507009873554805)
    if not (math.isfinite(alpha) and math.isfinite(beta) and math.isfinite(gamma)):
        raise Refusal("its numbers are not finite")

    def apply(x: Reals) -> Any:
        match kind:
            case "LeakyRelu":
                return np.where(x >= 0, x, alpha * x)
            case "Elu":
                return np.where(x >= 0, x, alpha * np.expm1(x))
            case "Selu":
                return gamma * np.where(x >= 0, x, alpha * np.expm1(x))
            case "Celu":
                return np.maximum(x, 0) + np.minimum(0, alpha * np.expm1(x / alpha))
            case "ThresholdedRelu":
                return np.where(x > alpha, x, 0.0)
            case "HardSigmoid":
                return np.clip(alpha * x + beta, 0.0, 1.0)
            case "Swish":
                return x * _sigmoid(alpha * x)
        if layer.attribute("approximate", "none") == "tanh":
            inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
            return 0.5 * x * (1 + np.tanh(inner))
        return 0.5 * x * (1 + _erf(x / math.sqrt(2)))

    _apply(layer, apply)


def _apply(layer: Layer, apply: Callable[[Reals], Any]) -> None:
    value = layer.value(0)
    source = value if isinstance(value, Function) else identity(layer, layer.real())
    layer.write(_of(source, apply))


def identity(layer: Layer, activation: Activation) -> Function:
    """The values of a tensor as a function of themselves: integers where the file has those."""
    if activation.offset is not None:
        results = _INT8 + activation.offset
        return Function(source=activation, results=results, is_integer=True)
    return Function(source=activation, results=reals(layer.grid(activation)))


def _of(value: Function, apply: Callable[[Reals], Any]) -> Function:
    if value.is_integer:
        raise Refusal("it reads integers: a DequantizeLinear is missing")
    with np.errstate(all="ignore"):
        return replace(value, results=apply(value.results), grid=None)


def _sigmoid(x: Reals) -> Reals:
    return np.asarray(1.0 / (1.0 + np.exp(-x)))


def _erf(x: Reals) -> Reals:
    return np.array([math.erf(v) for v in x])


FUNCTIONS: Mapping[str, Callable[[Reals], Reals]] = {
    "Sigmoid": _sigmoid,
    "Tanh": np.tanh,
    "HardSwish": lambda x: x * np.clip(x / 6.0 + 0.5, 0.0, 1.0),
    "Softplus": lambda x: np.logaddexp(0.0, x),
    "Softsign": lambda x: x / (1.0 + np.abs(x)),
    "Mish": lambda x: x * np.tanh(np.logaddexp(0.0, x)),
    "Abs": np.abs,
    "Neg": np.negative,
    "Exp": np.exp,
    "Sqrt": np.sqrt,
    "Reciprocal": lambda x: 1.0 / x,
    "Log": np.log,
    "Sign": np.sign,
    "Erf": _erf,
}


@handles("Cast")
def cast(layer: Layer) -> None:
    """Of integers that a table is looked up with; elsewhere the types are those of the graph."""
    value = layer.value(0)
    if isinstance(value, Activation) and value.offset is not None:
        value = identity(layer, value)
    if not isinstance(value, Function) or not value.is_integer:
        raise Refusal("it changes the type of values that are computed while the model runs")
    layer.write(value)


# ---- two operands


@handles("Add", "Sub", "Mul")
def arithmetic(layer: Layer) -> None:
    """Of tensors and constants; the smaller operand has the larger one's channels, or one value."""
    match layer.operator.kind:
        case "Add":
            _binary(layer, Add(), np.add, commutes=True)
        case "Sub":
            _binary(layer, Sub(), np.subtract, commutes=False)
        case _:
            _binary(layer, Mul(), np.multiply, commutes=True)


@handles("Div", "Pow")
def with_number(layer: Layer) -> None:
    """By one constant, or of functions of one tensor: a table of 256 values."""
    _binary(layer, None, np.divide if layer.operator.kind == "Div" else np.power, commutes=False)


@handles("Max", "Min")
def extremum(layer: Layer) -> None:
    """Of two tensors or constants, which are put on the output's grid first."""
    largest = layer.operator.kind == "Max"
    if len(layer.operator.inputs) != 2:
        raise Refusal(f"it has {len(layer.operator.inputs)} operands, and 2 are possible")
    function_ = np.maximum if largest else np.minimum
    _binary(layer, Extremum(largest=largest), function_, commutes=True, one_grid=True)


@handles("PRelu")
def prelu(layer: Layer) -> None:
    """A slope for each channel, or for each element."""
    _binary(layer, PReLU(), lambda x, slope: np.where(x >= 0, x, x * slope), commutes=False)


def _binary(
    layer: Layer,
    op: Op[Any] | None,
    apply: Callable[[Any, Any], Any],
    *,
    commutes: bool,
    one_grid: bool = False,
) -> None:
    a, b = layer.value(0), layer.value(1)
    table = _as_function(layer, a, b, apply)
    if table is not None:
        layer.write(table)
        return
    if op is None:
        raise Refusal("it needs one constant number, or two functions of one tensor")
    if commutes and _elements(b) > _elements(a):
        a, b = b, a
        first, second = 1, 0
    else:
        first, second = 0, 1
    grid = layer.output_grid()
    wanted = grid if one_grid else None
    # a constant decides no layout: what it meets does
    if isinstance(a, Constant | Quantized):
        activation, _ = layer.by_axes(layer.on(layer.real(second), wanted))
        tensor_b = activation.tensor
        if a.shape != activation.shape:
            raise Refusal(f"its constant {list(a.shape)} does not repeat along its other operand")
        tensor_a = _constant(layer, a, activation, wanted)
        result = activation
    else:
        result, _ = layer.by_axes(layer.on(layer.real(first), wanted))
        tensor_a = result.tensor
        tensor_b = (
            _constant(layer, b, result, wanted)
            if isinstance(b, Constant | Quantized)
            else _beside(layer, layer.on(layer.real(second), wanted), result)
        )
    tensor = layer.node(op, tensor_a, tensor_b, grid=grid)
    # numpy's rule: the shape with more axes wins
    shape = (1,) * (max(len(a.shape), len(b.shape)) - len(result.shape)) + result.shape
    layer.write(replace(result, tensor=tensor, shape=shape))


def _as_function(
    layer: Layer, a: Value, b: Value, apply: Callable[[Any, Any], Any]
) -> Function | None:
    """The result as a table, where it depends on one element of one tensor alone."""

    def operand(position: int, value: Value) -> tuple[Function | None, Any] | None:
        if isinstance(value, Constant | Quantized):
            array = layer.constant(position, "operands")
            if array.size != 1 or array.dtype.kind not in "iuf":
                return None
            return None, float(array.reshape(-1)[0])
        if isinstance(value, Activation):
            value = identity(layer, value)
        return value, value.results

    first, second = operand(0, a), operand(1, b)
    if first is None or second is None:
        return None
    functions = [each for each, _ in (first, second) if each is not None]
    if not functions:
        return None
    if len(functions) == 2:
        x, y = functions
        is_one_source = (x.source.tensor, x.source.layout, x.shape) == (
            y.source.tensor,
            y.source.layout,
            y.shape,
        )
        # two tensors in the graph are better added there, unless one of them is a function
        both_plain = isinstance(a, Activation) and isinstance(b, Activation)
        if not is_one_source or both_plain or x.is_integer != y.is_integer:
            return None
    elif len((a if isinstance(a, Constant | Quantized) else b).shape) > len(functions[0].shape):
        return None
    with np.errstate(all="ignore"):
        results = np.asarray(apply(first[1], second[1]), np.float64)
    return replace(functions[0], results=results, grid=None)


def _elements(value: Value) -> int:
    return math.prod(value.shape)


def _constant(layer: Layer, value: Value, beside: Activation, grid: Grid | None) -> str:
    """A constant operand as a tensor of the graph, in the order of what it meets."""
    assert isinstance(value, Constant | Quantized)
    real = value.real if isinstance(value, Quantized) else value.array.astype(np.float64)
    if not np.isfinite(real).all():
        raise Refusal("its constant operand is not finite")
    shape, trailing = _repeated(layer, value.shape, beside)
    order = beside.layout.axis_order(beside.shape)
    assert order is not None
    moved = real.reshape(shape).transpose(order).reshape(_suffix(layer, beside, shape, trailing))
    grid = grid or _constant_grid(value, real)
    with np.errstate(over="ignore"):
        q = grid.quantize(moved).astype(np.int8)
    kind = TensorType(shape=q.shape, grid=grid)
    tensor = layer.building.add_tensor(f"{layer.operator.short_name}.operand", kind)
    layer.building.constants[tensor] = np.ascontiguousarray(q)
    return tensor


def _constant_grid(value: Value, real: Reals) -> Grid:
    """The grid of a constant: its own where it has one for all, else the finest that holds it."""
    if isinstance(value, Quantized) and len(value.scale) == 1 and value.levels.size:
        low, high = int(value.levels.min()), int(value.levels.max())
        if high - low <= 255 and -255 <= low and high <= 255:
            zero = int(np.clip(0, -128 - low, 127 - high))
            if -128 <= zero <= 127:
                return Grid(scale=float(value.scale[0]), zero_point=zero)
    reach = float(np.abs(real).max())
    scale = float(np.float32(reach / 127)) if reach else 1.0
    if scale <= 0 or not math.isfinite(scale):
        raise Refusal("its constant operand is too small or too large for any grid")
    return Grid(scale=scale, zero_point=0)


def _beside(layer: Layer, b: Activation, a: Activation) -> str:
    """A second operand, arranged so that it repeats along the first one."""
    shape, trailing = _repeated(layer, b.shape, a)
    wanted = Layout.of(shape, trailing)
    b = layer.arranged(replace(b, shape=shape), wanted)
    return layer.building.view(b.tensor, _suffix(layer, a, shape, trailing))


def _suffix(
    layer: Layer, beside: Activation, shape: tuple[int, ...], trailing: tuple[int, ...]
) -> tuple[int, ...]:
    """The last axes of the larger operand, as it stands in the graph, along which one repeats."""
    axes = layer.type(beside.tensor).shape
    elements = math.prod(shape[axis] for axis in trailing)
    cuts = [i for i in range(len(axes) + 1) if math.prod(axes[i:]) == elements]
    return axes[cuts[0] :] or (1,) if cuts else tuple(shape[axis] for axis in trailing)


def _repeated(
    layer: Layer, shape: tuple[int, ...], beside: Activation
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(shape with as many axes as the larger operand, its axes as they stand in memory).

    It must have the larger one's last axes in memory, or repeat nowhere.
    """
    rank = len(beside.shape)
    lead = len(shape) - rank
    if any(n != 1 for n in shape[: max(0, lead)]):
        raise Refusal(f"{list(shape)} does not repeat along {list(beside.shape)}")
    full = (1,) * -lead + shape if lead < 0 else shape[lead:]
    if any(n not in {1, m} for n, m in zip(full, beside.shape, strict=True)):
        raise Refusal(
            f"{list(shape)} and {list(beside.shape)} would both repeat: let one have the result's "
            "shape"
        )
    order = beside.layout.axis_order(beside.shape)
    assert order is not None, "by_axes came first"
    trailing = tuple(axis for axis in order if full[axis] > 1)
    repeated = [axis for axis in order if full[axis] == 1 < beside.shape[axis]]
    if repeated and trailing and order.index(repeated[-1]) > order.index(trailing[0]):
        raise Refusal(
            f"{list(shape)} repeats along inner axes of {list(beside.shape)}: only an operand for "
            "each channel, or one of the same shape, is possible"
        )
    return full, trailing


# ---- rows


@handles("Softmax")
def softmax(layer: Layer) -> None:
    """Along one axis, in fixed point with steps of 1/256; then on the output's grid."""
    activation = layer.real()
    rank = len(activation.shape)
    axis: int = layer.attribute("axis", -1)
    if not -rank <= axis < rank:
        raise Refusal(f"it names axis {axis} of {list(activation.shape)}")
    tensor, order = last_in_memory(layer, activation, axis % rank)
    tensor = layer.node(Softmax(), tensor)
    shape = activation.shape
    made = Activation(tensor=tensor, shape=shape, layout=Layout.of(shape, order))
    layer.write(layer.on(made, layer.building.grids.get(layer.output)))


def last_in_memory(layer: Layer, activation: Activation, axis: int) -> tuple[str, tuple[int, ...]]:
    """(tensor with an axis for each of the file, their order), the last of which is `axis`."""
    activation, order = layer.by_axes(activation)
    order = (*(each for each in order if each != axis), axis)
    activation = layer.arranged(activation, Layout.of(activation.shape, order))
    return layer.viewed(activation, order), order
