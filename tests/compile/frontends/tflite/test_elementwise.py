# SPDX-License-Identifier: Apache-2.0
"""Imported sums, products and functions against TFLite Micro's kernels."""

import numpy as np
import pytest

pytest.importorskip("tflite_micro", reason="needs the package tflite-micro, the oracle")

from codeq_compile.errors import UnsupportedOp
from codeq_compile.frontends.tflite import Kernels
from codeq_compile.ops.lut import Lut
from codeq_compile.ops.requantize import Requantize
from tests import imports, oracle
from tests.graphs import Case
from tests.tflite_author import File


@pytest.mark.parametrize("case", imports.cases("add", "mul", "requantize", "softmax"), ids=str)
def test_an_elementwise_layer_is_the_foreign_one(case: Case) -> None:
    """Broadcasts, clamps and grids of their own."""
    imports.check_case(case)


@pytest.mark.parametrize("kind", ["ADD", "MUL"])
def test_the_smaller_operand_may_come_first(kind: str, rng: np.random.Generator) -> None:
    """TFLite repeats either side; codeq's op the second, and so nothing is copied."""
    file = File()
    a = file.tensor((1, 1, 1, 4), scale=0.1, zero_point=4)
    b = file.tensor((1, 3, 2, 4), scale=0.07, zero_point=-20)
    y = file.tensor((1, 3, 2, 4), scale=0.15, zero_point=1)
    file.operator(kind, [a, b], [y], f"{kind.title()}Options")

    imports.check(rng, file, [a, b], [y])


@pytest.mark.parametrize("b", [(1, 3, 2, 4), (4,), (1, 1, 1, 4), (1,)], ids=str)
@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("kind", ["SUB", "MAXIMUM", "MINIMUM", "PRELU"])
def test_two_operands_are_the_foreign_ones(
    kind: str, constant: bool, b: tuple[int, ...], rng: np.random.Generator
) -> None:
    """Differences, extremes and slopes, of tensors and of constants."""
    is_extremum = kind in {"MAXIMUM", "MINIMUM"}
    grids = [(0.1, 4)] * 3 if is_extremum else [(0.1, 4), (0.07, -20), (0.15, 1)]
    file = File()
    x = file.tensor((1, 3, 2, 4), scale=grids[0][0], zero_point=grids[0][1])
    arguments = {"scale": grids[1][0], "zero_point": grids[1][1]}
    values = rng.integers(-128, 128, b).astype(np.int8)
    other = file.constant(values, **arguments) if constant else file.tensor(b, **arguments)
    y = file.tensor((1, 3, 2, 4), scale=grids[2][0], zero_point=grids[2][1])
    file.operator(kind, [x, other], [y], "SubOptions" if kind == "SUB" else None)

    imports.check(rng, file, [x] if constant else [x, other], [y])


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((1, 3, 2, 4), (1, 3, 2, 1)),
        ((1, 3, 2, 4), (1, 3, 1, 4)),
        ((1, 3, 1, 4), (1, 1, 2, 4)),
        ((1, 2, 1), (1, 3, 1, 4)),
        ((4,), (1, 3, 2, 4)),
        ((1, 1, 1, 1), (1, 3, 2, 4)),
    ],
    ids=str,
)
@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("kind", ["ADD", "SUB", "MUL", "MAXIMUM"])
def test_both_operands_repeat_along_their_axes_of_one(
    kind: str, constant: bool, a: tuple[int, ...], b: tuple[int, ...], rng: np.random.Generator
) -> None:
    """A mask of each pixel has one channel, a gate one row: TFLite repeats either."""
    grids = [(0.1, 4)] * 3 if kind == "MAXIMUM" else [(0.1, 4), (0.07, -20), (0.15, 1)]
    (x_scale, x_zero), (c_scale, c_zero), (y_scale, y_zero) = grids
    file = File()
    x = file.tensor(a, scale=x_scale, zero_point=x_zero)
    values = rng.integers(-128, 128, b).astype(np.int8) if constant else None
    other = file.tensor(b, scale=c_scale, zero_point=c_zero, data=values)
    y = file.tensor(np.broadcast_shapes(a, b), scale=y_scale, zero_point=y_zero)
    options = None if kind == "MAXIMUM" else f"{kind.title()}Options"
    file.operator(kind, [x, other], [y], options)

    imports.check(rng, file, [x] if constant else [x, other], [y])


@pytest.mark.parametrize("shape", [(1,), (1, 4)])
def test_a_constant_of_another_type_is_refused(shape: tuple[int, ...]) -> None:
    """Its lowest byte would be taken for its value."""
    file = File()
    x, y = (file.tensor((1, 4), scale=0.1) for _ in range(2))
    c = file.constant(np.full(shape, 300, np.int32), scale=0.1)
    file.operator("ADD", [x, c], [y], "AddOptions")

    with pytest.raises(UnsupportedOp, match=r"its constant .* is int32.*, and int8 is expected"):
        imports.imported(file, [x], [y])


def test_operands_that_do_not_repeat_are_refused() -> None:
    """Two axes that differ are a mistake of whoever wrote the file."""
    file = File()
    a, b, y = (file.tensor(shape, scale=0.1) for shape in ((1, 3, 4), (1, 2, 4), (1, 3, 4)))
    file.operator("ADD", [a, b], [y], "AddOptions")

    with pytest.raises(UnsupportedOp, match=r"int8\[1,3,4\] and int8\[1,2,4\] do not repeat"):
        imports.imported(file, [a, b], [y])


def test_a_constant_may_be_subtracted_from(rng: np.random.Generator) -> None:
    """1 - x, say, is a table."""
    file = File()
    c = file.constant(np.array([100], np.int8), scale=0.01)
    x = file.tensor((1, 3, 2, 4), scale=0.1, zero_point=4)
    y = file.tensor((1, 3, 2, 4), scale=0.15, zero_point=1)
    file.operator("SUB", [c, x], [y], "SubOptions")

    imports.check(rng, file, [x], [y])


@pytest.mark.parametrize("kind", ["ADD", "MUL"])
@pytest.mark.parametrize("constant_first", [False, True])
def test_a_constant_of_one_element_becomes_a_table(
    kind: str, constant_first: bool, rng: np.random.Generator
) -> None:
    """A folded batch normalization of the input looks like this."""
    file = File()
    x = file.tensor((1, 3, 2, 4), scale=0.07, zero_point=-20)
    c = file.constant(np.array([77], np.int8), scale=0.01, zero_point=3)
    y = file.tensor((1, 3, 2, 4), scale=0.05, zero_point=1)
    operands = [c, x] if constant_first else [x, c]
    file.operator(kind, operands, [y], f"{kind.title()}Options", fusedActivationFunction=1)

    imports.check(rng, file, [x], [y])
    assert Lut() == imports.imported(file, [x], [y]).nodes[0].op


@pytest.mark.parametrize("kind", ["ADD", "MUL"])
@pytest.mark.parametrize("shape", [(4,), (1, 1, 1, 4), (2, 4), (1, 3, 2, 4)])
def test_a_constant_tensor_is_an_operand(
    kind: str, shape: tuple[int, ...], rng: np.random.Generator
) -> None:
    """A normalization that could not be folded has a number for each channel."""
    file = File()
    x = file.tensor((1, 3, 2, 4), scale=0.07, zero_point=-20)
    c = file.constant(rng.integers(-128, 128, shape).astype(np.int8), scale=0.01, zero_point=-30)
    y = file.tensor((1, 3, 2, 4), scale=0.05, zero_point=1)
    file.operator(kind, [c, x], [y], f"{kind.title()}Options")

    imports.check(rng, file, [x], [y])


@pytest.mark.parametrize("kind", ["RELU", "RELU6"])
@pytest.mark.parametrize("same_grid", [False, True])
def test_a_relu_of_its_own_is_the_foreign_one(
    kind: str, same_grid: bool, rng: np.random.Generator
) -> None:
    """RELU requantizes, RELU6 copies, and only some files keep the grid."""
    x, y = (0.08, -30), (0.08, -30) if same_grid else (0.05, -100)

    imports.check(rng, *imports.unary(kind, x, y))


def test_relu_n1_to_1_is_a_clamp_of_one() -> None:
    """No interpreter at hand has it: the limits follow from the grid. [N3.2]"""
    file, inputs, outputs = imports.unary("RELU_N1_TO_1", (0.25, 3), (0.25, 3))

    assert Requantize(clamp=(-1, 7)) == imports.imported(file, inputs, outputs).nodes[0].op


@pytest.mark.parametrize(
    ("kind", "options", "y"),
    [
        ("LOGISTIC", None, (1 / 256, -128)),
        ("TANH", None, (1 / 128, 0)),
        ("HARD_SWISH", "HardSwishOptions", (0.06, -120)),
        ("LEAKY_RELU", "LeakyReluOptions", (0.07, -90)),
    ],
)
def test_a_function_becomes_a_table(
    kind: str, options: str | None, y: tuple[float, int], rng: np.random.Generator
) -> None:
    """The tables themselves are compared on many grids in test_functions.py. [lut-C4]"""
    fields = {"alpha": 0.1} if kind == "LEAKY_RELU" else {}
    file, inputs, outputs = imports.unary(kind, (0.06, -10), y, options, **fields)

    imports.check(rng, file, inputs, outputs)
    assert Lut() == imports.imported(file, inputs, outputs).nodes[0].op


@pytest.mark.parametrize("kind", ["LOGISTIC", "TANH", "HARD_SWISH", "LEAKY_RELU", "RELU"])
def test_other_kernels_give_other_tables(kind: str) -> None:
    """Whoever measured a model with an older interpreter can have its integers.

    The grids were found by search: on most of them all kernels agree.
    """
    x, y = {
        "LOGISTIC": ((0.050169676542282104, 92), (1 / 256, -128)),
        "TANH": ((0.233966663479805, -91), (1 / 128, 0)),
        "HARD_SWISH": ((0.057988978922367096, 33), (0.026874423027038574, -40)),
        "LEAKY_RELU": ((0.01296094711869955, -83), (0.02195736952126026, 1)),
        "RELU": ((0.34474384784698486, 48), (0.11157684773206711, -104)),
    }[kind]
    options = {"HARD_SWISH": "HardSwishOptions", "LEAKY_RELU": "LeakyReluOptions"}.get(kind)
    fields = {"alpha": 0.3960627615451813} if kind == "LEAKY_RELU" else {}
    file, inputs, outputs = imports.unary(kind, x, y, options, **fields)
    tables = []
    for kernels in (Kernels.TFLM, Kernels.TFLITE):
        graph = oracle.convert(file.bytes(inputs, outputs), kernels)[1].graph
        (node,) = graph.nodes
        params = node.op.lower(node, graph.input_types(node), graph.output_type(node))
        values = np.arange(-128, 128).astype(np.int8)[None]
        tables.append(node.op.simulate(params, values).astype(int))

    assert 1 == np.abs(tables[0] - tables[1]).max()


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (("INT16", 0.0006, 0), ("INT8", 0.06, -12)),
        (("INT8", 0.06, -12), ("INT16", 0.001, 0)),
        (("INT8", 0.06, -12), ("INT32", 0.00001, 0)),
        (("INT16", 1.5e-5, -32768), ("INT32", 3.1e-5, 0)),
        (("INT16", 0.0006, 0), ("INT16", 0.0009, 0)),
    ],
    ids=lambda tensor: tensor[0],
)
def test_elements_of_another_width_are_converted(
    x: tuple[str, float, int], y: tuple[str, float, int], rng: np.random.Generator
) -> None:
    """Audio comes in 16 bits, and some models give 32."""
    file = File()
    a, b = (file.tensor((1, 300), k, scale=scale, zero_point=zero) for k, scale, zero in (x, y))
    file.operator("QUANTIZE", [a], [b])

    imports.check(rng, file, [a], [b])


@pytest.mark.parametrize("depth", [2, 12, 100])
def test_a_softmax_of_16_bits_is_the_foreign_one(depth: int, rng: np.random.Generator) -> None:
    """Its output's step is called 1/65536 or 1/65535; the integers are the same."""
    file = File()
    x = file.tensor((1, depth), scale=0.07, zero_point=2)
    y = file.tensor((1, depth), "INT16", scale=1.5259021893143654e-05, zero_point=-32768)
    file.operator("SOFTMAX", [x], [y], "SoftmaxOptions", beta=1.0)

    imports.check(rng, file, [x], [y])


def test_floats_at_the_borders_become_integers(rng: np.random.Generator) -> None:
    """The caller of the C quantizes with the macros of its header, and dequantizes."""
    file = File()
    x = file.tensor((1, 8), "FLOAT32", name="x")
    a, b = (file.tensor((1, 8), scale=s, zero_point=3) for s in (0.1, 0.2))
    y = file.tensor((1, 8), "FLOAT32", name="y")
    file.operator("QUANTIZE", [x], [a])
    file.operator("QUANTIZE", [a], [b])
    file.operator("DEQUANTIZE", [b], [y], "DequantizeOptions")

    graph = imports.imported(file, [x], [y])

    assert (("x",), 1) == (graph.inputs, len(graph.nodes))
    imports.check(rng, file, [x], [y])


def test_floats_inside_are_refused() -> None:
    """There is no float in the C: a layer that needs one cannot be converted."""
    file = File()
    x = file.tensor((1, 8), scale=0.1)
    real, doubled = (file.tensor((1, 8), "FLOAT32") for _ in range(2))
    y = file.tensor((1, 8), scale=0.2)
    file.operator("DEQUANTIZE", [x], [real], "DequantizeOptions")
    file.operator("ADD", [real, real], [doubled], "AddOptions")
    file.operator("QUANTIZE", [doubled], [y])

    with pytest.raises(UnsupportedOp, match="reads float32") as caught:
        imports.imported(file, [x], [y])

    assert 2 == len(caught.value.reasons)
