# SPDX-License-Identifier: Apache-2.0
"""Where integers become reals and back: grids of tensors, and of those between two layers."""

from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnxruntime", reason="the interpreter that is compared with")

from onnx import TensorProto

from codeq_compile.errors import UnsupportedOp
from codeq_compile.ir import Graph
from tests.onnx_author import KINDS, File
from tests.onnx_oracle import check, distance, imported


def test_uint8_is_int8_with_another_zero() -> None:
    """The C library has no uint8: the caller's floats become the same integers less 128."""
    grids = []
    for dtype, zero in (("int8", -20), ("uint8", 108)):
        file = File(dtype=dtype)
        x = file.quantized(file.input(1, 4), (0.05, zero))
        model = imported(file.bytes(file.quantized(file.add("Relu", x), (0.05, zero))))
        grids.append(model.graph.tensors["x"].grid)

    assert grids[0] == grids[1]
    assert -20 == grids[0].zero_point


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_a_model_may_read_and_give_integers(dtype: str) -> None:
    """Then there is no quantizer at its borders, and the same library."""

    def graph(*, integers: bool) -> Graph:
        file = File(dtype=dtype)
        grid, out = file.grid(0.05, 7), file.grid(0.02, 3)
        if integers:
            q = file.input(1, 6, kind=KINDS[dtype])
        else:
            q = file.add("QuantizeLinear", file.input(1, 6), *grid)
        y = file.add("MatMul", file.add("DequantizeLinear", q, *grid), file.weights(6, 3))
        y = file.add("QuantizeLinear", y, *out)
        return imported(file.bytes(y if integers else file.add("DequantizeLinear", y, *out))).graph

    reals, integers = graph(integers=False), graph(integers=True)

    assert [*reals.tensors.values()] == [*integers.tensors.values()]
    assert [node.op for node in reals.nodes] == [node.op for node in integers.nodes]


def test_a_layer_is_quantized_behind_what_only_selects(rng: np.random.Generator) -> None:
    """A quantizer after ReLU and pooling is the one of the convolution before them."""
    file = File(1)
    x = file.quantized(file.input(1, 3, 8, 8))
    y = file.add("Relu", file.add("Conv", x, file.weights(4, 3, 3, 3)))
    y = file.quantized(file.add("MaxPool", y, kernel_shape=[2, 2], strides=[2, 2]))

    model = check(file.bytes(y), rng)

    (grid,) = {model.graph.output_type(node).grid for node in model.graph.nodes}
    assert model.graph.tensors[model.graph.outputs[0]].grid == grid


def test_branches_without_a_grid_of_their_own_are_refused() -> None:
    """Limited by one branch, values would be missing in the other."""
    file = File(2)
    x = file.quantized(file.input(1, 4))
    y = file.add("MatMul", x, file.weights(4, 4))
    a = file.quantized(file.add("Relu", y))
    b = file.quantized(file.add("Sigmoid", y))

    with pytest.raises(UnsupportedOp, match="no QuantizeLinear follows it"):
        imported(file.bytes(a, b))


def test_branches_of_two_grids_are_refused() -> None:
    """Neither is the grid of what comes before them."""
    file = File(2)
    x = file.quantized(file.input(1, 4))
    y = file.add("MatMul", x, file.weights(4, 4))
    outputs = [file.quantized(file.add("Relu", y), (scale, 0)) for scale in (0.01, 0.02)]

    with pytest.raises(UnsupportedOp, match="no QuantizeLinear follows it"):
        imported(file.bytes(*outputs))


def test_a_layer_with_a_grid_of_its_own_may_branch(rng: np.random.Generator) -> None:
    """What reads it reads its integers."""
    file = File(2)
    x = file.quantized(file.input(1, 4))
    y = file.quantized(file.add("MatMul", x, file.weights(4, 4)), (0.02, 0))
    outputs = [
        file.quantized(file.add(kind, y), grid)
        for kind, grid in (("Relu", (0.02, -128)), ("Sigmoid", (1 / 256, -128)))
    ]

    check(file.bytes(*outputs), rng, largest=1)


def test_another_grid_behind_the_same_integers_is_another_value(rng: np.random.Generator) -> None:
    """Rare, but legal: the integers stay, what they stand for changes."""
    file = File(3)
    q = file.add("QuantizeLinear", file.input(1, 40), *file.grid(0.05, 3))
    x = file.add("DequantizeLinear", q, *file.grid(0.1, -5))

    found = distance(file.bytes(x), rng)

    assert 0 == found.largest


def test_a_zero_point_may_be_absent(rng: np.random.Generator) -> None:
    """Then integers are uint8, or what output_dtype says, from 0 on."""
    for attributes, lowest in (({}, 0), ({"output_dtype": TensorProto.INT8}, -128)):
        file = File(4)
        scale = file.constant(np.float32(0.02))
        q = file.add("QuantizeLinear", file.input(1, 8), scale, **attributes)
        y = file.add("DequantizeLinear", q, scale)

        model = imported(file.bytes(file.quantized(file.add("Relu", y), (0.02, 0))))

        assert model.graph.tensors["x"].grid.zero_point == -128 - lowest


def refused(scale: Any, zero: Any, **attributes: Any) -> str:
    file = File(5)
    grid = [file.constant(np.asarray(scale, np.float32)), file.constant(zero)]
    q = file.add("QuantizeLinear", file.input(1, 2, 4), *grid, **attributes)
    y = file.add("DequantizeLinear", q, *grid, **attributes)
    with pytest.raises(UnsupportedOp) as caught:
        imported(file.unchecked_bytes(y))
    return str(caught.value)


@pytest.mark.parametrize("scale", [0.0, -0.1, np.nan, np.inf])
def test_scales_that_are_none_are_refused(scale: float) -> None:
    """They come out of broken calibrations, and divide every value that follows."""
    assert "positive and finite" in refused(scale, np.int8(0))


def test_what_has_no_kernel_is_refused_with_the_way_out() -> None:
    """int16 activations, a scale for each channel or for each block of them."""
    assert "int8 or uint8" in refused(0.1, np.int16(0))
    assert "one for the tensor" in refused([0.1, 0.2], np.zeros(2, np.int8), axis=1)
    assert "1 scales and 2 zero points" in refused(0.1, np.zeros(2, np.int8))
    assert "blocks of an axis" in refused(
        [[[0.1] * 2] * 2], np.zeros((1, 2, 2), np.int8), block_size=2
    )
