# SPDX-License-Identifier: Apache-2.0
"""`.tflite` files written by hand: tensors and operators of one subgraph.

Needs the packages tflite-micro and flatbuffers; import this module through `pytest.importorskip`.
"""

from collections.abc import Sequence
from typing import Any

import flatbuffers
import numpy as np
from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as schema

from codeq_compile.ir.op import Array

_DTYPES = {
    "int8": "INT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "float32": "FLOAT32",
}


class File:
    """A file in the making; tensors are known by their numbers."""

    def __init__(self) -> None:
        self.model = schema.ModelT()
        self.model.version = 3
        # by convention the first buffer is empty
        self.model.buffers = [schema.BufferT()]
        self.model.operatorCodes = []
        self.graph = schema.SubGraphT()
        self.graph.tensors, self.graph.operators = [], []
        self.model.subgraphs = [self.graph]

    def tensor(
        self,
        shape: Sequence[int],
        kind: str = "INT8",
        *,
        scale: Any = None,
        zero_point: Any = 0,
        axis: int = 0,
        data: Array | bytes | None = None,
        name: str | None = None,
        is_variable: bool = False,
    ) -> int:
        """A tensor; `data` makes it a constant, `scale` (one, or one a channel) gives it a grid."""
        tensor = schema.TensorT()
        tensor.shape, tensor.type = list(shape), getattr(schema.TensorType, kind)
        tensor.name = f"t{len(self.graph.tensors)}" if name is None else name
        tensor.isVariable = is_variable
        tensor.buffer = 0
        if data is not None:
            buffer = schema.BufferT()
            raw = data if isinstance(data, bytes) else np.ascontiguousarray(data).tobytes()
            buffer.data = np.frombuffer(raw, np.uint8)
            self.model.buffers.append(buffer)
            tensor.buffer = len(self.model.buffers) - 1
        if scale is not None:
            tensor.quantization = quantization(scale, zero_point, axis)
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def constant(self, data: Array, **arguments: Any) -> int:
        """A constant of the array's own shape and type."""
        return self.tensor(data.shape, _DTYPES[str(data.dtype)], data=data, **arguments)

    def operator(
        self,
        kind: str,
        inputs: Sequence[int],
        outputs: Sequence[int],
        options: Any = None,
        **fields: Any,
    ) -> None:
        """An operator; `options` is the name of its table and `fields` are the table's."""
        operator = schema.OperatorT()
        operator.inputs, operator.outputs = list(inputs), list(outputs)
        if options is not None:
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, options)
            operator.builtinOptions = getattr(schema, f"{options}T")()
            for name, value in fields.items():
                assert hasattr(operator.builtinOptions, name), name
                setattr(operator.builtinOptions, name, value)
        code = schema.OperatorCodeT()
        code.builtinCode, code.version = getattr(schema.BuiltinOperator, kind), 1
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        self.model.operatorCodes.append(code)
        operator.opcodeIndex = len(self.model.operatorCodes) - 1
        self.graph.operators.append(operator)

    def bytes(self, inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
        """The whole file."""
        self.graph.inputs, self.graph.outputs = list(inputs), list(outputs)
        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def quantization(scale: Any, zero_point: Any, axis: int = 0) -> Any:
    """The grid of a tensor."""
    grid = schema.QuantizationParametersT()
    grid.scale = np.atleast_1d(np.asarray(scale, np.float32))
    grid.zeroPoint = np.broadcast_to(np.asarray(zero_point, np.int64), grid.scale.shape).copy()
    grid.quantizedDimension = axis
    return grid
