# SPDX-License-Identifier: Apache-2.0
"""Bearings: the published files and the archive, in g, split by load and by time."""

from pathlib import Path

import numpy as np
import pytest
import torch

from codeq_compile.errors import InputError
from codeq_train.recipes.datasets import cwru
from tests.train.recipes.files import mat_array, mat_file, write_bearings

SAMPLES = 12 * 1024 + 100


def test_published_files_become_windows_on_the_grid(tmp_path: Path) -> None:
    """Cut beside each other; what is left at the end is not used."""
    written = write_bearings(tmp_path, SAMPLES)
    vibrations = cwru.load(tmp_path)
    at_load_3 = [written[numbers[3]][: 12 * 1024] for numbers in cwru.FILES.values()]
    expected = np.concatenate(at_load_3)
    counts = np.clip(np.rint(expected * 32), -128, 127)

    assert np.array_equal(counts, vibrations.test.x.numpy().reshape(-1) * 32)
    assert np.repeat(np.arange(10), 12).tolist() == vibrations.test.y.tolist()
    assert "B007" == vibrations.labels[1]


def test_the_ends_of_training_recordings_validate(tmp_path: Path) -> None:
    """Windows of one moment in two sets would be nearly the same sample twice."""
    written = write_bearings(tmp_path, SAMPLES)
    vibrations = cwru.load(tmp_path)
    end = SAMPLES * 4 // 5

    # of each of ten bearings nine windows, then two of the rest; at load 3 all twelve
    assert (10 * 9, 10 * 2, 10 * 12) == (
        len(vibrations.train),
        len(vibrations.validation),
        len(vibrations.test),
    )
    first = np.clip(np.rint(written[97][end : end + 1024] * 32), -128, 127)
    assert np.array_equal(first, vibrations.validation.x[0, 0].numpy() * 32)


def test_drawn_windows_are_pieces_of_the_same_recording(tmp_path: Path) -> None:
    """A window across two recordings would have two faults."""
    write_bearings(tmp_path, SAMPLES)
    vibrations = cwru.load(tmp_path)
    torch.manual_seed(0)
    everything = torch.arange(len(vibrations.train)).repeat(20)
    strength = vibrations.draw(everything).std((1, 2)).log()
    quiet = vibrations.train.y[everything] < 5

    assert strength[quiet].max() - strength[~quiet].min() < 0.1 + 2 * 0.2  # their own, and gain
    assert (strength[~quiet].mean() - strength[quiet].mean()) > 1.0


def test_the_archive_is_the_same_in_one_file(tmp_path: Path) -> None:
    """16 bits and a scale instead of 40 files."""
    written = write_bearings(tmp_path, SAMPLES)
    order = [(97, 0, 0), (100, 3, 0), (118, 0, 2), (121, 3, 2)]  # number, load, class
    folder = tmp_path / "archive"
    folder.mkdir()
    np.savez(
        folder / "cwru_de12k.npz",
        x=np.concatenate(
            [np.rint(written[n][: 12 * 1024] * 5000).reshape(12, 1024) for n, _, _ in order]
        ).astype(np.int16),
        scale=np.float32(1 / 5000),
        load=np.repeat([load for _, load, _ in order], 12),
        y=np.repeat([y for _, _, y in order], 12),
        classes=np.asarray(["normal", "B014", "B007"]),
    )
    archived, published = cwru.load(folder), cwru.load(tmp_path)
    same = published.test.y < 2

    assert [0] * 12 + [1] * 12 == archived.test.y.tolist()
    # a rounding to 1/5000 g may move a value across the middle between two steps
    assert (archived.test.x - published.test.x[same]).abs().max() <= 1 / 32
    assert 18 == len(archived.train)


def test_other_folders_and_files_are_input_errors(tmp_path: Path) -> None:
    """A wrong --data must be told as such, and where to get the right one."""
    with pytest.raises(InputError, match=r"has none of 97\.mat"):
        cwru.load(tmp_path)

    (tmp_path / "97.mat").write_bytes(mat_file(mat_array("X097_DE_time", np.zeros((9, 1)))))
    with pytest.raises(InputError, match="lacks recordings at load 3 or at other loads"):
        cwru.load(tmp_path)

    (tmp_path / "100.mat").write_bytes(mat_file(mat_array("X097_DE_time", np.zeros((9, 1)))))
    with pytest.raises(InputError, match=r"100\.mat has no X100_DE_time"):
        cwru.load(tmp_path)


def test_the_real_recordings_are_those_of_the_bearing_data_center(shared: Path) -> None:
    """The sizes that docs/RECIPES.md states."""
    vibrations = cwru.load(shared / "data" / "vibration")

    assert (2742, 668, 1070) == (
        len(vibrations.train),
        len(vibrations.validation),
        len(vibrations.test),
    )
    assert 10 == len(vibrations.labels)
