# SPDX-License-Identifier: Apache-2.0
"""The shipped recordings: whole, on their grid, and split so that nobody is in two sets."""

import numpy as np
import torch

from codeq_train.recipes.datasets import watch


def people(windows: torch.Tensor) -> set[bytes]:
    return {window.numpy().tobytes() for window in windows}


def test_the_shipped_recordings_are_small_and_licensed() -> None:
    """Every installation carries them."""
    folder = watch.ARCHIVE.parent

    assert watch.ARCHIVE.stat().st_size <= 3e6
    assert "Copyright (c) 2018, David M. Burns" in (folder / "LICENSE").read_text()
    assert "seglearn" in (folder / "README.md").read_text()


def test_the_ten_people_are_in_one_split_each() -> None:
    """An accuracy on people who were trained on says nothing about a new wearer."""
    splits = (watch.TRAIN, watch.VALIDATION, watch.TEST)
    everyone = [person for split in splits for person in split]

    assert sorted(set(watch.read().person)) == sorted(everyone)

    windows = watch.load()
    sets = [people(each.x) for each in (windows.train, windows.validation, windows.test)]
    assert not sets[0] & sets[1]
    assert not sets[0] & sets[2]
    assert not sets[1] & sets[2]


def test_windows_are_the_recordings_cut_in_half_overlapping_pieces() -> None:
    """A window across two recordings would be two exercises under one name."""
    recordings = watch.read()
    samples = watch.load().test
    expected, classes, start = [], [], 0
    for length, exercise, person in zip(
        recordings.length, recordings.exercise, recordings.person, strict=True
    ):
        own = recordings.signal[start : start + length]
        start += length
        if person in watch.TEST:
            for first in range(0, length - 127, 64):
                expected.append(own[first : first + 128].T)
                classes.append(exercise)

    assert torch.equal(torch.stack(expected), samples.x)
    assert classes == samples.y.tolist()


def test_every_input_value_lies_on_the_grid() -> None:
    """The device feeds integers: an input between two of them would be another input there."""
    windows = watch.load()
    x = windows.train.x.numpy()

    assert np.array_equal(x, windows.grid.dequantize(windows.grid.quantize(x)))
