# SPDX-License-Identifier: Apache-2.0
"""Fashion-MNIST: 70,000 grey images (28, 28) of ten kinds of clothes.

Source: H. Xiao et al., arXiv:1708.07747; the four files are at
https://github.com/zalandoresearch/fashion-mnist (MIT).  The device feeds ``pixel - 128``.
"""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from codeq_compile.errors import InputError
from codeq_compile.ir import Grid
from codeq_train.recipes.data import Dataset
from codeq_train.recipes.datasets import pictures
from codeq_train.recipes.datasets.pictures import Batch

LABELS = (
    *("tshirt", "trouser", "pullover", "dress", "coat"),
    *("sandal", "shirt", "sneaker", "bag", "boot"),
)
GRID = Grid(scale=1 / 128, zero_point=-128)
"""From 0, the background, to almost 2: where an image ends, nothing begins."""

_MOVED = 2
_FILES = {"train": "train", "test": "t10k"}


def load(directory: Path) -> Dataset:
    """Images (1, 28, 28); a twentieth of the training set validates; shifts and mirror images.

    Parameters
    ----------
    directory : Path
        With `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte` and
        `t10k-labels-idx1-ubyte`, each as it is or with `.gz`.

    Raises
    ------
    InputError
        A file is missing or is something else.
    """
    training, test = (_read(directory, _FILES[part]) for part in ("train", "test"))
    return pictures.dataset(LABELS, GRID, training, test, moved=_MOVED)


def _read(directory: Path, part: str) -> Batch:
    images = _read_idx(directory / f"{part}-images-idx3-ubyte", dimensions=3)
    classes = _read_idx(directory / f"{part}-labels-idx1-ubyte", dimensions=1)
    if len(images) != len(classes):
        raise InputError(f"{directory}: {len(images)} {part} images have {len(classes)} labels")
    return images[..., None], classes


def _read_idx(path: Path, *, dimensions: int) -> NDArray[np.uint8]:
    """An array of bytes: magic number, big-endian sizes, data.  Source: MNIST's idx format."""
    is_zipped = not path.is_file()
    if is_zipped:
        path = path.with_name(f"{path.name}.gz")
    try:
        data = path.read_bytes()
        if is_zipped:
            data = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    begin = 4 + 4 * dimensions
    sizes = struct.unpack(f">{dimensions}I", data[4:begin].ljust(4 * dimensions, b"\0"))
    values = np.frombuffer(data[begin:], np.uint8)
    if data[:4] != bytes([0, 0, 8, dimensions]) or len(values) != math.prod(sizes):
        raise InputError(f"{path} is not an idx file of bytes in {dimensions} dimensions")
    return values.reshape(sizes).copy()
