# SPDX-License-Identifier: Apache-2.0
"""Writes `.onnx` files with the package onnx: layers between quantizers and dequantizers."""

from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

from codeq_compile.ir.op import Array

KINDS = {"int8": TensorProto.INT8, "uint8": TensorProto.UINT8}
SAMPLES = 4
"""On which the ranges of activations are found."""


def session(data: bytes) -> onnxruntime.InferenceSession:
    """An interpreter that computes each operator as the standard says it."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


class File:
    """A model that grows operator by operator; tensors are known by their names."""

    def __init__(
        self, seed: int = 0, *, dtype: str = "int8", opset: int = 21, symmetric: bool = False
    ) -> None:
        self.rng = np.random.default_rng(seed)
        self.dtype = dtype
        self.opset = opset
        self.symmetric = symmetric
        self.nodes: list[onnx.NodeProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.samples: dict[str, Array] = {}
        self.kinds: dict[str, int] = {}
        self.count = 0

    # ---- tensors

    def name(self, stem: str = "t") -> str:
        self.count += 1
        return f"{stem}{self.count}"

    def constant(self, array: Any, kind: int | None = None, name: str | None = None) -> str:
        name = name or self.name("c")
        array = np.asarray(array)
        if kind is None:
            self.initializers.append(onnx.numpy_helper.from_array(array, name))
        else:
            values = array.reshape(-1).tolist()
            self.initializers.append(helper.make_tensor(name, kind, array.shape, values))
        return name

    def integers(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64))

    def input(
        self, *shape: int, name: str = "x", reach: float = 3.0, kind: int = TensorProto.FLOAT
    ) -> str:
        """An input of random samples, not yet quantized."""
        self.inputs.append(helper.make_tensor_value_info(name, kind, shape))
        values = self.rng.uniform(-reach, reach, (SAMPLES, *shape)).astype(np.float32)
        self.samples[name] = values
        return name

    def add(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        """An operator; the name of its output, or the names of several."""
        names = [self.name(kind.lower()) for _ in range(outputs)]
        node = helper.make_node(kind, inputs, names, name=self.name(f"{kind}_"), **attributes)
        self.nodes.append(node)
        if kind in {"QuantizeLinear", "ArgMax"}:
            self.kinds[names[0]] = TensorProto.INT64 if kind == "ArgMax" else KINDS[self.dtype]
        return names[0] if outputs == 1 else names

    # ---- quantization

    def grid(self, scale: float, zero_point: int, dtype: str | None = None) -> list[str]:
        zero = np.array(zero_point, dtype or self.dtype)
        return [self.constant(np.array(scale, np.float32)), self.constant(zero)]

    def quantized(self, tensor: str, grid: tuple[float, int] | None = None) -> str:
        """The tensor behind QuantizeLinear and DequantizeLinear, by default on its own range."""
        scale, zero = grid or self.range_of(tensor)
        names = self.grid(scale, zero)
        return self.add("DequantizeLinear", self.add("QuantizeLinear", tensor, *names), *names)

    def range_of(self, tensor: str) -> tuple[float, int]:
        values = self.values(tensor)
        low, high = min(0.0, float(values.min())), max(0.0, float(values.max()), 1e-3)
        lowest = -128 if self.dtype == "int8" else 0
        if self.symmetric:
            return max(-low, high) / 127, lowest + 128
        scale = float(np.float32((high - low) / 255))
        return scale, int(np.clip(round(lowest - low / scale), lowest, lowest + 255))

    def values(self, tensor: str) -> Array:
        """What a tensor holds for all samples."""
        if tensor in self.samples:
            return self.samples[tensor]
        run = session(self.unchecked_bytes(tensor)).run
        rows = [
            run(None, {name: values[i] for name, values in self.samples.items()})[0]
            for i in range(SAMPLES)
        ]
        return np.stack(rows)

    def weights(
        self,
        *shape: int,
        axis: int | None = None,
        bits: int = 8,
        dtype: str = "int8",
        zero_point: int = 0,
    ) -> str:
        """Random weights behind DequantizeLinear, with a scale for each position of an axis."""
        top = 1 << (bits - 1)
        # with a zero point they fill their type, else they are symmetric
        low, high = (-top, top) if zero_point and dtype == "int8" else (-top + 1, top)
        low, high = (0, 2 * top) if zero_point and dtype == "uint8" else (low, high)
        stored = self.rng.integers(low, high, shape)
        count = 1 if axis is None else shape[axis]
        scale = self.rng.uniform(0.5, 1.5, count).astype(np.float32) * np.float32(0.5 / top)
        zeros = np.full(count, zero_point)
        if axis is None:
            scale, zeros = scale.reshape(()), zeros.reshape(())
        kind = None if bits == 8 else (TensorProto.INT4 if dtype == "int8" else TensorProto.UINT4)
        names = [
            self.constant(stored.astype(dtype), kind),
            self.constant(scale),
            self.constant(zeros.astype(dtype), kind),
        ]
        return self.add("DequantizeLinear", *names, axis=axis or 0)

    # ---- the file

    def bytes(self, *outputs: str) -> bytes:
        """A file that the package onnx finds no fault with."""
        model = onnx.load_from_string(self.unchecked_bytes(*outputs))
        model = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
        onnx.checker.check_model(model)
        result: bytes = model.SerializeToString()
        return result

    def unchecked_bytes(self, *outputs: str) -> bytes:
        infos = [helper.make_empty_tensor_value_info(name) for name in outputs]
        for info in infos:
            info.type.tensor_type.elem_type = self.kinds.get(info.name, TensorProto.FLOAT)
        graph = helper.make_graph(
            self.nodes, "model", self.inputs, infos, initializer=self.initializers
        )
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=10
        )
        result: bytes = model.SerializeToString()
        return result
