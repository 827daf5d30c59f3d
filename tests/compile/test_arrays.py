# SPDX-License-Identifier: Apache-2.0
"""Samples on disk."""

from pathlib import Path

import numpy as np
import pytest

from codeq_compile.arrays import (
    apart,
    existing,
    random_inputs,
    read_inputs,
    read_labels,
    side_by_side,
    write_outputs,
)
from codeq_compile.errors import InputError
from codeq_compile.ir import DType, Graph, Grid, TensorType

GRID = Grid(scale=0.5, zero_point=3)
IMAGE = TensorType(shape=(2, 2, 1), grid=GRID)


def graph_with(*inputs: str) -> Graph:
    """Inputs that are the outputs: reading and writing need no layer."""
    return Graph(
        name="echo",
        tensors=dict.fromkeys(inputs, IMAGE),
        inputs=inputs,
        outputs=inputs,
        nodes=(),
    )


def test_integers_are_taken_as_they_are(tmp_path: Path) -> None:
    """Whoever has quantized already must not be quantized a second time."""
    stored = np.arange(-6, 6, dtype=np.int8).reshape(3, 2, 2, 1)
    np.save(tmp_path / "x.npy", stored)

    read = read_inputs(tmp_path / "x.npy", graph_with("image"))["image"]

    np.testing.assert_array_equal(stored, read)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_are_put_on_the_grid_of_the_input(tmp_path: Path, dtype: type) -> None:
    """Real values given to `codeq simulate` must become the device's integers."""
    real = np.array([0.0, 0.5, -0.5, 1000.0], dtype).reshape(1, 2, 2, 1)
    np.save(tmp_path / "x.npy", real)

    read = read_inputs(tmp_path / "x.npy", graph_with("image"))["image"]

    assert [3, 4, 2, 127] == read.ravel().tolist()
    assert read.dtype == np.int8


def test_one_sample_needs_no_batch_dimension(tmp_path: Path) -> None:
    """A single image saved as it is should just work."""
    np.save(tmp_path / "x.npy", np.zeros((2, 2, 1), np.int8))

    read = read_inputs(tmp_path / "x.npy", graph_with("image"))["image"]

    assert (1, 2, 2, 1) == read.shape


def test_several_inputs_are_read_by_name(tmp_path: Path) -> None:
    """Inputs swapped silently give wrong results that look like a bad model."""
    a, b = np.full((1, 2, 2, 1), 1, np.int8), np.full((1, 2, 2, 1), 2, np.int8)
    np.savez(tmp_path / "x.npz", b=b, a=a)

    read = read_inputs(tmp_path / "x.npz", graph_with("a", "b"))

    assert [1, 2] == [int(array.flat[0]) for array in read.values()]


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        (np.zeros((1, 3, 2, 1), np.int8), r"samples of shape \[2, 2, 1\]"),
        (np.zeros((0, 2, 2, 1), np.int8), "no samples"),
        (np.zeros((1, 2, 2, 1), np.int32), "give int8"),
        (np.full((1, 2, 2, 1), np.nan), "finite"),
        (np.array(7), "shape"),
        (np.array([[["a"]]]), "shape"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(
    tmp_path: Path, stored: np.ndarray, message: str
) -> None:
    """A wrong shape or type must say what is expected, not crash or be reshaped."""
    np.save(tmp_path / "x.npy", stored)

    with pytest.raises(InputError, match=message):
        read_inputs(tmp_path / "x.npy", graph_with("image"))


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04broken", b"\x93NUMPY\x01\x00"])
def test_damaged_files_are_refused(tmp_path: Path, content: bytes) -> None:
    """A file cut off by a full disk is the user's everyday life: a message, no traceback."""
    path = tmp_path / "x.npy"
    path.write_bytes(content)

    with pytest.raises(InputError, match=r"not an \.npy or \.npz file"):
        read_inputs(path, graph_with("image"))


def test_pickled_objects_are_never_loaded(tmp_path: Path) -> None:
    """An array of objects runs code when loaded: samples from a stranger must stay data."""
    np.save(tmp_path / "x.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)

    with pytest.raises(InputError, match=r"not an \.npy"):
        read_inputs(tmp_path / "x.npy", graph_with("image"))


def test_a_mistyped_file_gets_a_suggestion(tmp_path: Path) -> None:
    """The nearest name saves a look into the folder."""
    (tmp_path / "samples.npy").touch()

    with pytest.raises(InputError, match=r"did you mean .*samples\.npy"):
        existing(tmp_path / "sample.npy")


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    """The mistake may be in the folder, not in the file."""
    with pytest.raises(InputError, match="there is no folder"):
        existing(tmp_path / "nowhere" / "x.npy")


def test_inputs_of_different_length_are_refused(tmp_path: Path) -> None:
    """Pairs of samples that do not pair up would silently drop some."""
    np.savez(
        tmp_path / "x.npz", a=np.zeros((2, 2, 2, 1), np.int8), b=np.zeros((1, 2, 2, 1), np.int8)
    )

    with pytest.raises(InputError, match="different numbers of samples: 2, 1"):
        read_inputs(tmp_path / "x.npz", graph_with("a", "b"))


def test_inputs_without_an_array_are_named(tmp_path: Path) -> None:
    """The name that is missing is what the user has to add."""
    np.savez(tmp_path / "x.npz", a=np.zeros((1, 2, 2, 1), np.int8))

    with pytest.raises(InputError, match="no array for the input b"):
        read_inputs(tmp_path / "x.npz", graph_with("a", "b"))


@pytest.mark.parametrize("names", [("y",), ("file", "y")])
def test_outputs_come_back_as_they_were_written(tmp_path: Path, names: tuple[str, ...]) -> None:
    """What `codeq simulate -o` writes is what a script compares with its own result."""
    graph = graph_with(*names)
    written = random_inputs(graph, 3)
    path = tmp_path / ("y.npy" if len(names) == 1 else "y.npz")

    write_outputs(path, written)

    read = read_inputs(path, graph)
    assert list(written) == list(read)
    for name, expected in written.items():
        np.testing.assert_array_equal(expected, read[name])


@pytest.mark.parametrize("file", ["y.npy", "y.npz"])
def test_outputs_that_cannot_be_written_leave_the_old_file(
    tmp_path: Path, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk would leave half an array over the good one, and not say in which file."""
    path = tmp_path / file
    write_outputs(path, random_inputs(graph_with("y"), 1))
    good = path.read_bytes()

    def full(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(InputError, match=f"cannot write {path}: No space left"):
        write_outputs(path, random_inputs(graph_with("y"), 2))

    assert good == path.read_bytes()


@pytest.mark.parametrize(("file", "names"), [("y.npy", ("a", "b")), ("y.txt", ("a",))])
def test_outputs_that_a_file_cannot_hold_are_refused(
    tmp_path: Path, file: str, names: tuple[str, ...]
) -> None:
    """Writing only the first of two outputs would lose one without a word."""
    graph = graph_with(*names)

    with pytest.raises(InputError, match=r"\.npz"):
        write_outputs(tmp_path / file, random_inputs(graph, 1))


def test_random_inputs_cover_the_whole_range_and_repeat() -> None:
    """A check that never sees -128 or 127 misses saturation; one that changes cannot repeat."""
    kind = TensorType(shape=(4096,), dtype=DType.S8, grid=GRID)
    graph = Graph(name="g", tensors={"x": kind}, inputs=("x",), outputs=("x",), nodes=())

    first, second = random_inputs(graph, 2)["x"], random_inputs(graph, 2)["x"]

    np.testing.assert_array_equal(first, second)
    assert (-128, 127) == (int(first.min()), int(first.max()))


def test_samples_as_bytes_are_little_endian_one_tensor_after_the_other() -> None:
    """Firmware reads these bytes: another order is another input."""
    counts = TensorType(shape=(2,), dtype=DType.S32)
    graph = Graph(
        name="g",
        tensors={"image": IMAGE, "counts": counts},
        inputs=("image", "counts"),
        outputs=("counts", "image"),
        nodes=(),
    )
    samples = {
        "image": np.array([1, -1, 2, -2], np.int8).reshape(1, 2, 2, 1),
        "counts": np.array([[1, 0x01020304]], np.int32),
    }

    rows = side_by_side(graph, graph.inputs, samples)

    assert [[1, 255, 2, 254, 1, 0, 0, 0, 4, 3, 2, 1]] == rows.tolist()
    for name, array in apart(graph, graph.inputs, rows).items():
        np.testing.assert_array_equal(samples[name], array)
        assert samples[name].dtype == array.dtype


def test_bytes_come_apart_in_the_order_of_the_names() -> None:
    """Outputs that are swapped look like a wrong model."""
    graph = graph_with("a", "b")
    samples = random_inputs(graph, 3)

    swapped = apart(graph, ("b", "a"), side_by_side(graph, ("b", "a"), samples))

    assert ["b", "a"] == list(swapped)
    for name, array in swapped.items():
        np.testing.assert_array_equal(samples[name], array)


def test_labels_are_one_integer_a_sample(tmp_path: Path) -> None:
    """Scores or one-hot rows would be compared with places."""
    np.save(tmp_path / "y.npy", np.array([3, 1], np.uint8))
    np.testing.assert_array_equal([3, 1], read_labels(tmp_path / "y.npy"))

    for wrong in (np.zeros((2, 3), np.int64), np.zeros(2)):
        np.save(tmp_path / "y.npy", wrong)
        with pytest.raises(InputError, match="one integer a sample"):
            read_labels(tmp_path / "y.npy")
