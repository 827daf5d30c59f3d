# SPDX-License-Identifier: Apache-2.0
"""Layers with weights against onnxruntime: every grid, width, shape and order of elements."""

from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnxruntime", reason="the interpreter that is compared with")

from codeq_compile.errors import UnsupportedOp
from codeq_compile.frontends.onnx.convert import Imported
from tests.onnx_author import File
from tests.onnx_oracle import check, imported


def kinds(model: Imported) -> list[str]:
    return [node.op.kind for node in model.graph.nodes if node.op.kind != "reshape"]


def random(file: File, *shape: int) -> str:
    return file.constant(file.rng.uniform(-1, 1, shape).astype(np.float32))


def conv(
    shape: tuple[int, ...] = (1, 3, 9, 11),
    weight: tuple[int, ...] = (8, 3, 3, 3),
    *,
    dtype: str = "int8",
    symmetric: bool = False,
    opset: int = 21,
    weights: dict[str, Any] | None = None,
    bias: bool = True,
    **attributes: Any,
) -> bytes:
    file = File(1, dtype=dtype, symmetric=symmetric, opset=opset)
    x = file.quantized(file.input(*shape))
    w = file.weights(*weight, **{"axis": 0, **(weights or {})})
    operands = [x, w, *([random(file, weight[0])] if bias else [])]
    return file.bytes(file.quantized(file.add("Conv", *operands, **attributes)))


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("axis", [None, 0])
def test_activations_of_every_grid(
    dtype: str, symmetric: bool, axis: int | None, rng: np.random.Generator
) -> None:
    """uint8 is what onnxruntime quantizes to by default: the same integers, 128 less."""
    check(conv(dtype=dtype, symmetric=symmetric, weights={"axis": axis}), rng)


@pytest.mark.parametrize("opset", [13, 15, 17, 19, 21, 23, 26])
def test_every_version_of_the_operators(opset: int, rng: np.random.Generator) -> None:
    """Exporters are years apart."""
    check(conv(opset=opset), rng)


@pytest.mark.parametrize(
    "weights",
    [
        {"dtype": "uint8", "zero_point": 128},
        {"dtype": "uint8", "zero_point": 100},
        {"dtype": "uint8", "zero_point": 100, "axis": None},
        {"dtype": "int8", "zero_point": -20},
        {"bits": 4},
        {"bits": 4, "axis": None},
        {"bits": 4, "dtype": "uint8", "zero_point": 7},
    ],
    ids=str,
)
def test_weights_of_every_grid(weights: dict[str, Any], rng: np.random.Generator) -> None:
    """A zero point of weights leaves them; a row that is too wide then gets wider steps."""
    # steps of a wide row grow by up to 2: its weights are rounded
    check(conv(weights=weights), rng, mean=0.2)


def test_four_bits_stay_four_bits() -> None:
    """Else int4 would cost the flash of int8."""
    (node,) = imported(conv(weights={"bits": 4})).graph.nodes

    assert node.weights is not None
    assert 4 == node.weights.bits


@pytest.mark.parametrize(
    ("shape", "weight", "attributes"),
    [
        ((1, 3, 9, 11), (8, 3, 3, 3), {"pads": [1, 1, 1, 1], "strides": [2, 2]}),
        ((1, 3, 9, 11), (8, 3, 3, 2), {"pads": [0, 1, 2, 1], "dilations": [2, 3]}),
        ((1, 3, 9, 11), (8, 3, 1, 1), {}),
        ((1, 6, 9, 11), (9, 2, 3, 3), {"group": 3}),
        ((1, 6, 9, 11), (6, 1, 3, 3), {"group": 6, "pads": [1, 1, 1, 1]}),
        ((1, 6, 9, 11), (12, 1, 3, 3), {"group": 6, "strides": [2, 1]}),
        ((1, 1, 9, 11), (5, 1, 3, 3), {}),
        ((1, 3, 20), (8, 3, 5), {"pads": [2, 2], "strides": [2]}),
        ((1, 4, 20), (4, 1, 3), {"group": 4, "dilations": [2]}),
        ((1, 3, 9, 11), (8, 3, 3, 3), {"auto_pad": "SAME_LOWER", "strides": [2, 3]}),
    ],
    ids=str,
)
def test_convolutions_of_every_shape(
    shape: tuple[int, ...],
    weight: tuple[int, ...],
    attributes: dict[str, Any],
    rng: np.random.Generator,
) -> None:
    """Channels come first in the file and last in memory, in images and in sequences."""
    model = check(conv(shape, weight, **attributes), rng)

    wanted = "dwconv2d" if attributes.get("group", 1) == shape[1] > 1 else "conv2d"
    assert [wanted] == kinds(model)


@pytest.mark.parametrize(
    "attributes",
    [
        {"strides": [2, 2]},
        {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1]},
        {"pads": [1, 1, 1, 1]},
        {"strides": [3, 2], "pads": [0, 1, 1, 0]},
        {"pads": [3, 3, 3, 3]},
        {"strides": [4, 4]},
        {"strides": [2, 2], "group": 2},
    ],
    ids=str,
)
def test_transposed_convolutions(attributes: dict[str, Any], rng: np.random.Generator) -> None:
    """An image with zeros in between, and weights turned around."""
    file = File(2)
    x = file.quantized(file.input(1, 4, 5, 6))
    w = file.weights(4, 3, 3, 3, axis=1)
    bias = random(file, 3 * attributes.get("group", 1))
    y = file.quantized(file.add("ConvTranspose", x, w, bias, **attributes))

    check(file.bytes(y), rng)


def test_a_transposed_convolution_of_a_sequence(rng: np.random.Generator) -> None:
    """As a strip of height 1."""
    file = File(2)
    x = file.quantized(file.input(1, 4, 9))
    y = file.add("ConvTranspose", x, file.weights(4, 3, 4, axis=1), strides=[2], pads=[1, 1])

    check(file.bytes(file.quantized(y)), rng)


@pytest.mark.parametrize("transposed", [False, True])
def test_linear_layers(transposed: bool, rng: np.random.Generator) -> None:
    """torch stores (out, in) and says so by transB."""
    file = File(3, dtype="uint8")
    x = file.quantized(file.input(1, 20))
    w = file.weights(*((7, 20) if transposed else (20, 7)), axis=int(not transposed))
    numbers = {"alpha": 0.5, "beta": 2.0, "transB": int(transposed)}
    y = file.quantized(file.add("Gemm", x, w, random(file, 7), **numbers))

    check(file.bytes(y), rng)


def test_a_matrix_product_takes_its_bias_in(rng: np.random.Generator) -> None:
    """What torch exports for a linear layer on sequences: product, sum, perhaps a function."""
    file = File(4)
    x = file.quantized(file.input(1, 6, 20))
    product = file.add("MatMul", x, file.weights(20, 7, axis=1))
    total = file.add("Relu", file.add("Add", random(file, 7), product))

    model = check(file.bytes(file.quantized(total)), rng)

    assert ["linear", "requantize"] == kinds(model)
    assert (6, 20) == model.graph.tensors["x"].shape


@pytest.mark.parametrize("kind", ["Flatten", "Reshape"])
def test_columns_of_weights_move_instead_of_pixels(kind: str, rng: np.random.Generator) -> None:
    """A flattened image has its channels first in the file, and last in memory."""
    file = File(5)
    x = file.quantized(file.input(1, 3, 6, 7))
    image = file.quantized(file.add("Conv", x, file.weights(4, 3, 3, 3, axis=0)))
    shape = [file.integers(1, -1)] if kind == "Reshape" else []
    row = file.add(kind, image, *shape)
    y = file.add("Gemm", row, file.weights(5, 80, axis=0), transB=1)

    model = check(file.bytes(file.quantized(y)), rng, largest=2, mean=0.2)

    assert ["conv2d", "linear"] == kinds(model)


def test_weights_may_be_transposed_behind_their_dequantizer(rng: np.random.Generator) -> None:
    """As torch writes them: the integers move, and the axis of the scales with them."""
    file = File(6)
    x = file.quantized(file.input(1, 20))
    w = file.add("Transpose", file.weights(7, 20, axis=0), perm=[1, 0])

    check(file.bytes(file.quantized(file.add("MatMul", x, w))), rng)


def test_weights_may_be_quantized_in_the_file(rng: np.random.Generator) -> None:
    """Floats between a quantizer and a dequantizer: rounded here, as the standard says."""
    file = File(7)
    x = file.quantized(file.input(1, 20))
    grid = file.grid(0.01, 3)
    w = file.add("QuantizeLinear", random(file, 20, 7), *grid)
    w = file.add("DequantizeLinear", w, *grid)

    check(file.bytes(file.quantized(file.add("MatMul", x, w))), rng)


def normalization(file: File, channels: int, gamma: np.ndarray | None = None) -> list[str]:
    gamma = file.rng.normal(size=channels) if gamma is None else gamma
    rest = [file.rng.normal(size=channels) for _ in range(2)]
    variance = file.rng.uniform(0.5, 2, channels)
    return [file.constant(each.astype(np.float32)) for each in (gamma, *rest, variance)]


def test_a_normalization_goes_into_the_layer_before_it(rng: np.random.Generator) -> None:
    """Factors below zero turn weights around, a factor of zero leaves the offset."""
    file = File(8)
    x = file.quantized(file.input(1, 3, 6, 7))
    y = file.add("Conv", x, file.weights(4, 3, 3, 3, axis=0), random(file, 4))
    gamma = np.array([1.5, -0.7, 0.0, 1e-9])
    y = file.add("BatchNormalization", y, *normalization(file, 4, gamma))

    model = check(file.bytes(file.quantized(y)), rng)

    assert ["conv2d"] == kinds(model)


def test_what_is_computed_per_channel_goes_into_the_layer_before_it(
    rng: np.random.Generator,
) -> None:
    """What PyTorch exports while a BatchNormalization is trained with a quantized convolution."""
    file = File(8)
    x = file.quantized(file.input(1, 3, 6, 7))

    def channels() -> str:
        return file.constant(file.rng.uniform(0.5, 2, (1, 4, 1, 1)).astype(np.float32))

    y = file.add("Conv", x, file.weights(4, 3, 3, 3, axis=0))
    y = file.add("Sub", file.add("Add", file.add("Div", y, channels()), channels()), channels())
    y = file.add("BatchNormalization", file.add("Mul", channels(), y), *normalization(file, 4))

    model = check(file.bytes(file.quantized(y)), rng)

    assert ["conv2d"] == kinds(model)


def test_what_is_no_channel_stays_a_layer() -> None:
    """A constant for each column of the image is another thing."""
    file = File(8)
    x = file.quantized(file.input(1, 3, 6, 7))
    y = file.add("Conv", x, file.weights(4, 3, 3, 3, axis=0))
    y = file.add("Add", y, file.constant(np.ones(5, np.float32)))

    with pytest.raises(UnsupportedOp, match="no QuantizeLinear follows it"):
        imported(file.bytes(file.quantized(y)))


def test_a_normalization_alone_is_a_layer(rng: np.random.Generator) -> None:
    """Before the first convolution, say."""
    file = File(9)
    x = file.quantized(file.input(1, 4, 6, 7))
    y = file.add("BatchNormalization", x, *normalization(file, 4))

    model = check(file.bytes(file.quantized(y)), rng)

    assert ["dwconv2d"] == kinds(model)


def test_a_bias_of_the_file_keeps_its_integers() -> None:
    """Rounded again it could be another one."""
    file = File(10)
    x = file.quantized(file.input(1, 2), (0.03, 0))
    w = file.add("DequantizeLinear", file.constant(np.eye(2, dtype=np.int8)), *file.grid(0.7, 0))
    integers = np.array([2**28 + 1, -7], np.int32)
    product = np.float32(np.float32(0.03) * np.float32(0.7))
    bias = file.add("DequantizeLinear", file.constant(integers), file.constant(product))
    y = file.quantized(file.add("Gemm", x, w, bias), (1e6, 0))

    (node,) = imported(file.bytes(y)).graph.nodes

    assert node.bias is not None
    np.testing.assert_array_equal(integers, node.bias)


def refused(build: Any) -> str:
    file = File(11)
    with pytest.raises(UnsupportedOp) as caught:
        imported(file.unchecked_bytes(file.quantized(build(file), (0.1, 0))))
    return str(caught.value)


def test_what_cannot_be_is_refused_with_the_way_out() -> None:
    """Each has a remedy in the tool that wrote the file."""

    def image(file: File, batch: int = 1) -> str:
        return file.quantized(file.input(batch, 4, 8, 8), (0.1, 0))

    def row(file: File) -> str:
        return file.quantized(file.input(1, 4), (0.1, 0))

    assert "quantize them to int8" in refused(
        lambda f: f.add("Conv", image(f), random(f, 2, 4, 3, 3))
    )
    assert "must be constant" in refused(lambda f: f.add("Conv", x := image(f), x))
    assert "batch of 1" in refused(lambda f: f.add("Conv", image(f, 2), f.weights(2, 4, 3, 3)))
    assert "per output channel" in refused(
        lambda f: f.add("Conv", image(f), f.weights(2, 4, 3, 3, axis=1))
    )
    assert "do not fit 3 groups" in refused(
        lambda f: f.add("Conv", image(f), f.weights(3, 4, 3, 3), group=3)
    )
    assert "no last axis of 5" in refused(lambda f: f.add("MatMul", row(f), f.weights(5, 2)))
    assert "transposes its first" in refused(
        lambda f: f.add("Gemm", row(f), f.weights(1, 2), transA=1)
    )
    assert "give it as pads" in refused(
        lambda f: f.add("ConvTranspose", image(f), f.weights(4, 2, 3, 3), output_shape=[9, 9])
    )
    assert "leave nothing" in refused(
        lambda f: f.add("ConvTranspose", image(f), f.weights(4, 2, 1, 1), pads=[4, 4, 4, 4])
    )
    assert "not finite" in refused(
        lambda f: f.add("Gemm", row(f), f.weights(4, 1), f.constant(np.float32([np.nan])))
    )
