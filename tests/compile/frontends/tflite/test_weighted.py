# SPDX-License-Identifier: Apache-2.0
"""Imported convolutions and fully connected layers against TFLite Micro's kernels."""

import re
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tflite_micro", reason="needs the package tflite-micro, the oracle")

from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as schema

from codeq_compile import passes, target
from codeq_compile.errors import UnsupportedOp
from codeq_compile.frontends.tflite import Kernels
from codeq_compile.ir import Graph
from codeq_compile.ops.linear import Linear
from codeq_compile.plan import plan
from tests import imports, oracle
from tests.graphs import Case
from tests.tflite_author import File


@pytest.mark.parametrize("case", imports.cases("conv2d", "dwconv2d", "linear"), ids=str)
def test_a_layer_with_weights_is_the_foreign_one(case: Case) -> None:
    """Padding, groups, dilation, clamps: each has its own convention in the file."""
    imports.check_case(case)


def linear(
    codes: Any, kind: str = "INT8", *, scale: Any = 0.02, zero_point: int = 0, **weights: Any
) -> tuple[File, int, int]:
    """A file with one fully connected layer."""
    file = File()
    rows, columns = np.shape(codes)
    x = file.tensor((1, columns), scale=0.1, zero_point=-5, name="x")
    data = weights.pop("data", np.asarray(codes, np.int8))
    w = file.tensor(
        (rows, columns), kind, data=data, scale=scale, zero_point=zero_point, name="w", **weights
    )
    b = file.constant(np.arange(rows, dtype=np.int32) * 50)
    y = file.tensor((1, rows), scale=0.5, zero_point=3, name="y")
    file.operator("FULLY_CONNECTED", [x, w, b], [y], "FullyConnectedOptions")
    return file, x, y


def test_the_lowest_weight_of_int8_is_kept(rng: np.random.Generator) -> None:
    """-128 has no mirror image, and files that were not made by the usual converter hold it."""
    codes = rng.integers(-128, 128, (5, 30))
    codes[2] = -128
    file, x, y = linear(codes)

    imports.check(rng, file, [x], [y])


@pytest.mark.parametrize("low", [-8, -7])
def test_weights_of_int4_stay_of_four_bits(rng: np.random.Generator, low: int) -> None:
    """Unpacked to 8 bits a model would need twice its flash."""
    codes = rng.integers(low, 8, (6, 10))
    codes[0, 0] = low
    packed = (codes.reshape(-1, 2) & 15) << [0, 4]
    file, x, y = linear(codes, "INT4", data=packed.sum(axis=1).astype(np.uint8).tobytes())

    imports.check(rng, file, [x], [y])
    (node,) = imports.imported(file, [x], [y]).nodes
    assert node.weights is not None
    assert 4 == node.weights.bits
    np.testing.assert_array_equal(codes, node.weights.values)


def test_a_zero_point_of_the_weights_is_taken_off(rng: np.random.Generator) -> None:
    """Old per-tensor models have one; the kernel subtracts it from every weight."""
    file, x, y = linear(rng.integers(-100, 100, (4, 20)), zero_point=17)

    imports.check(rng, file, [x], [y])


def test_an_image_is_flattened_without_an_operator(rng: np.random.Generator) -> None:
    """Converters leave the reshape out: the kernel takes whatever is as long as a row."""
    file = File()
    x = file.tensor((1, 2, 3, 4), scale=0.1, zero_point=4)
    w = file.constant(rng.integers(-127, 128, (5, 24)).astype(np.int8), scale=0.01)
    y = file.tensor((1, 5), scale=0.3)
    file.operator("FULLY_CONNECTED", [x, w, -1], [y], "FullyConnectedOptions")

    imports.check(rng, file, [x], [y])


def test_the_product_of_the_scales_is_that_of_the_chosen_kernels() -> None:
    """Kernels up to 2026 round it to float32, which moves some results by one step. [linear-C8]

    The scales were found by search: their multipliers differ.
    """
    graphs: list[Graph] = []
    for kernels in (Kernels.TFLM, Kernels.TFLM_FLOAT32, Kernels.TFLITE):
        file, x, y = linear(np.ones((2, 3)), scale=np.float32(0.0173))
        graphs.append(oracle.convert(file.bytes([x], [y]), kernels)[1].graph)

    ops = [graph.nodes[0].op for graph in graphs]
    assert [False, True, True] == [op.float32_product for op in ops if isinstance(op, Linear)]
    params = [
        graph.nodes[0].op.lower(graph.nodes[0], (graph.tensors["x"],), graph.tensors["y"])
        for graph in graphs
    ]
    assert params[0].requant.multiplier[0] != params[1].requant.multiplier[0]
    assert params[1].requant.multiplier[0] == params[2].requant.multiplier[0]


def test_weights_of_several_scales_are_multiplied_in_double() -> None:
    """All kernels did so always: float32 there would be wrong for every one of them."""
    file, x, y = linear(np.ones((2, 3)), scale=[0.0173, 0.02])

    graph = oracle.convert(file.bytes([x], [y]), Kernels.TFLM_FLOAT32)[1].graph

    assert Linear() == graph.nodes[0].op


def test_sparse_weights_are_read_and_stay_sparse(rng: np.random.Generator) -> None:
    """The zeros are not in the file, and need not be in flash."""
    codes = rng.integers(1, 100, (8, 40))
    codes[rng.random(codes.shape) < 0.9] = 0
    sparse, x, y = linear(codes, data=codes[codes != 0].astype(np.int8))
    segments = np.concatenate([[0], np.cumsum((codes != 0).sum(axis=1))]).tolist()
    columns = np.nonzero(codes)[1].tolist()
    sparse.graph.tensors[1].sparsity = imports.compressed_rows(segments, columns, rows=8)

    graph = imports.imported(sparse, [x], [y])

    (node,) = graph.nodes
    assert node.weights is not None
    np.testing.assert_array_equal(codes, node.weights.values)
    (layer,) = plan(passes.run(graph), target.load("host")).layers
    assert layer.packed is not None
    assert layer.packed.packing in {"bitmask", "rle"}


def test_weights_behind_densify_are_those_of_the_layer(rng: np.random.Generator) -> None:
    """The converter puts one before every convolution with sparse weights."""
    codes = rng.integers(1, 100, (8, 1, 1, 40)).astype(np.int8)
    codes[rng.random(codes.shape) < 0.9] = 0
    graphs = []
    for sparse in (False, True):
        file = File()
        x = file.tensor((1, 3, 2, 40), scale=0.1, zero_point=-5)
        y = file.tensor((1, 3, 2, 8), scale=0.5, zero_point=3)
        data = codes[codes != 0] if sparse else codes
        w = stored = file.tensor(codes.shape, data=data, scale=0.02)
        if sparse:
            rows = codes.reshape(8, 40)
            segments = np.concatenate([[0], np.cumsum((rows != 0).sum(axis=1))]).tolist()
            columns = np.nonzero(rows)[1].tolist()
            sparsity = imports.compressed_rows(segments, columns, rows=8)
            ones = [schema.DimensionMetadataT() for _ in range(2)]
            for each in ones:
                each.format, each.denseSize = schema.DimensionType.DENSE, 1
            first, last = sparsity.dimMetadata
            sparsity.traversalOrder, sparsity.dimMetadata = [0, 1, 2, 3], [first, *ones, last]
            file.graph.tensors[stored].sparsity = sparsity
            w = file.tensor(codes.shape, scale=0.02)
            file.operator("DENSIFY", [stored], [w], "DensifyOptions")
        fields = {"strideH": 1, "strideW": 1}
        file.operator("CONV_2D", [x, w, -1], [y], "Conv2DOptions", **fields)
        graphs.append(imports.imported(file, [x], [y]))

    (plain,), (behind,) = (graph.nodes for graph in graphs)
    assert plain.weights is not None
    assert behind.weights is not None
    np.testing.assert_array_equal(plain.weights.values, behind.weights.values)
    assert (plain.op, plain.weights.scale.tolist()) == (behind.op, behind.weights.scale.tolist())


def test_densify_of_another_shape_is_refused(rng: np.random.Generator) -> None:
    """Its values would be read in another order."""
    file, x, y = linear(np.ones((2, 3)))
    dense = file.tensor((3, 2), scale=0.02)
    file.operator("DENSIFY", [1], [dense], "DensifyOptions")

    with pytest.raises(UnsupportedOp, match=r"DENSIFY .* makes int8\[3,2\] of int8\[2,3\]"):
        imports.imported(file, [x], [y])


@pytest.mark.parametrize("same", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("kernel", "stride"),
    [((3, 3), (2, 2)), ((2, 2), (2, 2)), ((4, 3), (2, 3)), ((1, 1), (2, 2)), ((3, 5), (1, 1))],
    ids=str,
)
def test_an_enlarging_convolution_is_the_foreign_one(
    kernel: tuple[int, int],
    stride: tuple[int, int],
    bias: bool,
    same: bool,
    rng: np.random.Generator,
) -> None:
    """Each input pixel is spread over the output: what is cut off, and where, is a convention."""
    file = File()
    h, w = 4, 5
    valid = [(n - 1) * s + max(k, s) for n, s, k in zip((h, w), stride, kernel, strict=True)]
    sides = [h * stride[0], w * stride[1]] if same else valid
    x = file.tensor((1, h, w, 3), scale=0.05, zero_point=-11)
    shape = file.constant(np.array([1, *sides, 4], np.int32))
    codes = rng.integers(-127, 128, (4, *kernel, 3)).astype(np.int8)
    weights = file.constant(codes, scale=[0.01, 0.02, 0.015, 0.03], axis=0)
    operands = [shape, weights, x]
    if bias:
        scale = np.float32(0.05) * np.array([0.01, 0.02, 0.015, 0.03], np.float32)
        operands.append(file.constant(rng.integers(-999, 999, 4).astype(np.int32), scale=scale))
    y = file.tensor((1, *sides, 4), scale=0.1, zero_point=-20)
    fields = {
        "padding": 0 if same else 1,
        "strideH": stride[0],
        "strideW": stride[1],
        "fusedActivationFunction": 1 if bias else 0,
    }
    file.operator("TRANSPOSE_CONV", operands, [y], "TransposeConvOptions", **fields)

    imports.check(rng, file, [x], [y])


def svdf(
    rng: np.random.Generator, kind: str, rank: int = 1, state: tuple[float, int] = (0.004, 0)
) -> tuple[File, int, int]:
    """A file with one SVDF layer of 6 filters that remember 5 features."""
    bits = {"INT8": 8, "INT16": 16}[kind]
    file = File()
    x = file.tensor((1, 20), scale=0.05, zero_point=-11, name="x")
    w = file.constant(rng.integers(-128, 128, (6, 20)).astype(np.int8), scale=0.01)
    limits = -(1 << (bits - 1)), 1 << (bits - 1)
    time = file.constant(
        rng.integers(*limits, (6, 5)).astype(f"int{bits}"), scale=2.0 ** (1 - bits)
    )
    units = 6 // rank
    bias_scale = np.float32(state[0]) * np.float32(2.0 ** (1 - bits))
    b = file.constant(rng.integers(-99, 99, units).astype(np.int32), scale=bias_scale)
    s = file.tensor((1, 30), kind, scale=state[0], zero_point=state[1], is_variable=True)
    y = file.tensor((1, units), scale=0.01 * rank, zero_point=-128, name="y")
    fields = {"rank": rank, "fusedActivationFunction": 1}
    file.operator("SVDF", [x, w, time, b, s], [y], "SVDFOptions", **fields)
    return file, x, y


@pytest.mark.parametrize(
    ("kind", "rank", "state"),
    [
        ("INT16", 1, (0.004, 0)),
        ("INT16", 2, (0.0001, 0)),
        ("INT8", 1, (0.5, -50)),
        ("INT8", 3, (0.03, 90)),
    ],
)
def test_a_layer_with_a_memory_is_the_foreign_one(
    kind: str, rank: int, state: tuple[float, int], rng: np.random.Generator
) -> None:
    """Consecutive inferences of one interpreter: each must remember what the foreign one does."""
    file, x, y = svdf(rng, kind, rank, state)

    imports.check(rng, file, [x], [y], samples=20)


@pytest.mark.parametrize(
    ("kinds", "message"),
    [
        ({4: 9}, "its state is int8"),
        ({2: 0, 4: 0}, "its state is float32"),
        ({3: 0}, "its bias is float32"),
    ],
)
def test_a_memory_of_another_kind_is_refused(
    kinds: dict[int, int], message: str, rng: np.random.Generator
) -> None:
    """The kernel reads state and time weights as one type, and the biases as int32."""
    file, x, y = svdf(rng, "INT16")
    for tensor, kind in kinds.items():
        file.graph.tensors[tensor].type = kind

    with pytest.raises(UnsupportedOp, match=f"operator 0 SVDF .*{message}"):
        imports.imported(file, [x], [y])


def test_a_memory_of_two_layers_is_refused(rng: np.random.Generator) -> None:
    """Each would have a copy of its own, and none what the other one remembers."""
    file, x, y = svdf(rng, "INT8")
    z = file.tensor((1, 6), scale=0.01, zero_point=-128)
    first = file.graph.operators[0]
    fields = {"rank": 1, "fusedActivationFunction": 1}
    file.operator("SVDF", first.inputs, [z], "SVDFOptions", **fields)

    with pytest.raises(UnsupportedOp, match='state "t4": 2 operators read it'):
        imports.imported(file, [x], [y, z])


def refused(change: str) -> tuple[File, int, int]:
    codes = np.ones((2, 3))
    match change:
        case "float weights":
            return linear(codes, "FLOAT32", data=np.ones((2, 3), np.float32))
        case "weights computed":
            file, x, y = linear(codes)
            file.graph.tensors[1].buffer = 0
            return file, x, y
        case "scales":
            return linear(codes, scale=[0.1, 0.2, 0.3])
        case "axis":
            return linear(codes, scale=[0.1, 0.2], axis=1)
        case "zero scale":
            return linear(codes, scale=0.0)
        case "nan scale":
            return linear(codes, scale=float("nan"))
        case "zero point":
            return linear(np.full((2, 3), 127), zero_point=-10)
        case "float bias":
            file, x, y = linear(codes)
            file.graph.tensors[2].type = 0
            return file, x, y
        case "long bias":
            file, x, y = linear(codes)
            file.graph.operators[0].inputs[2] = file.constant(np.zeros(2, np.int64))
            return file, x, y
        case "shuffled":
            file, x, y = linear(codes)
            file.graph.operators[0].builtinOptions.weightsFormat = 1
            return file, x, y
        case "empty":
            file, x, y = linear(codes)
            file.graph.tensors[1].shape = [2, 0]
            return file, x, y
        case "rows":
            file, x, y = linear(codes)
            file.graph.tensors[0].shape = [1, 4]
            return file, x, y
    file, x, y = linear(codes)
    file.graph.operators[0].builtinOptions.fusedActivationFunction = 4
    return file, x, y


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("float weights", "its weights are float32"),
        ("weights computed", "weights are computed while the model runs"),
        ("scales", "3 scales for 2 channels"),
        ("axis", "each position of axis 1"),
        ("zero scale", "every weight scale must be positive"),
        ("nan scale", "every weight scale must be positive"),
        ("zero point", "zero point"),
        ("float bias", "its bias is float32"),
        ("long bias", "beside int16 activations: quantize those to int8"),
        ("shuffled", "shuffled"),
        ("empty", "weights have the shape [2, 0]"),
        ("rows", "cannot be cut into rows of 3"),
        ("function", "fused function TANH"),
    ],
)
def test_what_no_kernel_computes_is_refused_by_name(change: str, message: str) -> None:
    """A wrong guess would give wrong integers; a crash would not say which layer."""
    file, x, y = refused(change)

    with pytest.raises(
        UnsupportedOp, match=f'operator 0 FULLY_CONNECTED "y": .*{re.escape(message)}'
    ):
        oracle.convert(file.bytes([x], [y]))
