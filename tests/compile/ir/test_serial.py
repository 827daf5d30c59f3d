# SPDX-License-Identifier: Apache-2.0
"""The `.cq` file: what is written comes back, and nothing else is let in. [F9]"""

import copy
import hashlib
import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load as from_safetensors
from safetensors.numpy import save as to_safetensors

from codeq_compile.errors import InputError, ModelError
from codeq_compile.export.onnx import dumps as to_onnx
from codeq_compile.ir import Graph, load, save, serial, show
from codeq_compile.ir.serial import digest, dumps
from codeq_compile.ops.conv2d import Conv2D
from codeq_compile.ops.lut import Lut
from codeq_compile.ops.softmax import Softmax
from tests.graphs import random_int8, random_weights, s8
from tests.strategies import GraphBuilder, graphs

ROOT = Path(__file__).resolve().parents[3]
# the folder is only a place to write one file after the other
# The folder is written anew for every example; a busy machine is no failure (tests/conftest.py).
same_folder = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def tiny() -> Graph:
    """A small graph with every kind of array, always the same."""
    rng = np.random.default_rng(7)
    builder = GraphBuilder(rng, "tiny")
    layer = random_weights(rng, (3, 2, 2, 2), bits=4, zeros=0.4, gap=3)
    bias = rng.integers(-99, 99, 3).astype(np.int32)
    conv = builder.add(Conv2D(), builder.input(s8(4, 4, 2)), weights=layer, bias=bias, name="conv")
    table = builder.add(Lut(), conv, table=random_int8(rng, (256,)), name="gelu")
    graph = builder.graph(builder.add(Softmax(beta=0.5), table, name="p"))
    return replace(graph, labels=("cat", "dog"), provenance={"source": "test", "author": "x"})


def loaded(data: bytes, folder: Path) -> Graph:
    """The graph of a file with these bytes."""
    path = folder / "model.cq"
    path.write_bytes(data)
    return load(path)


def refusal(data: bytes, folder: Path) -> str:
    """The message with which a file with these bytes is refused."""
    with pytest.raises(ModelError) as caught:
        loaded(data, folder)
    message = str(caught.value)
    assert message.startswith(str(folder / "model.cq"))
    return message


def header(data: bytes) -> dict[str, Any]:
    """The JSON text of the metadata, parsed."""
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["codeq"])


Arrays = dict[str, np.ndarray]


def forged(change: Callable[[dict[str, Any], Arrays], None]) -> bytes:
    """The tiny file after a change, with a right sha256 wherever one can be computed."""
    data = dumps(tiny())
    text, arrays = header(data), from_safetensors(data)
    change(text["graph"], arrays)
    try:
        record = msgspec.convert(text["graph"], type=serial._GraphRecord)
    except msgspec.ValidationError:
        pass
    else:
        text["sha256"] = serial._digest(record, arrays)
    return to_safetensors(arrays, metadata={"codeq": json.dumps(text)})


@same_folder
@given(graphs())
def test_a_graph_comes_back(tmp_path: Path, graph: Graph) -> None:
    """The file is all that the compiler gets from the training."""
    path = tmp_path / "model.cq"
    save(graph, path)
    restored = load(path)

    assert show(graph) == show(restored)
    assert dumps(graph) == dumps(restored)
    assert digest(graph) == digest(restored)
    for before, after in zip(graph.nodes, restored.nodes, strict=True):
        for part in ("bias", "table"):
            np.testing.assert_array_equal(getattr(before, part), getattr(after, part))
        if before.weights is not None and after.weights is not None:
            np.testing.assert_array_equal(before.weights.values, after.weights.values)
            np.testing.assert_array_equal(before.weights.scale, after.weights.scale)


def test_labels_and_provenance_come_back(tmp_path: Path) -> None:
    """They are printed in the emitted header and banner."""
    graph = loaded(dumps(tiny()), tmp_path)

    assert ("cat", "dog") == graph.labels
    assert {"author": "x", "source": "test"} == graph.provenance


@pytest.mark.slow
def test_the_same_graph_gives_the_same_bytes_in_every_process() -> None:
    """Hash order of dicts or of metadata keys would change the file and its hash."""
    code = (
        "import hashlib, tests.compile.ir.test_serial as t;"
        "print(hashlib.sha256(t.dumps(t.tiny())).hexdigest())"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "12345", "PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )

    assert hashlib.sha256(dumps(tiny())).hexdigest() == result.stdout.strip()


def test_the_order_of_dictionaries_does_not_matter() -> None:
    """Frontends fill them as they come."""
    graph = tiny()
    reordered = replace(
        graph,
        tensors=dict(reversed(graph.tensors.items())),
        provenance=dict(reversed(graph.provenance.items())),
    )

    assert dumps(graph) == dumps(reordered)


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    """An interrupted copy must not become a model."""
    data = dumps(tiny())
    for length in (*range(0, len(data), 37), 7, 8, 9, len(data) - 1):
        refusal(data[:length], tmp_path)


@same_folder
@given(data=st.data())
def test_changed_bytes_are_refused_or_mean_the_same(tmp_path: Path, data: st.DataObject) -> None:
    """The sha256 covers everything but the blanks of the JSON text."""
    original = dumps(tiny())
    changed = bytearray(original)
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(0, len(changed) - 1))] ^= data.draw(st.integers(1, 255))

    try:
        graph = loaded(bytes(changed), tmp_path)
    except ModelError:
        return
    assert original == dumps(graph)


JSON_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.sampled_from([-1, 0, 1, 2, 127, 128, 2**31, 2**63]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=5),
    st.lists(st.integers(-3, 300), max_size=4),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


@pytest.mark.slow
@settings(parent=same_folder, max_examples=200)
@given(st.data())
def test_no_change_of_the_graph_makes_a_traceback(tmp_path: Path, data: st.DataObject) -> None:
    """Whatever the JSON text says: a legal graph or a ModelError, never a KeyError."""

    def change(graph: dict[str, Any], arrays: Arrays) -> None:
        place: Any = graph
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            key = data.draw(st.sampled_from(keys))
            if isinstance(place[key], dict | list) and place[key] and data.draw(st.booleans()):
                place = place[key]
                continue
            action = data.draw(st.sampled_from(["set", "set", "delete", "swap"]))
            if action == "delete":
                del place[key]
            elif action == "swap":
                other = data.draw(st.sampled_from(keys))
                place[key], place[other] = copy.deepcopy(place[other]), copy.deepcopy(place[key])
            else:
                place[key] = data.draw(JSON_VALUES)
            return

    try:
        graph = loaded(forged(change), tmp_path)
    except ModelError:
        return
    show(graph)


@same_folder
@given(st.data())
def test_no_change_of_the_arrays_makes_a_traceback(tmp_path: Path, data: st.DataObject) -> None:
    """Other dtypes, shapes and values under the right names."""

    def change(graph: dict[str, Any], arrays: Arrays) -> None:
        name = data.draw(st.sampled_from(sorted(arrays)))
        dtype = data.draw(st.sampled_from(["int8", "uint8", "int32", "int64", "float32", "bool"]))
        shape = data.draw(st.lists(st.integers(0, 4), max_size=4))
        rng = np.random.default_rng(data.draw(st.integers(0, 99)))
        arrays[name] = rng.integers(0, 2, shape).astype(dtype)

    try:
        graph = loaded(forged(change), tmp_path)
    except ModelError:
        return
    show(graph)


def _set(path: str, value: Any) -> Callable[[dict[str, Any], Arrays], None]:
    """Put a value at a place of the graph, written ``nodes/0/name``."""

    def change(graph: dict[str, Any], arrays: Arrays) -> None:
        place: Any = graph
        *steps, key = [int(step) if step.isdigit() else step for step in path.split("/")]
        for step in steps:
            place = place[step]
        place[key] = value

    return change


def _array(name: str, value: np.ndarray | None) -> Callable[[dict[str, Any], Arrays], None]:
    def change(graph: dict[str, Any], arrays: Arrays) -> None:
        arrays.pop(name, None)
        if value is not None:
            arrays[name] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_set("nodes/0/attributes/colour", 3), 'layer "conv": conv2d has no attribute "colour"'),
        (_set("nodes/0/attributes/groups", "one"), 'layer "conv": conv2d: Expected `int`'),
        (_set("nodes/0/attributes/stride", [1]), 'layer "conv": conv2d: Expected `array`'),
        (_set("nodes/0/kind", "fft"), 'unknown op "fft"; this version of codeq knows'),
        (_set("nodes/0/extra", 1), "unknown field `extra`"),
        (_set("extra", 1), "unknown field `extra`"),
        (_set("nodes/0/name", "other"), 'the array "other/codes" is missing'),
        (_set("nodes/0/weights/bits", 9), 'weight width 9 is outside 1..8 bits (layer "conv")'),
        (_set("nodes/0/weights/gap", 200), "gap 200"),
        (_set("nodes/0/weights", None), 'the array "conv/codes" belongs to no layer'),
        (_set("tensors/x0/scale", None), 'tensor "x0" has a scale or a zero point, but not both'),
        (_set("tensors/x0/scale", 0.1), 'tensor "x0": N3.1: the activation scale 0.1 is not a'),
        (_set("tensors/x0/scale", -1.0), "must be positive"),
        (_set("tensors/x0/zero_point", 200), "zero point 200"),
        (_set("tensors/x0/shape", [4, -4, 2]), "illegal shape [4, -4, 2]"),
        (_set("tensors/x0/shape", [2**60, 2, 2]), "illegal shape"),
        (_set("tensors/x0/shape", [2**80]), "illegal shape"),
        (_set("tensors/x0/dtype", "f64"), "Invalid enum value 'f64'"),
        (_set("nodes/0/inputs", ["p.out"]), 'layer "conv" reads "p.out" before it exists'),
        (_set("name", "1st"), "not a lower-case C identifier"),
        (_array("conv/codes", None), 'the array "conv/codes" is missing'),
        (_array("conv/scale", None), 'the array "conv/scale" is missing'),
        (_array("gelu/table", None), 'layer "gelu": lut needs table'),
        (_array("spare", np.zeros(1, np.int8)), 'the array "spare" belongs to no layer'),
        (_array("conv/scale", np.full(3, np.nan, np.float32)), "must be positive and finite"),
        (_array("conv/bias", np.zeros(3, np.int64)), "a bias is int32, not int64"),
        (_array("conv/codes", np.zeros((3, 2, 2, 2), np.uint8)), "must be a non-empty int8 array"),
    ],
)
def test_what_is_wrong_is_said(
    change: Callable[[dict[str, Any], Arrays], None], message: str, tmp_path: Path
) -> None:
    """With a right sha256: made by another program, not damaged."""
    assert message in refusal(forged(change), tmp_path)


def test_foreign_files_are_told_apart(tmp_path: Path) -> None:
    """The user gave the wrong file: which one it is, is half of the answer."""
    array = {"w": np.zeros(3, np.float32)}

    assert "not a .cq model (no 'codeq'" in refusal(to_safetensors(array), tmp_path)
    assert "not a .cq model" in refusal(to_safetensors(array, metadata={"format": "pt"}), tmp_path)
    assert "damaged, or not a .cq model" in refusal(b"PK\x03\x04" + bytes(100), tmp_path)
    assert "damaged, or not a .cq model" in refusal(b"", tmp_path)
    assert "must end in .tflite" in refusal(b"\x1c\0\0\0TFL3" + bytes(100), tmp_path)
    assert "must end in .onnx" in refusal(to_onnx(tiny()), tmp_path)
    assert "deserializing" not in refusal(b"PK\x03\x04" + bytes(100), tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "its graph cannot be read"),
        ("[]", "its graph cannot be read"),
        ("{}", "its graph cannot be read"),
        ('{"format": 1}', "its graph cannot be read"),
        (
            '{"format": 2, "anything": 1}',
            "format 2, and this codeq reads 1: export the model again",
        ),
        ('{"format": "1"}', "its graph cannot be read"),
        ('{"x": ' + "[" * 100_000, "its graph cannot be read: maximum recursion depth"),
        ('{"format": 1, "sha256": "\\ud800", "graph": {}}', "its graph cannot be read"),
    ],
    ids=range(8),
)
def test_a_damaged_or_newer_header_is_refused(text: str, message: str, tmp_path: Path) -> None:
    """A file of the next format must ask for the next codeq."""
    data = to_safetensors({"w": np.zeros(1, np.int8)}, metadata={"codeq": text})

    assert message in refusal(data, tmp_path)


def test_a_changed_weight_is_noticed(tmp_path: Path) -> None:
    """One flipped bit of one weight. The sha256 stays the old one."""
    data = bytearray(dumps(tiny()))
    data[-1] ^= 1

    assert "does not match its sha256" in refusal(bytes(data), tmp_path)


def test_a_type_that_numpy_lacks_is_refused(tmp_path: Path) -> None:
    """bfloat16 checkpoints are safetensors files too."""
    table = {
        "__metadata__": {"codeq": "{}"},
        "w": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]},
    }
    text = json.dumps(table).encode()

    refusal(struct.pack("<Q", len(text)) + text + b"\x00\x00", tmp_path)


def test_missing_files_and_folders_are_told(tmp_path: Path) -> None:
    """A typing error in a path is the commonest of all."""
    for path, what in ((tmp_path / "missing.cq", "cannot be read"), (tmp_path, "a folder")):
        with pytest.raises(ModelError, match=what):
            load(path)
    for path in (tmp_path / "missing" / "model.cq", tmp_path, Path()):
        with pytest.raises(InputError, match="cannot write"):
            save(tiny(), path)


@pytest.mark.parametrize("kind", ["pipe", "link to a pipe"])
def test_what_is_no_file_is_not_replaced_by_one(kind: str, tmp_path: Path) -> None:
    """`--onnx /dev/full` would put a file in the place of the device."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    if kind != "pipe":
        path = tmp_path / "link"
        path.symlink_to(tmp_path / "pipe")

    with pytest.raises(InputError, match=f"cannot write {path}: it is a device or a pipe"):
        serial.write_whole(b"new", path)

    assert (tmp_path / "pipe").is_fifo()


@pytest.mark.parametrize("exists", [True, False])
def test_the_file_behind_a_link_is_written_and_the_link_stays(exists: bool, tmp_path: Path) -> None:
    """Whoever keeps models elsewhere and links to them would have two of them."""
    target, link = tmp_path / "elsewhere", tmp_path / "link"
    if exists:
        target.write_bytes(b"old")
    link.symlink_to(target)

    serial.write_whole(b"new", link)

    assert link.is_symlink()
    assert target.read_bytes() == b"new"


def test_a_link_to_itself_is_refused(tmp_path: Path) -> None:
    """No file is behind it, and a link stays a link."""
    link = tmp_path / "link"
    link.symlink_to(link)

    with pytest.raises(InputError, match=f"cannot write {link}: it is a link to itself"):
        serial.write_whole(b"new", link)

    assert link.is_symlink()


@pytest.mark.parametrize("ends", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_file_that_cannot_be_written_whole_leaves_the_old_one_alone(
    ends: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk would cost the good file, or leave half of the new one beside it."""
    path = tmp_path / "model.cq"
    path.write_bytes(b"old")

    def broken(self: Path, data: bytes) -> None:
        with self.open("wb") as file:
            file.write(data[:1])
        raise ends

    monkeypatch.setattr(Path, "write_bytes", broken)
    kind = InputError if isinstance(ends, OSError) else KeyboardInterrupt
    with pytest.raises(
        kind, match=f"cannot write {path}: No space" if kind is InputError else None
    ):
        serial.write_whole(b"new", path)

    assert path.read_bytes() == b"old"
    assert [path] == list(tmp_path.iterdir())


def test_an_illegal_graph_is_not_written(tmp_path: Path) -> None:
    """The old file stays, and the error comes from where the fault is."""
    path = tmp_path / "model.cq"
    save(tiny(), path)
    before = path.read_bytes()

    with pytest.raises(ModelError, match="not a lower-case C identifier"):
        save(replace(tiny(), name="Bad"), path)
    assert before == path.read_bytes()
    assert [path] == list(tmp_path.iterdir())
