# SPDX-License-Identifier: Apache-2.0
"""One-op graphs as TFLite models, run by TFLite Micro's reference kernels: a foreign witness.

Needs the packages tflite-micro and flatbuffers; import this module through `pytest.importorskip`.
"""

from collections.abc import Mapping
from typing import Any

import flatbuffers
import numpy as np
from tflite_micro.python.tflite_micro import runtime
from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as schema

from codeq_compile.ir import DType, Graph, Node, TensorType
from codeq_compile.ir.op import Array
from codeq_compile.numerics import round_half_away
from codeq_compile.ops.add import Add
from codeq_compile.ops.argmax import Argmax
from codeq_compile.ops.avgpool2d import AvgPool2D
from codeq_compile.ops.concat import Concat
from codeq_compile.ops.conv2d import Conv2D
from codeq_compile.ops.dwconv2d import DWConv2D
from codeq_compile.ops.linear import Linear
from codeq_compile.ops.maxpool2d import MaxPool2D
from codeq_compile.ops.mean import Mean
from codeq_compile.ops.mul import Mul
from codeq_compile.ops.pad import Pad
from codeq_compile.ops.requantize import Requantize
from codeq_compile.ops.reshape import Reshape
from codeq_compile.ops.softmax import Softmax
from codeq_compile.ops.upsample2d import Upsample2D

ARENA_BYTES = 1 << 21

_TYPES = {
    np.dtype(np.int8): schema.TensorType.INT8,
    np.dtype(np.int32): schema.TensorType.INT32,
}


class NotExpressibleError(Exception):
    """TFLite has no form for this node: another padding, broadcast or limit."""


def run(graph: Graph, inputs: Mapping[str, Array]) -> Array:
    """Output of a one-op graph by the TFLite Micro interpreter, sample by sample.

    Raises
    ------
    NotExpressibleError
    """
    interpreter = runtime.Interpreter.from_bytes(model(graph), arena_size=ARENA_BYTES)
    batch = len(inputs[graph.inputs[0]])
    outputs = []
    for i in range(batch):
        for index, name in enumerate(graph.inputs):
            interpreter.set_input(np.ascontiguousarray(inputs[name][i : i + 1]), index)
        interpreter.invoke()
        outputs.append(np.array(interpreter.get_output(0)))
    return np.stack(outputs).reshape(batch, *graph.output_type(graph.nodes[0]).shape)


def model(graph: Graph) -> bytes:
    """A `.tflite` file of a one-op graph."""
    (node,) = graph.nodes
    return _Author(graph, node).bytes()


def same_padding(
    size: tuple[int, ...], reach: tuple[int, ...], stride: tuple[int, ...]
) -> tuple[int, int, int, int]:
    """TFLite's SAME as (top, bottom, left, right); the odd pixel goes below and to the right."""
    totals = [
        max((-(-n // s) - 1) * s + r - n, 0) for n, r, s in zip(size, reach, stride, strict=True)
    ]
    top, left = (total // 2 for total in totals)
    return top, totals[0] - top, left, totals[1] - left


class _Author:
    """Collects the tensors and the operator of one model."""

    def __init__(self, graph: Graph, node: Node) -> None:
        self.graph, self.node = graph, node
        self.types = graph.input_types(node)
        self.output = graph.output_type(node)
        self.buffers = [schema.BufferT()]  # by convention the first one is empty
        self.tensors: list[Any] = []
        self.inputs = [self.activation(kind) for kind in self.types]
        self.operands = list(self.inputs)  # of the operator: constants may follow

    def bytes(self) -> bytes:
        code, options_type, options = self.operator()
        output = self.activation(self.output)
        operator = schema.OperatorT()
        operator.inputs, operator.outputs = self.operands, [output]
        operator.builtinOptionsType, operator.builtinOptions = options_type, options
        operator_code = schema.OperatorCodeT()
        operator_code.builtinCode, operator_code.version = code, 1
        operator_code.deprecatedBuiltinCode = min(code, 127)
        subgraph = schema.SubGraphT()
        subgraph.tensors, subgraph.operators = self.tensors, [operator]
        subgraph.inputs, subgraph.outputs = self.inputs, [output]
        root = schema.ModelT()
        root.version, root.buffers = 3, self.buffers
        root.operatorCodes, root.subgraphs = [operator_code], [subgraph]
        builder = flatbuffers.Builder(1024)
        builder.Finish(root.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def activation(self, kind: TensorType) -> int:
        """Index of a new tensor without data, with a batch of one."""
        tensor = self._tensor((1, *kind.shape), kind.dtype.numpy, buffer=0)
        if kind.dtype is DType.S8:
            tensor.quantization = _quantization([kind.scale], [kind.zero_point])
        return len(self.tensors) - 1

    def constant(
        self, data: Array, scale: Any = None, *, zero_point: int = 0, axis: int = 0
    ) -> None:
        """A tensor with data as the operator's next operand."""
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
        self.buffers.append(buffer)
        tensor = self._tensor(data.shape, data.dtype, buffer=len(self.buffers) - 1)
        if scale is not None:
            zero_points = [zero_point] * len(scale)
            tensor.quantization = _quantization(scale, zero_points, axis)
        self.operands.append(len(self.tensors) - 1)

    def _tensor(self, shape: tuple[int, ...], dtype: np.dtype[Any], *, buffer: int) -> Any:
        tensor = schema.TensorT()
        tensor.shape, tensor.type, tensor.buffer = list(shape), _TYPES[dtype], buffer
        tensor.name = f"t{len(self.tensors)}"
        self.tensors.append(tensor)
        return tensor

    def weights(self, codes: Array, *, axis: int) -> None:
        """Filter and bias operands; TFLite keeps the same weight and bias scales as we do."""
        weights = self.node.weights
        assert weights is not None
        self.constant(codes, weights.scale, axis=axis)
        if self.node.bias is not None:
            scale = (weights.scale * self.types[0].scale).astype(np.float32)
            self.constant(self.node.bias, scale)

    def activation_function(self, clamp: tuple[int, int]) -> int:
        """The fused function that has these limits on the output's grid."""
        zero, scale = self.output.zero_point, self.output.scale

        def at(real: float) -> int:
            return zero + round_half_away(float(np.float32(real) / np.float32(scale)))

        functions = schema.ActivationFunctionType
        limits = {
            functions.NONE: (-128, 127),
            functions.RELU: (max(-128, at(0.0)), 127),
            functions.RELU6: (max(-128, at(0.0)), min(127, at(6.0))),
            functions.RELU_N1_TO_1: (max(-128, at(-1.0)), min(127, at(1.0))),
        }
        for function, expected in limits.items():
            if clamp == expected:
                return function
        raise NotExpressibleError

    def padding(self, op: Any, kernel: tuple[int, int], dilation: tuple[int, int]) -> int:
        """SAME or VALID, if the op's padding is one of them."""
        if not any(op.padding):
            return schema.Padding.VALID
        reach = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True))
        if op.padding != same_padding(self.types[0].shape[:2], reach, op.stride):
            raise NotExpressibleError
        return schema.Padding.SAME

    def operator(self) -> tuple[int, int, Any]:
        """Builtin code, options type and options; adds the constant operands."""
        codes, options = schema.BuiltinOperator, schema.BuiltinOptions
        op = self.node.op
        if getattr(op, "multiplier_bits", 31) != 31:
            raise NotExpressibleError
        match op:
            case Conv2D():
                values = self.node.weights.values
                self.weights(values, axis=0)
                o = schema.Conv2DOptionsT()
                self._window(o, op, values.shape[1:3], op.dilation)
                o.dilationHFactor, o.dilationWFactor = op.dilation
                return codes.CONV_2D, options.Conv2DOptions, o
            case DWConv2D():
                values = self.node.weights.values
                self.weights(values.transpose(1, 2, 0)[None], axis=3)
                o = schema.DepthwiseConv2DOptionsT()
                self._window(o, op, values.shape[1:], op.dilation)
                o.dilationHFactor, o.dilationWFactor = op.dilation
                o.depthMultiplier = len(values) // self.types[0].shape[2]
                return codes.DEPTHWISE_CONV_2D, options.DepthwiseConv2DOptions, o
            case Linear():
                self.weights(self.node.weights.values, axis=0)
                o = schema.FullyConnectedOptionsT()
                o.fusedActivationFunction = self.activation_function(op.clamp)
                o.keepNumDims = True
                return codes.FULLY_CONNECTED, options.FullyConnectedOptions, o
            case AvgPool2D() | MaxPool2D():
                if getattr(op, "dilation", (1, 1)) != (1, 1):
                    raise NotExpressibleError
                o = schema.Pool2DOptionsT()
                self._window(o, op, op.kernel, (1, 1))
                o.filterHeight, o.filterWidth = op.kernel
                average = isinstance(op, AvgPool2D)
                code = codes.AVERAGE_POOL_2D if average else codes.MAX_POOL_2D
                return code, options.Pool2DOptions, o
            case Add():
                o = schema.AddOptionsT()
                o.fusedActivationFunction = self.activation_function(op.clamp)
                return codes.ADD, options.AddOptions, o
            case Mul():
                o = schema.MulOptionsT()
                o.fusedActivationFunction = self.activation_function(op.clamp)
                return codes.MUL, options.MulOptions, o
            case Mean(clamp=(-128, 127)):
                self.constant(np.array([1, 2], np.int32))
                o = schema.ReducerOptionsT()
                o.keepDims = op.keep_dims
                return codes.MEAN, options.ReducerOptions, o
            case Pad():
                borders = [(0, 0), *zip(op.before, op.after, strict=True)]
                self.constant(np.array(borders, np.int32))
                if op.value is None:
                    return codes.PAD, options.PadOptions, schema.PadOptionsT()
                x = self.types[0]
                value = np.array([op.value], np.int8)
                self.constant(value, [x.scale], zero_point=x.zero_point)
                return codes.PADV2, options.PadV2Options, schema.PadV2OptionsT()
            case Concat():
                o = schema.ConcatenationOptionsT()
                o.axis = self.node.op.axis % len(self.output.shape) + 1
                return codes.CONCATENATION, options.ConcatenationOptions, o
            case Reshape():
                o = schema.ReshapeOptionsT()
                o.newShape = [1, *op.shape]
                self.constant(np.array(o.newShape, np.int32))
                return codes.RESHAPE, options.ReshapeOptions, o
            case Softmax():
                # an assertion of the interpreter ends the process: a factor of 1 or less, or a
                # sum of 512 largest values
                if op.beta * self.types[0].scale * 2**26 <= 1.0 or self.output.shape[-1] > 511:
                    raise NotExpressibleError
                o = schema.SoftmaxOptionsT()
                o.beta = op.beta
                return codes.SOFTMAX, options.SoftmaxOptions, o
            case Argmax():
                self.constant(np.array([-1], np.int32))
                o = schema.ArgMaxOptionsT()
                o.outputType = schema.TensorType.INT32
                return codes.ARG_MAX, options.ArgMaxOptions, o
            case Requantize(clamp=(-128, 127)):
                return codes.QUANTIZE, options.QuantizeOptions, schema.QuantizeOptionsT()
            case Requantize(clamp=(low, 127)) if low == self.output.zero_point:
                return codes.RELU, options.NONE, None
            case Upsample2D():
                self.constant(np.array(self.output.shape[:2], np.int32))
                o = schema.ResizeNearestNeighborOptionsT()
                return (
                    codes.RESIZE_NEAREST_NEIGHBOR,
                    options.ResizeNearestNeighborOptions,
                    o,
                )
        raise NotExpressibleError

    def _window(self, o: Any, op: Any, kernel: tuple[int, int], dilation: tuple[int, int]) -> None:
        o.padding = self.padding(op, kernel, dilation)
        o.strideH, o.strideW = op.stride
        o.fusedActivationFunction = self.activation_function(op.clamp)


def _quantization(scale: Any, zero_points: list[int], axis: int = 0) -> Any:
    quantization = schema.QuantizationParametersT()
    quantization.scale = np.asarray(scale, np.float32)
    quantization.zeroPoint = np.asarray(zero_points, np.int64)
    quantization.quantizedDimension = axis
    return quantization
