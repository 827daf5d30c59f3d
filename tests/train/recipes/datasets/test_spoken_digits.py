# SPDX-License-Identifier: Apache-2.0
"""Spoken digits: files and archive, the keyword spotter's front end, split by speaker."""

from pathlib import Path

import numpy as np
import pytest
import torch

from codeq_compile.errors import InputError
from codeq_train.recipes import speech
from codeq_train.recipes.datasets import spoken_digits
from tests.train.recipes.files import write_digits


def test_files_become_images_of_the_front_end(tmp_path: Path) -> None:
    """The device computes the same features from 8 kHz: each sample twice, then as for keywords."""
    clip = write_digits(tmp_path, 1)["7_yweweler_0.wav"]
    test = spoken_digits.load(tmp_path).test
    second = np.zeros(8_000, np.int16)
    second[: len(clip)] = clip
    codes = speech.quantize(speech.mfcc(np.repeat(second, 2)[None]))

    assert list(range(10)) == test.y.tolist()
    assert np.array_equal(codes[0], spoken_digits.GRID.quantize(test.x[7, 0].numpy()))


def test_no_speaker_is_in_two_sets(tmp_path: Path) -> None:
    """Who trained is recognised by voice, not by word."""
    written = write_digits(tmp_path, 2)
    digits = spoken_digits.load(tmp_path)

    assert (80, 20, 20) == (len(digits.train), len(digits.validation), len(digits.test))
    assert 120 == len(written)
    assert 6 == len({*spoken_digits.TRAIN, *spoken_digits.VALIDATION, *spoken_digits.TEST})


def test_training_clips_vary_and_others_do_not(tmp_path: Path) -> None:
    """Four voices are few: others are higher, faster, later."""
    write_digits(tmp_path, 2)
    digits = spoken_digits.load(tmp_path)
    torch.manual_seed(0)
    drawn = digits.draw(torch.zeros(60, dtype=torch.int64))

    assert 10 < len({image.numpy().tobytes() for image in drawn})
    assert torch.equal(digits.test.x, spoken_digits.load(tmp_path).test.x)


def test_the_archive_is_the_same_in_one_file(tmp_path: Path) -> None:
    """One file instead of 3,000."""
    written = write_digits(tmp_path, 1)
    names = [name.removesuffix(".wav").split("_") for name in written]
    speakers = sorted({speaker for _, speaker, _ in names})
    folder = tmp_path / "archive"
    folder.mkdir()
    np.savez(
        folder / "fsdd.npz",
        audio=np.concatenate(list(written.values())),
        offset=np.cumsum([0, *map(len, written.values())]),
        y=np.asarray([int(digit) for digit, _, _ in names]),
        speaker=np.asarray([speakers.index(speaker) for _, speaker, _ in names]),
        speakers=np.asarray(speakers),
    )

    archived, files = spoken_digits.load(folder), spoken_digits.load(tmp_path / "recordings")
    assert torch.equal(files.test.x, archived.test.x)
    assert files.test.y.tolist() == archived.test.y.tolist()


def test_other_folders_and_files_are_input_errors(tmp_path: Path) -> None:
    """A wrong --data must be told as such, and where to get the right one."""
    with pytest.raises(InputError, match=r"has no <digit>_<speaker>_<take>\.wav"):
        spoken_digits.load(tmp_path)

    write_digits(tmp_path, 1)
    for path in (tmp_path / "recordings").glob("*_theo_*.wav"):
        path.unlink()
    with pytest.raises(InputError, match="has no clips of theo"):
        spoken_digits.load(tmp_path)

    write_digits(tmp_path / "recordings", 1, rate=16_000)
    with pytest.raises(InputError, match="expected 16-bit mono at 8000 Hz"):
        spoken_digits.load(tmp_path / "recordings" / "recordings")


@pytest.mark.slow
def test_the_real_clips_are_split_by_speaker(shared: Path) -> None:
    """500 clips of each of six people."""
    digits = spoken_digits.load(shared / "data" / "fsdd")

    assert (2000, 500, 500) == (len(digits.train), len(digits.validation), len(digits.test))
