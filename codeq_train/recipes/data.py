# SPDX-License-Identifier: Apache-2.0
"""The recipes' data sets: where they come from, in which units, and who is in which split."""

import zipfile
import zlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from codeq_compile.errors import InputError
from codeq_compile.ir import Grid
from codeq_train.recipes import augment

Arrays = dict[str, NDArray[np.generic]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Samples:
    """Inputs in torch's layout, and their classes.

    Parameters
    ----------
    x : float tensor of shape (samples, ...)
    y : int64 tensor of shape (samples,)
    """

    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dataset:
    """Three sets that share no person, and how a training batch is drawn.

    Parameters
    ----------
    labels : tuple of str
        Class names.
    grid : Grid
        int8 grid that every input value lies on: the device feeds these integers.
    train, validation, test : Samples
        As they were recorded.
    draw : callable
        From indices into `train` to their inputs, varied anew each time.
    """

    labels: tuple[str, ...]
    grid: Grid
    train: Samples
    validation: Samples
    test: Samples
    draw: Callable[[Tensor], Tensor]


# -- Physiotherapy exercises from a smartwatch --------------------------------------------------

WATCH_ARCHIVE = Path(__file__).with_name("watch_data") / "recordings.npz"
WATCH_UNITS = (1 / 32, 1 / 32, 1 / 32, 1 / 16, 1 / 16, 1 / 16)
"""One stored count: g for the accelerometer (x, y, z), rad/s for the gyroscope."""
WATCH_GRID = Grid(scale=1 / 32, zero_point=0)
"""The network's unit is 1 g or 2 rad/s, so that all six channels share the counts' grid."""
WATCH_RATE = 50
"""Samples a second."""

WINDOW = 128
STRIDE = 64

WATCH_TRAIN = ("P1", "P2", "P3", "P4", "P5", "P6", "P7")
WATCH_VALIDATION = ("P8",)
WATCH_TEST = ("P9", "P10")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Recordings:
    """The watch recordings, end to end.

    Parameters
    ----------
    signal : float tensor of shape (samples, 6)
        On `WATCH_GRID`.
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


def read_watch() -> Recordings:
    """The shipped recordings: 10 people, 7 exercises, both wrists, 50 Hz.

    Source: D. Burns et al., arXiv:1802.01489, from the package seglearn (watch_data/README.md).
    """
    stored = _read(WATCH_ARCHIVE, ("signal", "length", "exercise", "subject", "exercises"))
    return Recordings(
        signal=torch.from_numpy(WATCH_GRID.dequantize(stored["signal"].astype(np.int8))),
        length=stored["length"].astype(np.int64),
        exercise=stored["exercise"].astype(np.int64),
        person=np.asarray([f"P{number}" for number in stored["subject"]]),
        exercises=tuple(str(name) for name in stored["exercises"]),
    )


def watch(
    train: Collection[str] = WATCH_TRAIN,
    validation: Collection[str] = WATCH_VALIDATION,
    test: Collection[str] = WATCH_TEST,
) -> Dataset:
    """Windows (6, 128) of acceleration and turn rate, split by person.

    Parameters
    ----------
    train, validation, test : collection of str
        People, "P1" to "P10".
    """
    recordings = read_watch()
    training, validating, testing = (
        recordings.windows(people) for people in (train, validation, test)
    )
    return Dataset(
        labels=recordings.exercises,
        grid=WATCH_GRID,
        train=Samples(x=training.plain(), y=training.exercise),
        validation=Samples(x=validating.plain(), y=validating.exercise),
        test=Samples(x=testing.plain(), y=testing.exercise),
        draw=training.draw,
    )


# -- Spoken keywords ----------------------------------------------------------------------------


def kws(directory: Path) -> Dataset:
    """MFCC images (1, 49, 10) of spoken words, split by speaker.

    Parameters
    ----------
    directory : Path
        With `kws_mfcc_i8.npz` (`x` int8 of shape (clips, 49, 10), `scale`, `zero_point`, `y12`,
        `split` 0/1/2 for train/validation/test, `labels12`) and `kws_train_aug4_i8.npz` (`x` int8
        of shape (variants, clips, 49, 10), `index` of each clip among those of the first file):
        the front end of MLPerf Tiny on clips of Speech Commands (CC BY 4.0), and on the same clips
        shifted and mixed with noise.

    Raises
    ------
    InputError
        A file is missing or is something else.
    """
    names = ("x", "scale", "zero_point", "y12", "split", "labels12")
    clips = _read(directory / "kws_mfcc_i8.npz", names)
    varied = _read(directory / "kws_train_aug4_i8.npz", ("x", "index"))
    grid = Grid(scale=float(clips["scale"]), zero_point=int(clips["zero_point"]))
    classes = torch.from_numpy(clips["y12"].astype(np.int64))
    images = torch.from_numpy(clips["x"].astype(np.int8))
    pool = augment.VariedClips(
        clips=images,
        variants=torch.from_numpy(varied["x"].astype(np.int8)),
        clip_of_variant=torch.from_numpy(varied["index"].astype(np.int64)),
        scale=grid.scale,
        zero_point=grid.zero_point,
    )
    train, validation, test = (
        torch.from_numpy(np.flatnonzero(clips["split"] == split)) for split in range(3)
    )
    return Dataset(
        labels=tuple(str(label).strip("_") for label in clips["labels12"]),
        grid=grid,
        train=Samples(x=pool.plain(train), y=classes[train]),
        validation=Samples(x=pool.plain(validation), y=classes[validation]),
        test=Samples(x=pool.plain(test), y=classes[test]),
        draw=lambda index: pool.draw(train[index]),
    )


def _read(path: Path, names: Collection[str]) -> Arrays:
    """Arrays of an `.npz` file by name."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in names}
    except KeyError as error:
        raise InputError(f"{path}: {error.args[0]}") from error
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path}: {error}") from error
