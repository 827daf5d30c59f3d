# SPDX-License-Identifier: Apache-2.0
"""From Speech Commands to the files of the keyword recipe: the published front end, the splits."""

import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest

from codeq_compile.errors import InputError
from codeq_train.recipes import build_kws_data
from codeq_train.recipes.datasets import speech_commands
from codeq_train.recipes.speech import Clips, mfcc, quantize


def write_wave(path: Path, samples: Clips, rate: int = 16_000) -> None:
    path.parent.mkdir(exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.astype("<i2").tobytes())


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    """Three clips of `go`, one a split, six of `bird`, and a noise."""
    folder = tmp_path / "speech"
    folder.mkdir()
    rng = np.random.default_rng(1)
    for name in ("go/a.wav", "go/b.wav", "go/c.wav", *(f"bird/{i}.wav" for i in range(6))):
        length = 16_000 if name != "go/b.wav" else 9_000
        write_wave(folder / name, rng.integers(-9000, 9000, length).astype(np.int16))
    write_wave(
        folder / "_background_noise_" / "hum.wav", rng.integers(-99, 99, 40_000).astype(np.int16)
    )
    (folder / "validation_list.txt").write_text("go/b.wav\nbird/2.wav\n")
    (folder / "testing_list.txt").write_text("go/c.wav\nbird/4.wav\n")
    return folder


def test_what_is_built_is_what_the_recipe_reads(speech: Path, tmp_path: Path) -> None:
    """Whoever has the originals can train: classes, speakers' splits, variants, silence."""
    build_kws_data.build(speech, tmp_path / "kws")
    clips = speech_commands.load(tmp_path / "kws")
    go, silence, unknown = (clips.labels.index(name) for name in ("go", "silence", "unknown"))

    # every second bird: as many as there are known words
    assert [go, unknown, silence] == clips.validation.y.tolist()
    assert [go, unknown, silence] == clips.test.y.tolist()
    assert [go, unknown, silence] == clips.train.y.tolist()
    known = build_kws_data.read_clip(speech / "go" / "c.wav")[None]
    expected = quantize(mfcc(known))[0]
    assert np.array_equal(expected, clips.grid.quantize(clips.test.x[0, 0].numpy()))


def test_variants_are_of_training_clips_only(speech: Path, tmp_path: Path) -> None:
    """A variant of a test clip in the training set would be a leak."""
    build_kws_data.build(speech, tmp_path / "kws")
    with (
        np.load(tmp_path / "kws" / "kws_mfcc_i8.npz") as clips,
        np.load(tmp_path / "kws" / "kws_train_aug4_i8.npz") as variants,
    ):
        split, index, x = clips["split"], variants["index"], variants["x"]

    assert [0] * len(index) == split[index].tolist()
    assert (4, len(index), 49, 10) == x.shape
    assert len(index) == np.count_nonzero(split == 0) - 1  # silence has none


def test_varied_clips_are_moved_and_have_noise(speech: Path) -> None:
    """A shift must move the word, not wrap its end around to the front."""
    noise = build_kws_data.Noise(speech, np.random.default_rng(3))
    click = np.zeros((200, 16_000), np.int16)
    click[:, 8_000] = 30_000
    varied = noise.varied(click)
    places = varied.argmax(1)

    assert 6_400 <= places.min() < 6_600
    assert 9_400 < places.max() <= 9_600
    assert 0 < np.abs(np.delete(varied[0], places[0])).max() <= 10


def test_short_clips_end_in_silence(speech: Path) -> None:
    """Many recordings are a little shorter than a second."""
    clip = build_kws_data.read_clip(speech / "go" / "b.wav")

    assert 16_000 == len(clip)
    assert not clip[9_000:].any()


def test_foreign_folders_and_files_are_refused(
    speech: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Named, so that the user sees which."""
    assert 2 == build_kws_data.main([str(tmp_path), str(tmp_path / "kws")])
    assert "validation_list.txt" in capsys.readouterr().err
    assert 2 == build_kws_data.main([])
    assert "SPEECH_COMMANDS" in capsys.readouterr().err

    write_wave(speech / "go" / "d.wav", np.zeros(10, np.int16), rate=8_000)
    with pytest.raises(InputError, match=r"d\.wav: expected 16-bit mono at 16000 Hz"):
        build_kws_data.build(speech, tmp_path / "kws")

    whole = (speech / "go" / "a.wav").read_bytes()
    (speech / "go" / "d.wav").write_bytes(whole[:-201])
    with pytest.raises(InputError, match=r"d\.wav ends after 31799 bytes of 16000 samples"):
        build_kws_data.read_clip(speech / "go" / "d.wav")

    (speech / "go" / "d.wav").write_bytes(b"RIFF")
    with pytest.raises(InputError, match=r"d\.wav is no \.wav file: it ends too early"):
        build_kws_data.build(speech, tmp_path / "kws")


def test_the_command_runs_without_a_warning() -> None:
    """Who reads "this may result in unpredictable behaviour" does not trust what is built."""
    command = [sys.executable, "-m", "codeq_train.recipes.build_kws_data"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.stderr.strip().startswith("Prepare the keyword spotter's two files")
