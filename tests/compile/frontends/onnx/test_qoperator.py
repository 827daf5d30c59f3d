# SPDX-License-Identifier: Apache-2.0
"""Operators that compute in integers themselves: each is what it is short for."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnxruntime", reason="quantizes and runs what is read here")

import onnx
from onnx import helper
from onnxruntime import quantization

from tests.onnx_author import File
from tests.onnx_oracle import check


def quantized(file: File, output: str, folder: Path, **options: Any) -> bytes:
    """A float file with its operators in integers."""
    source, target = folder / "float.onnx", folder / "integers.onnx"
    source.write_bytes(file.bytes(output))
    (name,) = file.samples
    samples = iter([{name: sample} for sample in file.samples[name]])

    class Reader(quantization.CalibrationDataReader):
        def get_next(self) -> Any:
            return next(samples, None)

    quantization.quantize_static(
        str(source),
        str(target),
        Reader(),
        quant_format=quantization.QuantFormat.QOperator,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
        **options,
    )
    return target.read_bytes()


def reals(file: File, *shape: int) -> str:
    return file.constant(file.rng.normal(size=shape).astype(np.float32))


@pytest.mark.filterwarnings("ignore")  # of the quantizer, which is not what is tried here
@pytest.mark.parametrize("per_channel", [False, True])
def test_a_network_of_integer_operators_is_imported(
    per_channel: bool, tmp_path: Path, rng: np.random.Generator
) -> None:
    """The other form that quantize_static writes."""
    file = File(1, opset=17)
    x = file.input(1, 3, 8, 8)
    y = file.add("Relu", file.add("Conv", x, reals(file, 6, 3, 3, 3), reals(file, 6)))
    y = file.add("MaxPool", y, kernel_shape=[2, 2], strides=[2, 2])
    z = file.add("Sigmoid", file.add("Conv", y, reals(file, 6, 6, 1, 1)))
    y = file.add("Concat", file.add("Add", y, z), file.add("Mul", y, z), axis=1)
    y = file.add("Flatten", file.add("GlobalAveragePool", y))
    y = file.add("Gemm", y, reals(file, 12, 5), reals(file, 5))
    y = file.add("MatMul", y, reals(file, 5, 4))

    data = quantized(file, y, tmp_path, per_channel=per_channel)
    kinds = {node.op_type for node in onnx.load_from_string(data).graph.node}

    # seven layers of two roundings
    check(data, rng, largest=6, mean=1)
    assert {"QLinearConv", "QLinearAdd", "QLinearMul", "QLinearSigmoid", "QLinearConcat"} <= kinds


def test_a_bias_is_on_the_scale_of_the_accumulator() -> None:
    """It has no scale of its own."""
    from tests.onnx_oracle import imported

    file = File(2)
    q = file.add("QuantizeLinear", file.input(1, 4), *file.grid(0.1, 3))
    weights = [file.constant(np.ones((2, 4), np.int8)), *file.grid(0.02, 0)]
    bias = file.constant(np.array([100, -7], np.int32))
    operands = [q, *file.grid(0.1, 3), *weights, bias, *(out := file.grid(0.05, 0))]
    node = helper.make_node("QGemm", operands, ["g"], domain="com.microsoft", transB=1)
    file.nodes.append(node)
    y = file.add("DequantizeLinear", "g", *out)

    (layer,) = imported(file.unchecked_bytes(y)).graph.nodes

    assert layer.bias is not None
    np.testing.assert_array_equal([100, -7], layer.bias)
