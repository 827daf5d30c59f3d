# SPDX-License-Identifier: Apache-2.0
"""Samples: files and bytes to and from the integers that a graph reads and writes."""

import difflib
import io
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from codeq_compile.errors import InputError
from codeq_compile.ir.graph import Graph
from codeq_compile.ir.op import Array
from codeq_compile.ir.serial import write_whole
from codeq_compile.ir.types import TensorType

Bytes2D = NDArray[np.uint8]

OUTPUT_SUFFIXES = (".npy", ".npz")

MAX_RANDOM_BYTES = 1 << 30
"""Of random samples: what a computer certainly holds, some times over."""


def read_inputs(path: Path, graph: Graph) -> dict[str, Array]:
    """The samples of a file, one array a graph input, in the graph's order.

    Integers of the input's own type are taken as they are; floats are put on its grid. [N3.2]

    Parameters
    ----------
    path : Path
        `.npy` for a model with one input, `.npz` with one array an input name for any.

    Returns
    -------
    dict of str to int array of shape (samples, *input shape)

    Raises
    ------
    InputError
        The file is missing, damaged, holds Python objects, or does not fit the graph's inputs.
    """
    stored = _load(path)
    if isinstance(stored, np.ndarray):
        if len(graph.inputs) != 1:
            names = ", ".join(graph.inputs)
            raise InputError(
                f"{path}: the model has the inputs {names}; give an .npz with one each"
            )
        stored = {graph.inputs[0]: stored}
    missing = [name for name in graph.inputs if name not in stored]
    if missing:
        raise InputError(f"{path}: no array for the input {', '.join(missing)}")
    samples = {
        name: _to_grid(stored[name], graph.tensors[name], f"{path} ({name})")
        for name in graph.inputs
    }
    if len({len(array) for array in samples.values()}) != 1:
        counts = ", ".join(str(len(array)) for array in samples.values())
        raise InputError(f"{path}: the inputs have different numbers of samples: {counts}")
    return samples


def write_outputs(path: Path, outputs: Mapping[str, Array]) -> None:
    """Write integers as `.npy` (one output) or `.npz` (any number, by name).

    Raises
    ------
    InputError
        An `.npy` file cannot hold several outputs, the suffix is another, or it cannot be written.
    """
    data = io.BytesIO()
    writable(path, OUTPUT_SUFFIXES)
    if path.suffix == ".npz":
        # np.savez takes names as keyword arguments: an output called "file" would break it
        with zipfile.ZipFile(data, "w") as archive:
            for name, array in outputs.items():
                with archive.open(f"{name}.npy", "w") as member:
                    np.lib.format.write_array(member, array, allow_pickle=False)
    elif len(outputs) != 1:
        raise InputError(f"{path}: the model has {len(outputs)} outputs; write an .npz file")
    else:
        np.save(data, next(iter(outputs.values())))
    write_whole(data.getvalue(), path)


def read_labels(path: Path) -> Array:
    """The right answers of a file: int array of shape (samples,).

    Raises
    ------
    InputError
        The file is missing or damaged, or does not hold one integer a sample.
    """
    labels = _load(path)
    if isinstance(labels, dict) or labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise InputError(f"{path} must hold one integer a sample, as a .npy file")
    return labels


def random_inputs(graph: Graph, samples: int, seed: int = 0) -> dict[str, Array]:
    """Uniform random integers: dict of str to int array of shape (samples, *input shape).

    Raises
    ------
    InputError
        They are more than `MAX_RANDOM_BYTES`.
    """
    sample_bytes = sum(graph.tensors[name].bytes for name in graph.inputs)
    if samples * sample_bytes > MAX_RANDOM_BYTES:
        raise InputError(
            f"{samples} samples of {sample_bytes} bytes are too many: "
            f"at most {MAX_RANDOM_BYTES // sample_bytes} can be held at once"
        )
    rng = np.random.default_rng(seed)
    arrays = {}
    for name in graph.inputs:
        kind = graph.tensors[name]
        limits = np.iinfo(kind.dtype.numpy)
        arrays[name] = rng.integers(
            limits.min, limits.max, (samples, *kind.shape), kind.dtype.numpy, endpoint=True
        )
    return arrays


def side_by_side(graph: Graph, names: Sequence[str], arrays: Mapping[str, Array]) -> Bytes2D:
    """Tensors of each sample one after the other, as C and firmware take them.

    Parameters
    ----------
    graph : Graph
    names : sequence of str
        Graph inputs or outputs.
    arrays : mapping of str to int array of shape (samples, *tensor shape)

    Returns
    -------
    uint8 array of shape (samples, bytes)
        Little-endian.
    """
    samples = len(arrays[names[0]])
    return np.concatenate(
        [little_endian(arrays[name]).reshape(samples, -1) for name in names], axis=1
    )


def apart(graph: Graph, names: Sequence[str], rows: Bytes2D) -> dict[str, Array]:
    """The opposite of `side_by_side`: int arrays of shape (samples, *tensor shape) by name."""
    arrays = {}
    start = 0
    for name in names:
        kind = graph.tensors[name]
        columns = np.ascontiguousarray(rows[:, start : start + kind.bytes])
        values = columns.view(kind.dtype.numpy.newbyteorder("<"))
        arrays[name] = values.astype(kind.dtype.numpy).reshape(len(rows), *kind.shape)
        start += kind.bytes
    return arrays


def little_endian(array: Array) -> NDArray[np.uint8]:
    """Bytes of an array in memory order: uint8 array of shape (bytes,)."""
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return little.reshape(-1).view(np.uint8)


def existing(path: Path) -> Path:
    """`path` itself if it exists.

    Raises
    ------
    InputError
        With the nearest names beside it.
    """
    if path.exists():
        return path
    folder = path.parent
    if not folder.is_dir():
        raise InputError(f"{path}: there is no folder {folder}")
    near = difflib.get_close_matches(
        path.name, [entry.name for entry in folder.iterdir()], n=2, cutoff=0.7
    )
    hint = f"; did you mean {' or '.join(str(folder / name) for name in near)}?" if near else ""
    raise InputError(f"{path}: no such file or folder{hint}")


def writable(path: Path, suffixes: Sequence[str], *read: Path | None) -> Path:
    """`path` itself if a file of this kind may be written there once the files `read` are.

    Raises
    ------
    InputError
        It has another suffix, or is one of the files that are read.
    """
    if path.suffix not in suffixes:
        raise InputError(f"{path}: the file that is written must end in {' or '.join(suffixes)}")
    for given in read:
        if given is not None and given.exists() and path.exists() and path.samefile(given):
            raise InputError(f"{path} is read, and would be overwritten: write another file")
    return path


def _load(path: Path) -> Array | dict[str, Array]:
    existing(path)
    try:
        with path.open("rb") as file:
            stored = np.load(file, allow_pickle=False)
            if isinstance(stored, np.ndarray):
                return stored
            return {name: stored[name] for name in stored.files}
    except (ValueError, EOFError, OSError, zipfile.BadZipFile, zlib.error) as exc:
        raise InputError(f"{path}: not an .npy or .npz file of numbers, or damaged") from exc


def _to_grid(array: Array, kind: TensorType, where: str) -> Array:
    if array.shape == kind.shape:
        array = array[np.newaxis]
    if array.shape == (0, *kind.shape):
        raise InputError(f"{where}: there are no samples")
    if array.shape[1:] != kind.shape:
        raise InputError(
            f"{where}: shape {list(array.shape)}, but the model reads samples of shape "
            f"{list(kind.shape)}: [samples, {', '.join(map(str, kind.shape))}]"
        )
    if array.dtype == kind.dtype.numpy:
        return np.ascontiguousarray(array)
    if array.dtype.kind != "f" or kind.grid is None:
        raise InputError(
            f"{where}: {array.dtype} values; give {kind.dtype.numpy} for the integers themselves"
            + (" or floats for the real values" if kind.grid is not None else "")
        )
    if not np.isfinite(array).all():
        raise InputError(f"{where}: the values must be finite")
    return kind.grid.quantize(array)
