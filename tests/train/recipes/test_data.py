# SPDX-License-Identifier: Apache-2.0
"""Data sets: whole, on their grids, and split so that nobody is in two sets."""

from pathlib import Path

import numpy as np
import pytest
import torch

from codeq_compile.errors import InputError
from codeq_train.recipes import data
from tests.train.recipes.clips import write_clips


def people(windows: torch.Tensor) -> set[bytes]:
    return {window.numpy().tobytes() for window in windows}


def test_the_shipped_recordings_are_small_and_licensed() -> None:
    """Every installation carries them."""
    folder = data.WATCH_ARCHIVE.parent

    assert data.WATCH_ARCHIVE.stat().st_size <= 3e6
    assert "Copyright (c) 2018, David M. Burns" in (folder / "LICENSE").read_text()
    assert "seglearn" in (folder / "README.md").read_text()


def test_the_ten_people_are_in_one_split_each() -> None:
    """An accuracy on people who were trained on says nothing about a new wearer."""
    splits = (data.WATCH_TRAIN, data.WATCH_VALIDATION, data.WATCH_TEST)
    everyone = [person for split in splits for person in split]

    assert sorted(set(data.read_watch().person)) == sorted(everyone)

    watch = data.watch()
    sets = [people(each.x) for each in (watch.train, watch.validation, watch.test)]
    assert not sets[0] & sets[1]
    assert not sets[0] & sets[2]
    assert not sets[1] & sets[2]


def test_windows_are_the_recordings_cut_in_half_overlapping_pieces() -> None:
    """A window across two recordings would be two exercises under one name."""
    recordings = data.read_watch()
    samples = data.watch().test
    expected, classes, start = [], [], 0
    for length, exercise, person in zip(
        recordings.length, recordings.exercise, recordings.person, strict=True
    ):
        own = recordings.signal[start : start + length]
        start += length
        if person in data.WATCH_TEST:
            for first in range(0, length - 127, 64):
                expected.append(own[first : first + 128].T)
                classes.append(exercise)

    assert torch.equal(torch.stack(expected), samples.x)
    assert classes == samples.y.tolist()


def test_every_input_value_lies_on_the_grid() -> None:
    """The device feeds integers: an input between two of them would be another input there."""
    watch = data.watch()
    x = watch.train.x.numpy()

    assert np.array_equal(x, watch.grid.dequantize(watch.grid.quantize(x)))


def test_the_keyword_set_is_read_from_its_folder(tmp_path: Path) -> None:
    """The split of the file decides, and values come back on the file's grid."""
    stored = write_clips(tmp_path, clips=12)
    clips = data.kws(tmp_path)

    assert ("go", "silence") == clips.labels
    for split, samples in enumerate((clips.train, clips.validation, clips.test)):
        chosen = stored["split"] == split
        assert np.array_equal(stored["x"][chosen], clips.grid.quantize(samples.x[:, 0].numpy()))
        assert stored["y12"][chosen].tolist() == samples.y.tolist()


def test_the_real_keyword_set_has_its_splits(shared: Path) -> None:
    """The sizes that docs/RECIPES.md states."""
    clips = data.kws(shared / "data" / "kws")

    assert (11840, 1557, 1500) == (len(clips.train), len(clips.validation), len(clips.test))
    assert (1, 49, 10) == tuple(clips.test.x.shape[1:])
    assert 12 == len(clips.labels)


def test_a_missing_or_foreign_file_is_an_input_error(tmp_path: Path) -> None:
    """A wrong --data must be told as such, not by a traceback."""
    with pytest.raises(InputError, match=r"kws_mfcc_i8\.npz"):
        data.kws(tmp_path)

    np.savez(tmp_path / "kws_mfcc_i8.npz", x=np.zeros(3))
    with pytest.raises(InputError, match="scale is not a file in the archive"):
        data.kws(tmp_path)

    (tmp_path / "kws_mfcc_i8.npz").write_bytes(b"")
    with pytest.raises(InputError, match=r"kws_mfcc_i8\.npz"):
        data.kws(tmp_path)
