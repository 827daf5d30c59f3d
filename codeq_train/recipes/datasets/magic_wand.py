# SPDX-License-Identifier: Apache-2.0
"""Gestures with a wand: 125 recordings of acceleration and turn rate, five spells, one second each.

Recorded with the sensor board of an Arduino Nano 33 BLE Sense at 119 Hz, in the form that Arduino's
IMU capture sketch prints (MIT): whoever has the board can record gestures of their own.  The device
feeds int8 counts of 1/32 g and 4 degrees a second.
"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from codeq_compile.errors import InputError
from codeq_compile.ir import Grid
from codeq_train.recipes import augment
from codeq_train.recipes.data import Arrays, Dataset, Samples, held_out, on_grid, read_npz

ARCHIVE = "magic_wand_imu.npz"
GRID = Grid(scale=1 / 32, zero_point=0)
UNITS = (1.0, 1.0, 1.0, 128.0, 128.0, 128.0)
"""The network's unit: g for the accelerometer (x, y, z), degrees a second for the gyroscope."""

LENGTH = 119
"""Samples of a recording."""
TEST_EVERY = 5
"""One recording of this many tests, where the files do not say which."""
VALIDATION_EVERY = 5
"""One of this many of the others validates."""


def load(directory: Path) -> Dataset:
    """Recordings (6, 119); a fifth tests, a fifth of the others validates.

    Parameters
    ----------
    directory : Path
        With a file `<gesture>.csv` a class: rows of six numbers (acceleration in g, turn rate in
        degrees a second), 119 a recording; empty lines and titles are skipped.  Or with
        `magic_wand_imu.npz`: `x_train` and `x_test` float of shape (recordings, 119, 6), `y_train`,
        `y_test`, `classes`.

    Raises
    ------
    InputError
        The folder has neither, or a file is something else.
    """
    stored = _read_archive(directory) if (directory / ARCHIVE).is_file() else _read_csv(directory)
    x, y = stored["x_train"], stored["y_train"].astype(np.int64)
    validates = held_out(y, every=VALIDATION_EVERY)
    training = augment.Gestures(x=_counts(x[~validates]))
    return Dataset(
        labels=tuple(str(name) for name in stored["classes"]),
        grid=GRID,
        train=Samples(x=training.x, y=torch.from_numpy(y[~validates])),
        validation=Samples(x=_counts(x[validates]), y=torch.from_numpy(y[validates])),
        test=Samples(
            x=_counts(stored["x_test"]), y=torch.from_numpy(stored["y_test"].astype(np.int64))
        ),
        draw=training.draw,
    )


def _counts(x: NDArray[np.generic]) -> torch.Tensor:
    """Of shape (recordings, 6, 119), on the grid."""
    return on_grid(GRID, x.astype(np.float64) / UNITS).transpose(1, 2).contiguous()


def _read_archive(directory: Path) -> Arrays:
    names = ("x_train", "y_train", "x_test", "y_test", "classes")
    return read_npz(directory / ARCHIVE, names)


def _read_csv(directory: Path) -> Arrays:
    paths = sorted(directory.glob("*.csv"))
    if len(paths) < 2:
        raise InputError(f"{directory} has neither {ARCHIVE} nor a .csv file for each gesture")
    recordings = [_read_gesture(path) for path in paths]
    x = np.concatenate(recordings)
    y = np.repeat(np.arange(len(paths)), [len(each) for each in recordings])
    tests = held_out(y, every=TEST_EVERY)
    return {
        "x_train": x[~tests],
        "y_train": y[~tests],
        "x_test": x[tests],
        "y_test": y[tests],
        "classes": np.asarray([path.stem for path in paths]),
    }


def _read_gesture(path: Path) -> NDArray[np.float64]:
    """All recordings of a gesture: (recordings, 119, 6)."""
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
        rows = [line.split(",") for line in lines if line and not line[0].isalpha()]
        values = np.asarray(rows, np.float64)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: {error}") from error
    if values.ndim != 2 or values.shape[1] != len(UNITS) or len(values) % LENGTH:
        raise InputError(
            f"{path}: expected {len(UNITS)} numbers a line, {LENGTH} lines a recording"
        )
    return values.reshape(-1, LENGTH, len(UNITS))
