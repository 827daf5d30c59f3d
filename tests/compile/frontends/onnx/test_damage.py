# SPDX-License-Identifier: Apache-2.0
"""Damaged files, real and hand-written: they end in a ModelError, soon and in little memory."""

import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("onnxruntime", reason="finds the ranges of the files that are damaged here")

from onnx import TensorProto, load_from_string

from codeq_compile import passes
from codeq_compile.errors import ModelError
from codeq_compile.export.onnx.message import Message
from codeq_compile.frontends import onnx
from codeq_compile.frontends.onnx import schema
from tests import onnx_models
from tests.onnx_author import File

SECONDS = 2.0
BYTES = 500e6

PATTERNS = [
    *(bytes(4), b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\x01\x00\x00\x00"),
    *(b"\x00\x00\x80\x7f", b"\x00\x00\x80\xff", b"\x00\x00\xc0\x7f"),  # infinities, no number
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",  # -1, or a length beyond every file
]


def image_file() -> bytes:
    """Layers with windows, and operators whose operands are numbers."""
    file = File(1, dtype="uint8")
    q = file.quantized
    ones = [file.constant(np.linspace(0.5, 1, 6).astype(np.float32)) for _ in range(5)]
    x = q(file.input(1, 4, 8, 10))
    y = file.add("Conv", x, file.weights(6, 4, 3, 3, axis=0), ones[0], pads=[1, 1, 1, 1])
    y = q(file.add("Relu", file.add("BatchNormalization", y, *ones[1:])))
    y = q(file.add("MaxPool", y, kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1))
    parts = file.add("Split", y, file.integers(2, 4), axis=1, outputs=2)
    y = q(file.add("Concat", *map(q, parts), axis=1))
    y = q(file.add("Resize", y, "", "", file.integers(1, 6, 8, 10), mode="nearest"))
    y = file.add("Slice", y, file.integers(1), file.integers(7), file.integers(2))
    y = q(file.add("Pad", y, file.integers(1, 1, 0, 0), "", file.integers(2, 3)))
    y = q(file.add("ReduceMean", y, file.integers(2, 3), keepdims=0))
    y = q(file.add("Gemm", y, file.weights(6, 5, axis=1), alpha=0.5))
    return file.bytes(file.add("Softmax", y))


def rows_file() -> bytes:
    """Orders of axes, functions, and weights of four bits and with zero points."""
    file = File(2)
    q = file.quantized
    x = file.add("Transpose", q(file.input(1, 8, 10, 4)), perm=[0, 3, 1, 2])
    y = q(file.add("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2]))
    numbers = {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1]}
    y = q(file.add("ConvTranspose", y, file.weights(4, 3, 3, 3, axis=1, bits=4), **numbers))
    y = q(file.add("Mul", y, file.add("Sigmoid", y)))
    y = q(file.add("Add", y, file.constant(np.ones((3, 1, 1), np.float32))))
    first = file.add("Gather", file.add("Shape", y), file.integers(0))
    y = file.add("Reshape", y, file.add("Concat", first, file.integers(-1), axis=0))
    y = file.add("MatMul", y, file.weights(240, 4, dtype="uint8", zero_point=120))
    y = q(file.add("Add", y, file.constant(np.ones(4, np.float32))))
    return file.bytes(q(file.add("PRelu", y, file.weights(1, 4))), file.add("ArgMax", y, axis=1))


def integers_file() -> bytes:
    """An operator that computes in integers, with a bias that has no scale of its own."""
    file = File(5)
    grid, out = file.grid(0.1, 3), file.grid(0.05, 0)
    q = file.add("QuantizeLinear", file.input(1, 4, 5, 5), *grid)
    weights = [file.constant(np.ones((2, 4, 3, 3), np.int8)), *file.grid(0.02, 0)]
    bias = file.constant(np.array([100, -7], np.int32))
    y = file.add("QLinearConv", q, *grid, *weights, *out, bias)
    file.kinds[y] = TensorProto.INT8
    return file.bytes(file.add("DequantizeLinear", y, *out))


CORPUS = [image_file(), rows_file(), integers_file()]


def survives(data: bytes) -> bool:
    """Whether a file is a model; whatever else it is must be an error of ours."""
    try:
        passes.run(onnx.convert(schema.read(data), name="model").graph)
    except ModelError:
        return False
    return True


def check(data: bytes) -> None:
    started = time.process_time()
    survives(data)

    assert time.process_time() - started < SECONDS


Mutation = Callable[[bytearray], None]


@st.composite
def mutations(draw: st.DrawFn) -> Mutation:
    """One change: a byte, a bit, a number, bytes that are gone, new or from elsewhere, an end."""
    where, other = draw(st.floats(0, 1, exclude_max=True)), draw(st.floats(0, 1, exclude_max=True))
    kind = draw(st.sampled_from(["byte", "bit", "number", "less", "more", "copy", "end"]))
    value = draw(st.integers(0, 255))
    pattern = draw(st.sampled_from(PATTERNS))

    def mutate(data: bytearray) -> None:
        if not data:
            return
        position, source = int(where * len(data)), int(other * len(data))
        count = 1 + value % 16
        match kind:
            case "byte":
                data[position] = value
            case "bit":
                data[position] ^= 1 << value % 8
            case "number":
                data[position : position + len(pattern)] = pattern
            case "less":
                del data[position : position + count]
            case "more":
                data[position:position] = bytes([value]) * count
            case "copy":
                data[position : position + count] = data[source : source + count]
            case "end":
                del data[position:]

    return mutate


@pytest.mark.slow
@given(st.sampled_from(range(len(CORPUS))), st.lists(mutations(), min_size=1, max_size=6))
@settings(max_examples=300)
def test_a_damaged_file_is_an_error_and_not_a_crash(number: int, changes: list[Mutation]) -> None:
    """A file from the network must not take the process with it, nor its time or memory."""
    data = bytearray(CORPUS[number])
    for change in changes:
        change(data)

    check(bytes(data))


@pytest.mark.slow
@given(st.sampled_from(onnx_models.SUPPORTED), st.lists(mutations(), min_size=1, max_size=6))
@settings(max_examples=100)
def test_a_damaged_real_model_is_an_error_and_not_a_crash(
    shared: Path, name: str, changes: list[Mutation]
) -> None:
    """Real files have the fields that nobody writes by hand."""
    data = bytearray(onnx_models.path(shared, name).read_bytes())
    for change in changes:
        change(data)

    check(bytes(data))


@pytest.mark.parametrize("number", range(len(CORPUS)))
def test_the_files_are_models_before_they_are_damaged(number: int) -> None:
    """Mutations of what is refused anyway would reach nothing."""
    assert survives(CORPUS[number])


@pytest.mark.parametrize("number", range(len(CORPUS)))
def test_every_truncation_ends_in_little_memory(number: int) -> None:
    """A length that was read before the file ended must not be allocated."""
    tracemalloc.start()
    try:
        for end in range(0, len(CORPUS[number]), 31):
            survives(CORPUS[number][:end])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < BYTES


def nested(depth: int) -> bytes:
    """Graphs within attributes of graphs."""
    graph = Message()
    for _ in range(depth):
        attribute = Message().text(1, "then_branch").message(6, graph).integer(20, 5)
        graph = Message().message(1, Message().text(1, "x").text(4, "If").message(5, attribute))
    return bytes(Message().message(7, graph).message(8, Message().integer(2, 21)))


def changed(**numbers: object) -> bytes:
    """A pool or a pad whose numbers ask for more than there is."""
    file = File(3)
    x = file.quantized(file.input(1, 4, 8, 8), (0.1, 0))
    kind = str(numbers.pop("kind"))
    operands = [file.integers(*n) for n in (numbers.pop("operands", None),) if n]
    return file.unchecked_bytes(file.quantized(file.add(kind, x, *operands, **numbers), (0.1, 0)))


def many_fields() -> bytes:
    graph = bytes(Message().integer(99, 0)) * (1 << 20)
    return bytes(Message().blob(7, graph).message(8, Message().integer(2, 21)))


def many_operators() -> bytes:
    file = File(4)
    y = file.quantized(file.input(1, 4), (0.1, 0))
    for _ in range(1500):
        y = file.add("Relu", y)
    return file.unchecked_bytes(y)


def huge_constant() -> bytes:
    model = load_from_string(CORPUS[0])
    model.graph.initializer[0].CopyFrom(
        TensorProto(name=model.graph.initializer[0].name, dims=[1 << 14, 1 << 14], data_type=1)
    )
    result: bytes = model.SerializeToString()
    return result


HOSTILE = {
    "nested-graphs": lambda: nested(1000),
    "many-fields": many_fields,
    "many-operators": many_operators,
    "huge-constant": huge_constant,
    "huge-kernel": lambda: changed(kind="MaxPool", kernel_shape=[1 << 20, 1 << 20]),
    "huge-pads": lambda: changed(
        kind="MaxPool", kernel_shape=[1 << 20, 1 << 20], pads=[(1 << 20) - 1] * 4
    ),
    "huge-border": lambda: changed(kind="Pad", operands=[0, 1 << 20, 1 << 20, 1 << 20] * 2),
    "huge-reshape": lambda: changed(kind="Reshape", operands=[1 << 62, 1 << 62]),
}


SLOW = {"many-fields", "many-operators"}


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in HOSTILE],
)
def test_a_hostile_file_ends_soon_and_in_little_memory(name: str) -> None:
    """Each asks for much with few bytes: recursion, fields, operators, elements."""
    data = HOSTILE[name]()
    started = time.process_time()
    survives(data)
    taken = time.process_time() - started
    tracemalloc.start()
    try:
        if name != "many-fields":  # tracing takes longer than the work
            survives(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert taken < SECONDS
    assert peak < BYTES
