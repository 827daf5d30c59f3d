# SPDX-License-Identifier: Apache-2.0
"""Vibrations of a motor's bearing, sound or with one of nine faults, at four loads, 12 kHz.

Source: Case Western Reserve University Bearing Data Center, drive end at 12 kHz,
https://engineering.case.edu/bearingdatacenter, without a stated licence.  The device feeds the
acceleration in steps of `GRID`, limited to int8.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from codeq_compile.errors import InputError
from codeq_compile.ir import Grid
from codeq_train.recipes import augment
from codeq_train.recipes.data import Dataset, Samples, on_grid, read_npz
from codeq_train.recipes.datasets import matlab

LABELS = (
    "normal",
    *("B007", "B014", "B021", "IR007", "IR014", "IR021"),
    *("OR@6_007", "OR@6_014", "OR@6_021"),
)
"""Ball, inner race, outer race at 6 o'clock; the fault's diameter in thousandths of an inch."""

FILES = {
    "normal": (97, 98, 99, 100),
    **{"B007": (118, 119, 120, 121), "B014": (185, 186, 187, 188), "B021": (222, 223, 224, 225)},
    **{"IR007": (105, 106, 107, 108), "IR014": (169, 170, 171, 172)},
    **{"IR021": (209, 210, 211, 212), "OR@6_007": (130, 131, 132, 133)},
    **{"OR@6_014": (197, 198, 199, 200), "OR@6_021": (234, 235, 236, 237)},
}
"""Numbers of the published `.mat` files, at loads of 0 to 3 horsepower."""

ARCHIVE = "cwru_de12k.npz"
RATE = 12_000
"""Samples a second."""
GRID = Grid(scale=1 / 32, zero_point=0)
"""In g: 4 g are full scale, which only a few impacts exceed."""

WINDOW = 1024
TEST_LOAD = 3
VALIDATION_SHARE = 5
"""The last of this many parts of each training recording validates."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Recording:
    """One bearing at one load.

    Parameters
    ----------
    fault : int
        Position in `LABELS`.
    load : int
        In horsepower.
    signal : float array of shape (samples,)
        Acceleration in g.
    """

    fault: int
    load: int
    signal: NDArray[np.float64]


def load(directory: Path) -> Dataset:
    """Windows (1, 1024); load 3 is the test set, the end of each other recording validates.

    Parameters
    ----------
    directory : Path
        With the published files (`97.mat` and so on: `FILES`), of which those of a load may be
        missing.  Or with `cwru_de12k.npz`: `x` int16 of shape (windows, 1024), those of a recording
        one after the other, `scale` in g, `y` (position in `classes`), `load`, `classes`.

    Raises
    ------
    InputError
        No file is there, or one is something else.
    """
    recordings = _read(directory)
    known = [each for each in recordings if each.load != TEST_LOAD]
    if not known or len(known) == len(recordings):
        raise InputError(f"{directory} lacks recordings at load {TEST_LOAD} or at other loads")
    ends = [len(each.signal) * (VALIDATION_SHARE - 1) // VALIDATION_SHARE for each in known]
    training = _windows([(r.signal[:end], r.fault) for r, end in zip(known, ends, strict=True)])
    validating = _windows([(r.signal[end:], r.fault) for r, end in zip(known, ends, strict=True)])
    testing = _windows([(r.signal, r.fault) for r in recordings if r.load == TEST_LOAD])
    train, validation, test = (
        Samples(x=windows.plain(), y=windows.label) for windows in (training, validating, testing)
    )
    return Dataset(
        labels=tuple(label.replace("@", "_at_") for label in LABELS),
        grid=GRID,
        train=train,
        validation=validation,
        test=test,
        draw=training.draw,
    )


def _windows(recordings: list[tuple[NDArray[np.float64], int]]) -> augment.Vibrations:
    """Windows beside each other; what is left at a recording's end is not used."""
    lengths = np.asarray([len(signal) for signal, _ in recordings])
    ends = np.cumsum(lengths)
    counts = lengths // WINDOW
    first = np.repeat(ends - lengths, counts)
    position = np.concatenate([np.arange(count) for count in counts])
    return augment.Vibrations(
        signal=on_grid(GRID, np.concatenate([signal for signal, _ in recordings])),
        length=WINDOW,
        start=torch.from_numpy(first + WINDOW * position),
        first=torch.from_numpy(first),
        end=torch.from_numpy(np.repeat(ends, counts)),
        label=torch.from_numpy(np.repeat([fault for _, fault in recordings], counts)),
    )


def _read(directory: Path) -> list[Recording]:
    if (directory / ARCHIVE).is_file():
        return list(_read_archive(directory / ARCHIVE))
    recordings = list(_read_published(directory))
    if not recordings:
        raise InputError(
            f"{directory} has none of 97.mat, 105.mat …: get the drive-end recordings at 12 kHz "
            "from https://engineering.case.edu/bearingdatacenter"
        )
    return recordings


def _read_archive(path: Path) -> Iterator[Recording]:
    stored = read_npz(path, ("x", "scale", "y", "load", "classes"))
    names = [str(name) for name in stored["classes"]]
    if not set(names) <= set(LABELS):
        raise InputError(f"{path}: classes must be among {', '.join(LABELS)}")
    for load_hp in np.unique(stored["load"]):
        for number in np.unique(stored["y"]):
            windows = stored["x"][(stored["load"] == load_hp) & (stored["y"] == number)]
            if len(windows):
                yield Recording(
                    fault=LABELS.index(names[int(number)]),
                    load=int(load_hp),
                    signal=windows.reshape(-1) * float(stored["scale"]),
                )


def _read_published(directory: Path) -> Iterator[Recording]:
    for label, numbers in FILES.items():
        for load_hp, number in enumerate(numbers):
            path = directory / f"{number}.mat"
            if path.is_file():
                arrays, name = matlab.read(path), f"X{number:03d}_DE_time"
                if name not in arrays:
                    raise InputError(f"{path} has no {name}")
                yield Recording(
                    fault=LABELS.index(label), load=load_hp, signal=arrays[name].reshape(-1)
                )
