# SPDX-License-Identifier: Apache-2.0
"""Damaged files, real and hand-written: they end in a ModelError, soon and in little memory."""

import struct
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("tflite_micro", reason="its schema writes the files that are damaged here")

from codeq_compile import passes
from codeq_compile.errors import ModelError
from codeq_compile.frontends import tflite
from codeq_compile.frontends.tflite import schema
from tests import imports, tflite_models
from tests import tflite as writer
from tests.tflite_author import File

SECONDS = 2.0
BYTES = 500e6

WORDS = (0, 1, 2, 4, 0x7F, 0x80, 0xFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
FLOATS = (0x7F800000, 0xFF800000, 0x7FC00000, 0x00000001, 0x80000000)
"""Infinities, not a number, the smallest number, minus zero."""


def shapes_file() -> bytes:
    """Operators whose operands are numbers: what is damaged there are axes, borders, limits."""
    file = File()
    grid = {"scale": 0.1, "zero_point": 3}
    x = file.tensor((1, 4, 6, 8), **grid)
    padded, halved, sliced, strided = (
        file.tensor(shape, **grid)
        for shape in ((1, 6, 8, 8), (1, 6, 8, 4), (1, 6, 4, 4), (1, 3, 4, 4))
    )
    other = file.tensor((1, 6, 8, 4), **grid)
    moved, mean = file.tensor((1, 4, 3, 4), **grid), file.tensor((1, 4), **grid)
    joined, wide = file.tensor((1, 8), **grid), file.tensor((1, 6, 12, 8), **grid)

    def ints(*values: int) -> int:
        return file.constant(np.array(values, np.int32))

    borders = file.constant(np.array([[0, 0], [1, 1], [1, 1], [0, 0]], np.int32))
    size = "ResizeNearestNeighborOptions"
    file.operator("PAD", [x, borders], [padded], "PadOptions")
    file.operator("SPLIT", [ints(3), padded], [halved, other], "SplitOptions", numSplits=2)
    parts = [ints(0, 0, 2, 0), ints(1, -1, 4, -1)]
    file.operator("SLICE", [halved, *parts], [sliced], "SliceOptions")
    limits = [ints(0, 0, 0, 0), ints(1, 6, 4, 4), ints(1, 2, 1, 1)]
    file.operator("STRIDED_SLICE", [sliced, *limits], [strided], "StridedSliceOptions")
    file.operator("TRANSPOSE", [strided, ints(0, 3, 1, 2)], [moved], "TransposeOptions")
    file.operator("MEAN", [strided, ints(1, 2)], [mean], "ReducerOptions")
    file.operator("CONCATENATION", [mean, mean], [joined], "ConcatenationOptions", axis=1)
    file.operator("RESIZE_NEAREST_NEIGHBOR", [padded, ints(6, 12)], [wide], size)
    file.graph.operators.pop()  # 8 columns do not become 12
    return file.bytes([x], [joined, moved, other])


def sparse_file() -> bytes:
    """Weights of which only the blocks that are not zero are stored."""
    file = File()
    x, y = file.tensor((1, 4), scale=0.1), file.tensor((1, 3), scale=0.1)
    w = file.tensor((3, 4), scale=0.1, data=np.array([1, 2], np.int8))
    file.graph.tensors[w].sparsity = imports.compressed_rows([0, 1, 1, 2], [2, 0], rows=3)
    dense, z = file.tensor((3, 4), scale=0.1), file.tensor((1, 3), scale=0.1)
    file.operator("FULLY_CONNECTED", [x, w, -1], [y], "FullyConnectedOptions")
    file.operator("DENSIFY", [w], [dense], "DensifyOptions")
    file.operator("FULLY_CONNECTED", [x, dense, -1], [z], "FullyConnectedOptions")
    return file.bytes([x], [y, z])


def folding_file() -> bytes:
    """A shape that is computed: what is damaged there are sizes and axes of small integers."""
    file = File()
    x = file.tensor((1, 2, 3, 4), scale=0.1)
    shape, batch, rows, wanted = (file.tensor(shape, "INT32") for shape in ((4,), (), (1,), (3,)))
    y = file.tensor((1, 2, 12), scale=0.1)
    places = [file.constant(np.array([i], np.int32)) for i in (0, 1)]
    rest = file.constant(np.array(12, np.int32))
    file.operator("SHAPE", [x], [shape], "ShapeOptions", outType=2)
    limits = [shape, *places, places[1]]
    file.operator("STRIDED_SLICE", limits, [batch], "StridedSliceOptions", shrinkAxisMask=1)
    file.operator("MUL", [batch, places[1]], [rows], "MulOptions")
    pair = file.tensor((2,), "INT32")
    file.operator("PACK", [batch, rest], [pair], "PackOptions", valuesCount=2)
    file.operator("CONCATENATION", [rows, pair], [wanted], "ConcatenationOptions")
    file.operator("RESHAPE", [x, wanted], [y], "ReshapeOptions")
    index, axis = file.tensor((1, 2), "INT32"), file.constant(np.array([2], np.int32))
    file.operator("ARG_MAX", [y, axis], [index], "ArgMaxOptions", outputType=2)
    return file.bytes([x], [y, index])


def corpus() -> list[bytes]:
    cases = imports.cases("conv2d", "dwconv2d", "linear", "add", "maxpool2d", "softmax", "argmax")
    return [
        shapes_file(),
        sparse_file(),
        folding_file(),
        *(writer.model(case.graph()) for case in cases[::40]),
    ]


def survives(data: bytes) -> bool:
    """Whether a file is a model; whatever else it is must be an error of ours."""
    try:
        passes.run(tflite.convert(schema.read(data), name="model").graph)
    except ModelError:
        return False
    return True


Mutation = Callable[[bytearray], None]


@st.composite
def mutations(draw: st.DrawFn) -> Mutation:
    """One change: a byte, a bit, a word, an offset into the file, or an end too soon."""
    where = draw(st.floats(0, 1, exclude_max=True))
    from_end = draw(st.booleans())
    kind = draw(st.sampled_from(["byte", "bit", "word", "float", "offset", "end"]))
    value = draw(st.integers(0, 255))
    word = draw(st.sampled_from(WORDS if kind == "word" else FLOATS))

    def mutate(data: bytearray) -> None:
        if not data:
            return
        # tables stand at the ends; between them are weights
        reach = min(len(data), 4000)
        position = int(where * reach)
        position = len(data) - 1 - position if from_end else position
        if kind == "byte":
            data[position] = value
        elif kind == "bit":
            data[position] ^= 1 << value % 8
        elif kind == "end":
            del data[position:]
        else:
            position &= ~3
            new = int(where * 7919 * value) % len(data) if kind == "offset" else word
            data[position : position + 4] = struct.pack("<I", new)[: len(data) - position]

    return mutate


def check(data: bytes) -> None:
    started = time.process_time()
    survives(data)

    assert time.process_time() - started < SECONDS


CORPUS = corpus()


@given(st.sampled_from(range(len(CORPUS))), st.lists(mutations(), min_size=1, max_size=8))
@settings(max_examples=300)
def test_a_damaged_file_is_an_error_and_not_a_crash(number: int, changes: list[Mutation]) -> None:
    """A file from the network must not take the process with it, nor its time or memory."""
    data = bytearray(CORPUS[number])
    for change in changes:
        change(data)

    check(bytes(data))


@pytest.mark.slow
@given(st.sampled_from(tflite_models.SMALL), st.lists(mutations(), min_size=1, max_size=8))
@settings(max_examples=150)
def test_a_damaged_real_model_is_an_error_and_not_a_crash(
    shared: Path, name: str, changes: list[Mutation]
) -> None:
    """Real files have the fields that nobody writes by hand."""
    data = bytearray(tflite_models.path(shared, name).read_bytes())
    for change in changes:
        change(data)

    check(bytes(data))


@pytest.mark.parametrize("number", range(len(CORPUS)))
def test_the_files_are_models_before_they_are_damaged(number: int) -> None:
    """Mutations of what is refused anyway would reach nothing."""
    assert survives(CORPUS[number])


@pytest.mark.parametrize("number", range(2))
def test_every_truncation_ends_in_little_memory(number: int) -> None:
    """A length that was read before the file ended must not be allocated."""
    tracemalloc.start()
    try:
        for end in range(0, len(CORPUS[number]), 7):
            assert not survives(CORPUS[number][:end])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < BYTES


def greedy(what: str) -> bytes:
    """A small file that asks for much."""
    file = File()
    x, y = file.tensor((1, 4), scale=0.1), file.tensor((1, 4), scale=0.2)
    inputs, outputs = [x], [y]
    match what:
        case "axes":
            file.graph.tensors[x].shape = np.full(20_000, 2**31 - 1, np.int32)
        case "borders":
            inputs = [x] * 20_000
        case "operands":
            file.operator("CONCATENATION", [x] * 100_000, [y], "ConcatenationOptions")
        case "pixels":
            x, y = file.tensor((1, 1, 1, 1), scale=0.1), file.tensor((1, 1 << 28, 1, 1), scale=0.1)
            size = file.constant(np.array([1 << 28, 1], np.int32))
            options = "ResizeNearestNeighborOptions"
            file.operator("RESIZE_NEAREST_NEIGHBOR", [x, size], [y], options)
            inputs, outputs = [x], [y]
        case _:
            x = file.tensor((1, 1 << 20), scale=0.1)
            w = file.tensor((1, 1 << 20), scale=0.1, data=np.ones(1, np.int8))
            file.graph.tensors[w].sparsity = imports.compressed_rows([0, 1], [7], rows=1)
            for _ in range(1000):
                y = file.tensor((1, 1), scale=0.1)
                file.operator("FULLY_CONNECTED", [x, w, -1], [y], "FullyConnectedOptions")
            inputs, outputs = [x], [y]
    return file.bytes(inputs, outputs)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("axes", "20000 axes"),
        ("borders", "20000 times a tensor is an input"),
        ("operands", "more integers"),
        ("pixels", "at most 16384 pixels"),
        ("weights", "its operators read"),
    ],
)
def test_a_small_file_cannot_ask_for_much(what: str, message: str) -> None:
    """Its time and memory would be those of a model a million times as large."""
    data = greedy(what)
    started = time.process_time()

    with pytest.raises(ModelError, match=message):
        tflite.convert(schema.read(data), name="model")

    assert time.process_time() - started < SECONDS
