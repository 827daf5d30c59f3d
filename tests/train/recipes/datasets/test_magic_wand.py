# SPDX-License-Identifier: Apache-2.0
"""Gestures: text files of one's own and the archive, in the network's units."""

from pathlib import Path

import numpy as np
import pytest

from codeq_compile.errors import InputError
from codeq_train.recipes.datasets import magic_wand
from tests.train.recipes.files import write_gestures


def test_a_text_file_is_a_gesture(tmp_path: Path) -> None:
    """What the Arduino prints, without any other tool."""
    written = write_gestures(tmp_path, 25)
    gestures = magic_wand.load(tmp_path)
    last = written["circle"][4] / magic_wand.UNITS
    counts = np.clip(np.rint(last * 32), -128, 127)

    assert ("circle", "rest") == gestures.labels
    assert (32, 8, 10) == (len(gestures.train), len(gestures.validation), len(gestures.test))
    assert np.array_equal(counts.T, gestures.test.x[0].numpy() * 32)
    assert [0] * 5 + [1] * 5 == gestures.test.y.tolist()


def test_the_archive_says_which_recordings_test(tmp_path: Path) -> None:
    """A published split must be kept."""
    x = np.random.default_rng(0).normal(size=(30, 119, 6)).astype(np.float32)
    y = np.arange(30) % 2
    np.savez(
        tmp_path / "magic_wand_imu.npz",
        **{"x_train": x[:20], "y_train": y[:20], "x_test": x[20:], "y_test": y[20:]},
        classes=np.asarray(["a", "b"]),
    )
    gestures = magic_wand.load(tmp_path)

    assert (16, 4, 10) == (len(gestures.train), len(gestures.validation), len(gestures.test))
    assert np.array_equal(np.rint(x[20, :, 0] * 32), gestures.test.x[0, 0].numpy() * 32)


def test_other_folders_and_files_are_input_errors(tmp_path: Path) -> None:
    """A wrong --data must be told as such."""
    with pytest.raises(InputError, match=r"neither magic_wand_imu\.npz nor a \.csv"):
        magic_wand.load(tmp_path)

    write_gestures(tmp_path, 5)
    (tmp_path / "rest.csv").write_text("1,2,3,4,5,6\n")
    with pytest.raises(InputError, match=r"rest\.csv: expected 6 numbers a line, 119 lines"):
        magic_wand.load(tmp_path)

    (tmp_path / "rest.csv").write_text("1,2,3,4,5,#\n")
    with pytest.raises(InputError, match=r"rest\.csv: could not convert"):
        magic_wand.load(tmp_path)


def test_the_real_gestures_keep_their_split(shared: Path) -> None:
    """100 recordings to learn from, 25 to judge."""
    gestures = magic_wand.load(shared / "data" / "har")

    assert (83, 17, 25) == (len(gestures.train), len(gestures.validation), len(gestures.test))
    assert gestures.test.x.abs().max() <= 4
