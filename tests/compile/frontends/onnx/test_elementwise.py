# SPDX-License-Identifier: Apache-2.0
"""Functions, sums, products and rows against onnxruntime."""

from collections.abc import Callable

import numpy as np
import pytest

pytest.importorskip("onnxruntime", reason="the interpreter that is compared with")

from codeq_compile.errors import UnsupportedOp
from codeq_compile.frontends.onnx.convert import Imported
from tests.onnx_author import File
from tests.onnx_oracle import check, imported

Build = Callable[[File], str]


def image(file: File) -> str:
    return file.quantized(file.input(1, 4, 6, 5))


def built(build: Build, **options: object) -> bytes:
    file = File(1, **options)
    return file.bytes(file.quantized(build(file)))


def kinds(model: Imported) -> list[str]:
    return [node.op.kind for node in model.graph.nodes if node.op.kind != "reshape"]


FUNCTIONS = [
    *("Sigmoid", "Tanh", "HardSwish", "HardSigmoid", "LeakyRelu", "Elu", "Selu", "Celu", "Gelu"),
    *("ThresholdedRelu", "Softplus", "Softsign", "Mish", "Erf", "Abs", "Neg", "Exp", "Sign"),
]


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_a_function_is_a_table(kind: str, rng: np.random.Generator) -> None:
    """Each of the 256 values is the nearest one."""
    model = check(built(lambda f: f.add(kind, image(f)), opset=22), rng)

    assert ["lut"] == kinds(model)


@pytest.mark.parametrize("kind", ["Sqrt", "Log", "Reciprocal"])
def test_functions_of_positive_numbers(kind: str, rng: np.random.Generator) -> None:
    """Where limits before them keep the others away."""

    def build(file: File) -> str:
        low, high = (file.constant(np.float32(v)) for v in (0.5, 3))
        return file.add(kind, file.add("Clip", image(file), low, high))

    check(built(build), rng)
    with pytest.raises(UnsupportedOp, match="not a number"):
        imported(built(lambda f: f.add("Log", image(f))))


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_both_forms_of_gelu(approximate: str, rng: np.random.Generator) -> None:
    """They differ by more than a step."""
    check(built(lambda f: f.add("Gelu", image(f), approximate=approximate)), rng)


def test_functions_of_functions_are_one_table(rng: np.random.Generator) -> None:
    """x · sigmoid(x), or what exporters write for HardSwish, is left in floats by quantizers."""

    def silu(file: File) -> str:
        x = image(file)
        return file.add("Mul", x, file.add("Sigmoid", x))

    def hard_swish(file: File) -> str:
        x = image(file)
        three, zero, six = (file.constant(np.float32(v)) for v in (3, 0, 6))
        inner = file.add("Clip", file.add("Add", x, three), zero, six)
        return file.add("Div", file.add("Mul", x, inner), six)

    assert ["lut"] == kinds(check(built(silu), rng))
    # the Clip of a sum, which is a function, is one too
    assert ["lut"] == kinds(check(built(hard_swish), rng))


def test_a_function_without_a_grid_gets_the_finest(rng: np.random.Generator) -> None:
    """Squeeze and excitation, where only sums and products are quantized."""

    def build(file: File) -> str:
        x = image(file)
        mean = file.quantized(file.add("GlobalAveragePool", x))
        return file.add("Mul", x, file.add("HardSigmoid", mean))

    # the factor has a rounding of its own, and so has the mean
    model = check(built(build), rng, largest=2, mean=0.5)

    assert ["mean", "lut", "mul"] == kinds(model)


@pytest.mark.parametrize("kind", ["Add", "Sub", "Mul", "Max", "Min"])
@pytest.mark.parametrize("operand", ["image", "channels", "constant", "first", "scalar", "itself"])
def test_two_operands(kind: str, operand: str, rng: np.random.Generator) -> None:
    """Images, a value for each channel, and constants on either side."""

    def build(file: File) -> str:
        x = image(file)
        reals = file.rng.normal(size=(4, 1, 1)).astype(np.float32)
        other = {
            "image": lambda: file.quantized(file.input(1, 4, 6, 5, name="z", reach=1.0)),
            "channels": lambda: file.quantized(file.input(1, 4, 1, 1, name="z", reach=1.0)),
            "constant": lambda: file.constant(reals),
            "first": lambda: file.weights(1, 4, 6, 5),
            "scalar": lambda: file.constant(np.float32(0.7)),
            "itself": lambda: x,
        }[operand]()
        return file.add(kind, *((other, x) if operand == "first" else (x, other)))

    # a constant of floats is rounded to int8; operands of Max and Min go on the output's grid first
    is_rounded_twice = operand == "constant" or kind in {"Max", "Min"}
    check(built(build, dtype="uint8"), rng, mean=0.3 if is_rounded_twice else 0.1)


def test_a_constant_keeps_its_integers() -> None:
    """Rounded to another grid it would be another constant."""
    file = File(2)
    x = image(file)
    y = file.add("Add", x, file.weights(1, 4, 1, 1))
    model = imported(file.bytes(file.quantized(y))).graph

    ((name, stored),) = model.constants.items()
    grid = model.tensors[name].grid
    expected = file.values(file.nodes[-3].input[1])[0].reshape(-1)
    assert grid is not None
    np.testing.assert_array_equal(expected, grid.dequantize(stored).reshape(-1))


@pytest.mark.parametrize("slopes", [(4, 1, 1), (1,)])
def test_slopes_for_each_channel(slopes: tuple[int, ...], rng: np.random.Generator) -> None:
    """One for all is a table."""
    model = check(
        built(
            lambda f: f.add(
                "PRelu", image(f), f.constant(f.rng.uniform(0, 1, slopes).astype(np.float32))
            )
        ),
        rng,
    )

    assert ["prelu" if len(slopes) > 1 else "lut"] == kinds(model)


def test_limits_belong_to_the_layer_before() -> None:
    """A layer of its own for a ReLU costs a pass over the image."""
    file = File(3)
    x = image(file)
    y = file.add("Conv", x, file.weights(4, 4, 1, 1))
    y = file.quantized(file.add("Clip", y, *(file.constant(np.float32(v)) for v in (0, 1))))

    nodes = imported(file.bytes(y)).graph.nodes

    assert ["conv2d", "requantize"] == [node.op.kind for node in nodes]
    assert nodes[0].output == nodes[1].inputs[0]


@pytest.mark.parametrize("shape", [(1, 12), (1, 5, 12)])
@pytest.mark.parametrize("quantized", [False, True])
def test_rows_of_probabilities(
    shape: tuple[int, ...], quantized: bool, rng: np.random.Generator
) -> None:
    """Fixed point in steps of 1/256, then the file's, which may be finer."""
    file = File(4)
    y = file.add("Softmax", file.quantized(file.input(*shape)))

    data = file.bytes(file.quantized(y) if quantized else y)

    check(data, rng, largest=2, mean=1)


def test_probabilities_of_channels(rng: np.random.Generator) -> None:
    """In memory they stand beside each other: nothing is moved."""
    file = File(5)
    y = file.add("Conv", image(file), file.weights(4, 4, 1, 1))
    y = file.add("Softmax", file.quantized(y), axis=1)

    # a step of the convolution's output is some of a probability
    model = check(file.bytes(y), rng, largest=16, mean=0.6)

    assert ["conv2d", "softmax"] == kinds(model)


def test_what_cannot_be_is_refused_with_the_way_out() -> None:
    """The limits of the kernels, in words."""

    def refused(build: Build) -> str:
        file = File(6)
        with pytest.raises(UnsupportedOp) as caught:
            imported(file.unchecked_bytes(file.quantized(build(file), (0.1, 0))))
        return str(caught.value)

    def x(file: File, *shape: int, name: str = "x") -> str:
        return file.quantized(file.input(*(shape or (1, 4, 6, 5)), name=name), (0.1, 0))

    assert "for each channel" in refused(
        lambda f: f.add("Add", x(f), f.constant(np.ones((6, 5), np.float32)))
    )
    assert "would both repeat" in refused(
        lambda f: f.add("Add", x(f, 1, 4, 1), x(f, 1, 1, 3, name="z"))
    )
    assert "one constant number" in refused(lambda f: f.add("Div", x(f), x(f, name="z")))
    assert "2 are possible" in refused(lambda f: f.add("Max", x(f), x(f, name="z"), "x"))
    assert "lower" not in refused(
        lambda f: f.add("Clip", x(f), f.constant(np.float32(2)), f.constant(np.float32(1)))
    )
    assert "changes the type" in refused(lambda f: f.add("Cast", x(f), to=1))
    assert "not finite" in refused(lambda f: f.add("LeakyRelu", x(f), alpha=float("nan")))
