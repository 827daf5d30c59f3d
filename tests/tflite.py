# SPDX-License-Identifier: Apache-2.0
"""One-op graphs as TFLite models, run by TFLite Micro's reference kernels: a foreign witness.

Needs the packages tflite-micro and flatbuffers; import this module through `pytest.importorskip`.
"""

from collections.abc import Mapping
from typing import Any

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
from tests.tflite_author import File

ARENA_BYTES = 1 << 21


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
    """Writes the tensors and the operator of one model."""

    def __init__(self, graph: Graph, node: Node) -> None:
        self.graph, self.node = graph, node
        self.types = graph.input_types(node)
        self.output = graph.output_type(node)
        self.file = File()
        self.inputs = [self.activation(kind) for kind in self.types]
        self.operands = list(self.inputs)  # of the operator: constants may follow

    def bytes(self) -> bytes:
        kind, options, fields = self.operator()
        output = self.activation(self.output)
        self.file.operator(kind, self.operands, [output], options, **fields)
        return self.file.bytes(self.inputs, [output])

    def activation(self, kind: TensorType) -> int:
        """Index of a new tensor without data, with a batch of one."""
        if kind.dtype is DType.S8:
            return self.file.tensor((1, *kind.shape), scale=kind.scale, zero_point=kind.zero_point)
        return self.file.tensor((1, *kind.shape), "INT32")

    def constant(self, data: Array, **arguments: Any) -> None:
        """A tensor with data as the operator's next operand."""
        self.operands.append(self.file.constant(data, **arguments))

    def weights(self, codes: Array, *, axis: int) -> None:
        """Filter and bias operands; TFLite keeps the same weight and bias scales as we do."""
        weights = self.node.weights
        assert weights is not None
        self.constant(codes, scale=weights.scale, axis=axis)
        if self.node.bias is not None:
            scale = (weights.scale * self.types[0].scale).astype(np.float32)
            self.constant(self.node.bias, scale=scale)

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

    def operator(self) -> tuple[str, str | None, dict[str, Any]]:
        """Kind, name of the options and their fields; adds the constant operands."""
        op = self.node.op
        if getattr(op, "multiplier_bits", 31) != 31:
            raise NotExpressibleError
        match op:
            case Conv2D():
                values = self.node.weights.values
                self.weights(values, axis=0)
                fields = self._window(op, values.shape[1:3], op.dilation)
                fields |= dict(zip(_DILATION, op.dilation, strict=True))
                return "CONV_2D", "Conv2DOptions", fields
            case DWConv2D():
                values = self.node.weights.values
                self.weights(values.transpose(1, 2, 0)[None], axis=3)
                fields = self._window(op, values.shape[1:], op.dilation)
                fields |= dict(zip(_DILATION, op.dilation, strict=True))
                fields["depthMultiplier"] = len(values) // self.types[0].shape[2]
                return "DEPTHWISE_CONV_2D", "DepthwiseConv2DOptions", fields
            case Linear(float32_product=False):
                self.weights(self.node.weights.values, axis=0)
                fields = self._activation(op) | {"keepNumDims": True}
                return "FULLY_CONNECTED", "FullyConnectedOptions", fields
            case AvgPool2D() | MaxPool2D():
                if getattr(op, "dilation", (1, 1)) != (1, 1):
                    raise NotExpressibleError
                fields = self._window(op, op.kernel, (1, 1))
                fields |= {"filterHeight": op.kernel[0], "filterWidth": op.kernel[1]}
                average = isinstance(op, AvgPool2D)
                return "AVERAGE_POOL_2D" if average else "MAX_POOL_2D", "Pool2DOptions", fields
            case Add():
                return "ADD", "AddOptions", self._activation(op)
            case Mul():
                return "MUL", "MulOptions", self._activation(op)
            case Mean(clamp=(-128, 127)):
                self.constant(np.array([1, 2], np.int32))
                return "MEAN", "ReducerOptions", {"keepDims": op.keep_dims}
            case Pad():
                borders = [(0, 0), *zip(op.before, op.after, strict=True)]
                self.constant(np.array(borders, np.int32))
                if op.value is None:
                    return "PAD", "PadOptions", {}
                x = self.types[0]
                value = np.array([op.value], np.int8)
                self.constant(value, scale=x.scale, zero_point=x.zero_point)
                return "PADV2", "PadV2Options", {}
            case Concat():
                axis = op.axis % len(self.output.shape) + 1
                return "CONCATENATION", "ConcatenationOptions", {"axis": axis}
            case Reshape():
                shape = [1, *op.shape]
                self.constant(np.array(shape, np.int32))
                return "RESHAPE", "ReshapeOptions", {"newShape": shape}
            case Softmax():
                # an assertion of the interpreter ends the process: a factor of 1 or less, or a
                # sum of 512 largest values
                if op.beta * self.types[0].scale * 2**26 <= 1.0 or self.output.shape[-1] > 511:
                    raise NotExpressibleError
                return "SOFTMAX", "SoftmaxOptions", {"beta": op.beta}
            case Argmax():
                self.constant(np.array([-1], np.int32))
                kind = schema.TensorType.INT32
                return "ARG_MAX", "ArgMaxOptions", {"outputType": kind}
            case Requantize(clamp=(-128, 127)):
                return "QUANTIZE", "QuantizeOptions", {}
            case Requantize(clamp=(low, 127)) if low == self.output.zero_point:
                return "RELU", None, {}
            case Upsample2D():
                self.constant(np.array(self.output.shape[:2], np.int32))
                return "RESIZE_NEAREST_NEIGHBOR", "ResizeNearestNeighborOptions", {}
        raise NotExpressibleError

    def _activation(self, op: Any) -> dict[str, Any]:
        return {"fusedActivationFunction": self.activation_function(op.clamp)}

    def _window(self, op: Any, kernel: Any, dilation: tuple[int, int]) -> dict[str, Any]:
        return {
            "padding": self.padding(op, kernel, dilation),
            "strideH": op.stride[0],
            "strideW": op.stride[1],
            **self._activation(op),
        }


_DILATION = ("dilationHFactor", "dilationWFactor")
