# SPDX-License-Identifier: Apache-2.0
"""Spoken digits: 3,000 recordings of six people, 8 kHz.

Source: Free Spoken Digit Dataset, https://github.com/Jakobovski/free-spoken-digit-dataset
(CC BY-SA 4.0).  The front end and the int8 input grid are those of the keyword spotter.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from codeq_compile.errors import InputError
from codeq_compile.ir import Grid
from codeq_train.recipes import augment, speech
from codeq_train.recipes.data import Dataset, Samples, read_npz
from codeq_train.recipes.speech import Clips

LABELS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
GRID = Grid(scale=float(speech.SCALE), zero_point=speech.ZERO_POINT)
ARCHIVE = "fsdd.npz"
RATE = 8_000

TRAIN = ("george", "jackson", "lucas", "nicolas")
VALIDATION = ("theo",)
TEST = ("yweweler",)

VARIANTS = 4
_TEMPO = 0.2
"""Variants are faster and higher, or slower and lower, by up to this much (logarithm)."""
_SHIFT = RATE // 5
_NOISE = 0.01
"""Largest standard deviation of the noise in variants, of full scale."""


def load(directory: Path) -> Dataset:
    """MFCC images (1, 49, 10), split by speaker; training clips vary in pitch, place and noise.

    Parameters
    ----------
    directory : Path
        The repository's folder `recordings`, or the one around it: 16-bit mono files
        `<digit>_<speaker>_<take>.wav`.  Or with `fsdd.npz`: `audio` int16, all clips end to end,
        `offset` where each begins and the last ends, `y`, `speaker` (position in `speakers`),
        `speakers`.

    Raises
    ------
    InputError
        The folder has neither, a speaker is missing, or a file is something else.
    """
    spoken = list(_read(directory))
    speakers = np.asarray([speaker for _, speaker, _ in spoken])
    missing = {*TRAIN, *VALIDATION, *TEST} - set(speakers.tolist())
    if missing:
        raise InputError(f"{directory} has no clips of {', '.join(sorted(missing))}")
    y = torch.tensor([digit for digit, _, _ in spoken])
    codes = _codes([_second(clip) for _, _, clip in spoken])
    train, validation, test = (
        torch.from_numpy(np.flatnonzero(np.isin(speakers, people)))
        for people in (TRAIN, VALIDATION, TEST)
    )
    rng = np.random.default_rng(0)
    clips = [spoken[i][2] for i in train.tolist()]
    pool = augment.VariedClips(
        clips=codes,
        variants=torch.stack([_codes([_varied(c, rng) for c in clips]) for _ in range(VARIANTS)]),
        clip_of_variant=train,
        scale=GRID.scale,
        zero_point=GRID.zero_point,
    )
    return Dataset(
        labels=LABELS,
        grid=GRID,
        train=Samples(x=pool.plain(train), y=y[train]),
        validation=Samples(x=pool.plain(validation), y=y[validation]),
        test=Samples(x=pool.plain(test), y=y[test]),
        draw=lambda index: pool.draw(train[index]),
    )


def _codes(clips: list[Clips]) -> torch.Tensor:
    """MFCC images of clips of a second: int8 tensor of shape (clips, 49, 10).

    The front end expects 16 kHz.  Doubled samples put a mirror image above 4 kHz, where its mel
    bands end.
    """
    batches = [np.stack(clips[i : i + 256]) for i in range(0, len(clips), 256)]
    features = [speech.mfcc(np.repeat(batch, 2, axis=1)) for batch in batches]
    return torch.from_numpy(speech.quantize(np.concatenate(features)))


def _second(clip: Clips, *, start: int = 0) -> Clips:
    """One second in which the clip begins at `start`, filled up with zeros."""
    room = np.zeros(RATE, np.int16)
    part = clip[: RATE - start]
    room[start : start + len(part)] = part
    return room


def _varied(clip: Clips, rng: np.random.Generator) -> Clips:
    """The clip at another speed and place, with noise: one second."""
    tempo = np.exp(rng.uniform(-_TEMPO, _TEMPO))
    places = np.arange(0, len(clip) - 1, tempo)
    other = np.interp(places, np.arange(len(clip)), clip)
    room = _second(other.astype(np.int16), start=int(rng.integers(_SHIFT)))
    noise = rng.normal(0.0, rng.uniform(0.0, _NOISE) * np.abs(clip).max(initial=1), RATE)
    noisy: NDArray[np.float64] = np.clip(np.rint(room + noise), -32768, 32767)
    return noisy.astype(np.int16)


def _read(directory: Path) -> Iterator[tuple[int, str, Clips]]:
    """Digit, speaker and samples of every clip."""
    if (directory / ARCHIVE).is_file():
        yield from _read_archive(directory / ARCHIVE)
        return
    paths = sorted(directory.glob("[0-9]_*_*.wav")) or sorted(
        (directory / "recordings").glob("[0-9]_*_*.wav")
    )
    if not paths:
        raise InputError(
            f"{directory} has no <digit>_<speaker>_<take>.wav: "
            "clone https://github.com/Jakobovski/free-spoken-digit-dataset"
        )
    for path in paths:
        digit, speaker, _ = path.stem.split("_")
        yield int(digit), speaker, speech.read_wave(path, rate=RATE)


def _read_archive(path: Path) -> Iterator[tuple[int, str, Clips]]:
    stored = read_npz(path, ("audio", "offset", "y", "speaker", "speakers"))
    audio, ends = stored["audio"].astype(np.int16), stored["offset"].tolist()
    names = [str(name) for name in stored["speakers"]]
    for i, (digit, speaker) in enumerate(zip(stored["y"], stored["speaker"], strict=True)):
        yield int(digit), names[int(speaker)], audio[ends[i] : ends[i + 1]]
