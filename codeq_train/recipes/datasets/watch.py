# SPDX-License-Identifier: Apache-2.0
"""Physiotherapy exercises from a smartwatch: 10 people, 7 exercises, both wrists, 50 Hz.

Source: D. Burns et al., arXiv:1802.01489, from the package seglearn (BSD-3), and shipped with codeq
(watch_data/README.md).  The device feeds the watch's own int8 counts.
"""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from codeq_compile.ir import Grid
from codeq_train.recipes import augment
from codeq_train.recipes.data import Dataset, Samples, read_npz

ARCHIVE = Path(__file__).parents[1] / "watch_data" / "recordings.npz"
UNITS = (1 / 32, 1 / 32, 1 / 32, 1 / 16, 1 / 16, 1 / 16)
"""One stored count: g for the accelerometer (x, y, z), rad/s for the gyroscope."""
GRID = Grid(scale=1 / 32, zero_point=0)
"""The network's unit is 1 g or 2 rad/s, so that all six channels share the counts' grid."""
RATE = 50
"""Samples a second."""

WINDOW = 128
STRIDE = 64

TRAIN = ("P1", "P2", "P3", "P4", "P5", "P6", "P7")
VALIDATION = ("P8",)
TEST = ("P9", "P10")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Recordings:
    """The watch recordings, end to end.

    Parameters
    ----------
    signal : float tensor of shape (samples, 6)
        On `GRID`.
    length, exercise : int arrays of shape (recordings,)
    person : array of str of shape (recordings,)
    exercises : tuple of str
    """

    signal: Tensor
    length: NDArray[np.int64]
    exercise: NDArray[np.int64]
    person: NDArray[np.str_]
    exercises: tuple[str, ...]

    def windows(self, people: Collection[str]) -> augment.WatchWindows:
        """Half overlapping windows that lie within one recording of one of `people`."""
        ends = np.cumsum(self.length)
        first, start = [], []
        for i in np.flatnonzero(np.isin(self.person, list(people))):
            starts = np.arange(ends[i] - self.length[i], ends[i] - WINDOW + 1, STRIDE)
            start.append(starts)
            first.append(np.full(len(starts), i))
        recording = np.concatenate(first)
        return augment.WatchWindows(
            signal=self.signal,
            length=WINDOW,
            start=torch.from_numpy(np.concatenate(start)),
            first=torch.from_numpy((ends - self.length)[recording]),
            end=torch.from_numpy(ends[recording]),
            exercise=torch.from_numpy(self.exercise[recording]),
        )


def read() -> Recordings:
    """The shipped recordings: 10 people, 7 exercises, both wrists, 50 Hz.

    Source: D. Burns et al., arXiv:1802.01489, from the package seglearn (watch_data/README.md).
    """
    stored = read_npz(ARCHIVE, ("signal", "length", "exercise", "subject", "exercises"))
    return Recordings(
        signal=torch.from_numpy(GRID.dequantize(stored["signal"].astype(np.int8))),
        length=stored["length"].astype(np.int64),
        exercise=stored["exercise"].astype(np.int64),
        person=np.asarray([f"P{number}" for number in stored["subject"]]),
        exercises=tuple(str(name) for name in stored["exercises"]),
    )


def load(
    train: Collection[str] = TRAIN,
    validation: Collection[str] = VALIDATION,
    test: Collection[str] = TEST,
) -> Dataset:
    """Windows (6, 128) of acceleration and turn rate, split by person.

    Parameters
    ----------
    train, validation, test : collection of str
        People, "P1" to "P10".
    """
    recordings = read()
    training, validating, testing = (
        recordings.windows(people) for people in (train, validation, test)
    )
    return Dataset(
        labels=recordings.exercises,
        grid=GRID,
        train=Samples(x=training.plain(), y=training.exercise),
        validation=Samples(x=validating.plain(), y=validating.exercise),
        test=Samples(x=testing.plain(), y=testing.exercise),
        draw=training.draw,
    )
