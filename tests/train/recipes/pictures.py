# SPDX-License-Identifier: Apache-2.0
"""CIFAR-10's archives with a few random pictures, for tests that need no accuracy."""

import pickle
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

BATCHES = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")

Planes = dict[str, tuple[NDArray[np.uint8], NDArray[np.uint8]]]
"""Per batch: planes of shape (n, 3072), and classes."""


def planes(count: int) -> Planes:
    """`count` pictures a batch, their brightness by their class."""
    rng = np.random.default_rng(5)
    batches = {}
    for name in BATCHES:
        classes = (np.arange(count) % 10).astype(np.uint8)
        noise = rng.integers(0, 30, (count, 3072))
        batches[name] = ((noise + 22 * classes[:, None]).astype(np.uint8), classes)
    return batches


def write_binary(directory: Path, count: int) -> Planes:
    """The "binary version" in `directory`: a byte for the class, then the planes."""
    folder = directory / "cifar-10-batches-bin"
    folder.mkdir()
    batches = planes(count)
    for name, (pixels, classes) in batches.items():
        (folder / f"{name}.bin").write_bytes(np.column_stack([classes, pixels]).tobytes())
    return batches


def write_pickles(directory: Path, count: int) -> Planes:
    """The "python version" in `directory`."""
    folder = directory / "cifar-10-batches-py"
    folder.mkdir()
    batches = planes(count)
    for name, (pixels, classes) in batches.items():
        batch = {"data": pixels, "labels": classes.tolist(), "batch_label": name}
        (folder / name).write_bytes(pickle.dumps(batch, protocol=2))
    return batches
