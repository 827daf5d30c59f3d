# SPDX-License-Identifier: Apache-2.0
"""CIFAR-10: 60,000 colour images (32, 32) of ten things.

Source: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009; the archives
are at https://www.cs.toronto.edu/~kriz/cifar.html, without a stated licence.  The device feeds
``pixel - 128`` of red, green and blue, interleaved.
"""

import io
import pickle
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codeq_compile.errors import InputError
from codeq_compile.ir import Grid
from codeq_train.recipes.data import Dataset, read_npz
from codeq_train.recipes.datasets import pictures
from codeq_train.recipes.datasets.pictures import Batch

LABELS = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
GRID = Grid(scale=1 / 64, zero_point=-8)
"""About the mean (pixel 120) and deviation (64) of all pixels: inputs are normalised at once."""

TRAIN_BATCHES = tuple(f"data_batch_{i}" for i in range(1, 6))
TEST_BATCH = "test_batch"
JPEG = "cifar10_jpeg.npz"
_SIDE = 32
_MOVED = 4
_RECORD = 1 + 3 * _SIDE * _SIDE


def load(directory: Path) -> Dataset:
    """Images (3, 32, 32); a twentieth of the training set validates; crops and mirror images.

    Parameters
    ----------
    directory : Path
        An unpacked archive, or the folder that it was unpacked in: `cifar-10-batches-py` ("python
        version") or `cifar-10-batches-bin` ("binary version").  Or with `cifar10_jpeg.npz`:
        `jpeg_train` and `jpeg_test` uint8, all JPEG files end to end, `off_train` and `off_test`
        where each begins and the last ends, `y_train`, `y_test`; reading it needs Pillow.

    Raises
    ------
    InputError
        The folder has none of these, or a file is something else.
    """
    training, test = _read(directory)
    return pictures.dataset(LABELS, GRID, training, test, moved=_MOVED)


def _read(directory: Path) -> tuple[Batch, Batch]:
    """Training and test images in whichever form the folder has them."""
    for folder, suffix, read in (
        ("cifar-10-batches-py", "", _read_pickle),
        ("cifar-10-batches-bin", ".bin", _read_binary),
    ):
        for place in (directory, directory / folder):
            if any((place / f"{name}{suffix}").is_file() for name in (*TRAIN_BATCHES, TEST_BATCH)):
                parts = [read(place / f"{name}{suffix}") for name in TRAIN_BATCHES]
                pixels, classes = (np.concatenate(each) for each in zip(*parts, strict=True))
                return (pixels, classes), read(place / f"{TEST_BATCH}{suffix}")
    if (directory / JPEG).is_file():
        return _read_jpeg(directory / JPEG)
    raise InputError(
        f"{directory} has neither cifar-10-batches-py nor cifar-10-batches-bin: unpack an archive "
        "of https://www.cs.toronto.edu/~kriz/cifar.html there"
    )


def _interleaved(planes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Rows of 3072 bytes, plane after plane, as (n, 32, 32, 3)."""
    return np.ascontiguousarray(planes.reshape(-1, 3, _SIDE, _SIDE).transpose(0, 2, 3, 1))


def _read_binary(path: Path) -> Batch:
    data = np.frombuffer(_bytes(path), np.uint8)
    if not len(data) or len(data) % _RECORD:
        raise InputError(f"{path}: not a whole number of records of {_RECORD} bytes")
    records = data.reshape(-1, _RECORD)
    return _interleaved(records[:, 1:]), records[:, 0].copy()


def _read_pickle(path: Path) -> Batch:
    try:
        batch = _ArraysOnly(io.BytesIO(_bytes(path)), encoding="latin1").load()
        planes, classes = batch["data"], batch["labels"]
        return _interleaved(np.asarray(planes, np.uint8)), np.asarray(classes, np.uint8)
    except (pickle.UnpicklingError, EOFError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is not a batch of CIFAR-10: {error}") from error


class _ArraysOnly(pickle.Unpickler):
    """A pickle may run any code when it is opened: this one may only make numpy arrays."""

    def find_class(self, module: str, name: str) -> Any:
        if name == "_reconstruct" and module.endswith("core.multiarray"):
            return np.empty(0).__reduce__()[0]  # numpy moved it between versions
        if (module, name) in {("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")}:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error


def _read_jpeg(path: Path) -> tuple[Batch, Batch]:
    names = [f"{name}_{part}" for part in ("train", "test") for name in ("jpeg", "off", "y")]
    stored = read_npz(path, names)

    def batch(part: str) -> Batch:
        data, ends = stored[f"jpeg_{part}"].tobytes(), stored[f"off_{part}"].tolist()
        images = _decoded(path, [data[i:j] for i, j in pairwise(ends)])
        return np.stack(list(images)), stored[f"y_{part}"].astype(np.uint8)

    return batch("train"), batch("test")


def _decoded(path: Path, files: list[bytes]) -> Iterator[NDArray[np.uint8]]:
    try:
        from PIL import Image
    except ImportError as error:
        raise InputError(f"{path} holds JPEG images: pip install pillow") from error
    for file in files:
        try:
            with Image.open(io.BytesIO(file)) as image:
                yield np.asarray(image.convert("RGB"))
        except OSError as error:
            raise InputError(f"{path} holds a damaged image: {error}") from error
