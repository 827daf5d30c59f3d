# SPDX-License-Identifier: Apache-2.0
"""What handlers share: attributes, inputs and outputs of operators."""

from collections.abc import Callable

import numpy as np
import pytest

pytest.importorskip("onnx", reason="writes the files that are read here")

from codeq_compile.errors import UnsupportedOp
from tests.onnx_author import File
from tests.onnx_oracle import imported

Build = Callable[[File, str], str]


@pytest.mark.parametrize(
    ("build", "problem"),
    [
        (lambda f, x: f.add("Softmax", x, axis="last"), "its attribute axis is 'last'"),
        (lambda f, x: f.add("MatMul", x), "its input 1 is missing"),
        (lambda f, x: f.add("MatMul", x, "nowhere"), 'it reads "nowhere", which no operator'),
        (lambda f, x: f.add("Relu", f.nodes[0].output[0]), "a DequantizeLinear is missing"),
        (lambda f, x: f.add("Sigmoid", f.constant(np.float32([1]))), "is a constant"),
        (lambda f, x: f.add("Slice", x, x, x), "must be constant"),
        (lambda f, x: f.add("Reshape", x, f.integers(*[1] * 65)), "65 values of type int64"),
        (lambda f, x: f.add("Clip", x, f.integers(1, 2)), "has 2 values"),
        (lambda f, x: f.add("Conv", x, f.weights(2, 4, 1)), "is expected: export the model"),
        (lambda f, x: f.add("Dropout", x, outputs=2)[1], "has no rule|is used"),
    ],
)
def test_an_operator_that_is_wrong_is_refused(build: Build, problem: str) -> None:
    """A file from another tool may say anything."""
    file = File(1)
    x = file.quantized(file.input(1, 4), (0.1, 0))
    y = file.quantized(build(file, x), (0.1, 0))

    with pytest.raises(UnsupportedOp, match=problem):
        imported(file.unchecked_bytes(y))


def test_a_table_is_made_once(rng: np.random.Generator) -> None:
    """Two readers of a function in floats are two layers, but one table."""
    file = File(2)
    x = file.quantized(file.input(1, 4, 5, 5))
    y = file.add("Sigmoid", x)
    outputs = [file.quantized(file.add("MaxPool", y, kernel_shape=[k, k])) for k in (2, 3)]

    kinds = [node.op.kind for node in imported(file.bytes(*outputs)).graph.nodes]

    assert 1 == kinds.count("lut")


def test_an_output_on_its_way_is_no_view_of_an_input() -> None:
    """The caller's buffers of inputs and outputs are two."""
    file = File(3)
    x = file.quantized(file.input(1, 4), (0.1, 0))

    graph = imported(file.bytes(x)).graph

    assert ["requantize"] == [node.op.kind for node in graph.nodes]
