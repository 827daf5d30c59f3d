# SPDX-License-Identifier: Apache-2.0
"""ADD, MUL and the functions of one value: RELU and its like, LOGISTIC, TANH, HARD_SWISH."""

import math
from typing import Any

import numpy as np

from codeq_compile.frontends.tflite import functions
from codeq_compile.frontends.tflite.layer import (
    Kernels,
    Layer,
    Refusal,
    activation_grid,
    handles,
    tensor_type,
)
from codeq_compile.frontends.tflite.options import (
    ActivationOptions,
    LeakyReluOptions,
    SoftmaxOptions,
)
from codeq_compile.frontends.tflite.schema import Activation, ElementType
from codeq_compile.ir.graph import Node
from codeq_compile.ir.op import Op
from codeq_compile.ir.types import DType, Shape, TensorType
from codeq_compile.ops.add import Add
from codeq_compile.ops.convert import Convert
from codeq_compile.ops.elementwise import INT8
from codeq_compile.ops.extremum import Extremum
from codeq_compile.ops.mul import Mul
from codeq_compile.ops.prelu import PReLU
from codeq_compile.ops.requantize import Requantize
from codeq_compile.ops.softmax import Softmax
from codeq_compile.ops.softmax16 import Softmax16
from codeq_compile.ops.sub import Sub
from codeq_compile.ops.upsample2d import Upsample2D


@handles("ADD", "MUL")
def arithmetic(layer: Layer) -> None:
    """Each operand repeats along its axes of 1; one may be a constant."""
    options = layer.options(ActivationOptions)
    clamp = layer.clamp(options.activation)
    op: Op[Any] = Add(clamp=clamp) if layer.operator.kind == "ADD" else Mul(clamp=clamp)
    binary(layer, op, commutes=True)


@handles("SUB")
def subtraction(layer: Layer) -> None:
    """Each operand repeats along its axes of 1; one may be a constant."""
    options = layer.options(ActivationOptions)
    # TensorFlow Lite formed these factors in float64 all along
    float32 = layer.building.kernels is Kernels.TFLM_FLOAT32
    op = Sub(clamp=layer.clamp(options.activation), float32_scales=float32)
    binary(layer, op, commutes=False)


@handles("MAXIMUM", "MINIMUM")
def extremum(layer: Layer) -> None:
    """Of one grid; each operand repeats along its axes of 1; one may be a constant."""
    binary(layer, Extremum(largest=layer.operator.kind == "MAXIMUM"), commutes=True)


@handles("PRELU")
def prelu(layer: Layer) -> None:
    """A slope for each channel, or for each element."""
    binary(layer, PReLU(), commutes=False)


def binary(layer: Layer, op: Op[Any], *, commutes: bool) -> None:
    """A layer of two operands; with a constant of one element it is a table of the other."""
    first, second = layer.tensor(0), layer.tensor(1)
    constants = [position for position in (0, 1) if layer.known(position) is not None]
    if len(constants) == 2:
        raise Refusal("both its operands are constants: convert the model again")
    if constants and layer.tensor(constants[0]).elements == 1:
        _with_scalar(layer, op, constants[0])
        return
    a, b = layer.operand(0), layer.operand(1)
    if commutes and second.elements > first.elements:
        a, b = b, a
    shapes = layer.type(a).shape, layer.type(b).shape
    try:
        whole = np.broadcast_shapes(*shapes)
    except ValueError as error:
        raise Refusal(
            f"its operands {first} and {second} do not repeat along each other"
        ) from error
    layer.add(op, _repeated(layer, a, whole), _repeated(layer, b, _trailing(shapes[1], whole)))


def _trailing(shape: Shape, whole: Shape) -> Shape:
    """The part of a shape that an op repeats by itself, as its second operand."""
    rank = len(shape)
    first = next((axis for axis, n in enumerate(shape) if n > 1), rank)
    return (1,) * first + whole[len(whole) - rank + first :]


def _repeated(layer: Layer, name: str, whole: Shape) -> str:
    """A tensor whose axes of 1 are repeated, one after the other, until it has a shape."""
    shape = layer.type(name).shape
    shape = (1,) * (len(whole) - len(shape)) + shape
    for axis, n in enumerate(whole):
        if shape[axis] != n:
            rows = (math.prod(shape[:axis]), 1, math.prod(shape[axis:]))
            name = layer.step(Upsample2D(factor=(1, n)), layer.view(name, rows))
            shape = (*shape[:axis], n, *shape[axis + 1 :])
    return layer.view(name, shape)


def _with_scalar(layer: Layer, op: Op[Any], position: int) -> None:
    """All 256 results of the op, by its own golden."""
    constant = layer.tensor(position)
    if constant.kind is not ElementType.INT8:
        raise Refusal(f"its constant {constant.label} is {constant}, and int8 is expected")
    value = int(layer.constant(position, "operands").reshape(-1)[0])
    scalar = TensorType(shape=(256,), grid=activation_grid(constant))
    name = layer.input(1 - position)
    varying = TensorType(shape=(256,), grid=layer.type(name).grid)
    types, arrays = [varying, scalar], [INT8, np.full(256, value)]
    if position == 0:
        types, arrays = types[::-1], arrays[::-1]
    node = Node(name="table", op=op, inputs=("a", "b"), output="y")
    output = TensorType(shape=(256,), grid=layer.output_grid)
    params = op.lower(node, tuple(types), output)
    results = op.simulate(params, *(array.astype(np.int8)[None] for array in arrays))[0]
    layer.add_table(name, lambda _: results.astype(np.int64))


@handles("RELU", "RELU6", "RELU_N1_TO_1")
def relu(layer: Layer) -> None:
    """Becomes the limits of the layer before it, where that is exact."""
    name = layer.input()
    x, y = layer.grid(name), layer.output_grid
    if layer.operator.kind == "RELU":
        if x != y and layer.building.kernels.multiplies_in_float32:
            layer.add_table(name, functions.relu(x, y))
        else:
            layer.add(Requantize(clamp=layer.clamp(Activation.RELU)), name)
        return
    limits = layer.clamp(Activation[layer.operator.kind], x)
    if x == y:
        layer.add(Requantize(clamp=limits), name)
    else:
        layer.add_table(name, lambda q: np.clip(q, *limits))


@handles("LEAKY_RELU")
def leaky_relu(layer: Layer) -> None:
    """A table of 256 values."""
    alpha = layer.options(LeakyReluOptions).alpha
    if not math.isfinite(alpha):
        raise Refusal(f"its slope is {alpha}")
    name = layer.input()
    x = layer.grid(name)
    float32 = layer.building.kernels.multiplies_in_float32
    layer.add_table(name, functions.leaky_relu(x, layer.output_grid, alpha, float32=float32))


@handles("LOGISTIC", "TANH", "HARD_SWISH")
def function(layer: Layer) -> None:
    """A table of 256 values, by the integers of the chosen kernels."""
    name = layer.input()
    x, y, kernels = layer.grid(name), layer.output_grid, layer.building.kernels
    match layer.operator.kind, kernels:
        case "HARD_SWISH", _:
            layer.add_table(name, functions.hard_swish(x, y, float32=kernels.multiplies_in_float32))
        case "LOGISTIC", Kernels.TFLITE:
            layer.add_table(name, functions.float_logistic(x, y))
        case "TANH", Kernels.TFLITE:
            layer.add_table(name, functions.float_tanh(x, y))
        case "LOGISTIC", _:
            layer.add_table(name, functions.logistic(x))
        case _:
            layer.add_table(name, functions.tanh(x))


@handles("SOFTMAX")
def softmax(layer: Layer) -> None:
    """Along the last axis, in the kernels' fixed point."""
    beta = layer.options(SoftmaxOptions).beta
    is_wide = layer.output.kind is ElementType.INT16
    layer.add(Softmax16(beta=beta) if is_wide else Softmax(beta=beta), layer.input())


@handles("QUANTIZE")
def quantize(layer: Layer) -> None:
    """A change of grid; of floats at an input of the model, where the caller does it."""
    tensor = layer.tensor(0)
    if tensor.kind is ElementType.FLOAT32:
        if layer.output.index not in layer.building.names:
            raise Refusal(
                f"it reads float32 {tensor.label}, and only an input of the model that nothing "
                "else reads may be float32"
            )
        return
    name = layer.input()
    wanted = tensor_type(layer.output).dtype
    if layer.type(name).dtype is wanted is DType.S8:
        layer.add(Requantize(), name)
    else:
        layer.add(Convert(dtype=wanted), name)


@handles("DEQUANTIZE")
def dequantize(layer: Layer) -> None:
    """At an output of the model, where the caller gets the integers."""
    layer.input()
    if layer.output.kind is not ElementType.FLOAT32:
        raise Refusal(f"it makes {layer.output}")
