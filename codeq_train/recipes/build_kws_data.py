# SPDX-License-Identifier: Apache-2.0
"""Prepare the keyword spotter's two files from a folder of Speech Commands.

    python -m codeq_train.recipes.build_kws_data SPEECH_COMMANDS DIR

`SPEECH_COMMANDS` is the unpacked archive (version 0.02): a folder of `.wav` files a word,
`_background_noise_`, `validation_list.txt` and `testing_list.txt`, which split it by speaker.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from codeq_compile.errors import InputError
from codeq_train.recipes.speech import RATE, SCALE, ZERO_POINT, Clips, mfcc, quantize, read_wave

WORDS = ("down", "go", "left", "no", "off", "on", "right", "stop", "up", "yes")
LABELS = (*WORDS, "_silence_", "_unknown_")
NOISE = "_background_noise_"
LISTS = {"validation_list.txt": 1, "testing_list.txt": 2}

VARIANTS = 4
SHIFT = RATE // 10
LOUDEST_NOISE = 0.1
"""Of a clip's own full scale, in variants of spoken words."""
LOUDEST_SILENCE = 1.0

_BATCH = 256


# -- Clips --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """A spoken word: file, class and split."""

    path: Path
    label: int
    split: int


def recordings(folder: Path) -> list[Recording]:
    """All clips of the ten words, and as many of the other words, evenly chosen.

    Raises
    ------
    InputError
        `folder` is not an unpacked Speech Commands.
    """
    splits: dict[str, int] = {}
    for name, number in LISTS.items():
        try:
            lines = (folder / name).read_text(encoding="utf-8").split()
        except OSError as error:
            raise InputError(f"{folder / name}: {error.strerror}") from error
        splits.update(dict.fromkeys(lines, number))
    found: dict[bool, list[Recording]] = {True: [], False: []}
    for path in sorted(folder.glob("[a-z]*/*.wav")):
        word = path.parent.name
        label = LABELS.index(word) if word in WORDS else LABELS.index("_unknown_")
        split = splits.get(f"{word}/{path.name}", 0)
        found[word in WORDS].append(Recording(path=path, label=label, split=split))
    known, others = found[True], found[False]
    if not known:
        raise InputError(f"{folder} has no folder {WORDS[0]}, {WORDS[1]} … with .wav files")
    step = max(1, -(-len(others) // len(known)))
    return known + others[::step]


def read_clip(path: Path) -> Clips:
    """One second of a file, filled up with zeros: int16 array of shape (16000,)."""
    samples = read_wave(path)[:RATE]
    return np.pad(samples, (0, RATE - len(samples)))


class Noise:
    """Random pieces of the background recordings."""

    def __init__(self, folder: Path, rng: np.random.Generator) -> None:
        paths = sorted((folder / NOISE).glob("*.wav"))
        if not paths:
            raise InputError(f"{folder / NOISE} has no .wav files")
        self._tracks = [read_wave(path) for path in paths]
        self._rng = rng

    def pieces(self, count: int, loudest: float) -> Clips:
        """int16 array of shape (count, 16000), each at a random loudness up to `loudest`."""
        pieces = []
        for _ in range(count):
            track = self._tracks[self._rng.integers(len(self._tracks))]
            start = self._rng.integers(len(track) - RATE + 1)
            pieces.append(track[start : start + RATE] * self._rng.uniform(0.0, loudest))
        return np.asarray(pieces).astype(np.int16)

    def varied(self, clips: Clips) -> Clips:
        """Clips moved by up to a tenth of a second, with noise behind them; shaped as `clips`."""
        shifts = self._rng.integers(-SHIFT, SHIFT + 1, len(clips))
        padded = np.pad(clips, ((0, 0), (SHIFT, SHIFT)))
        index = SHIFT - shifts[:, None] + np.arange(RATE)
        moved = np.take_along_axis(padded, index, axis=1)
        mixed = moved.astype(np.int32) + self.pieces(len(clips), LOUDEST_NOISE)
        return np.asarray(np.clip(mixed, -32768, 32767), np.int16)


# -- The files ----------------------------------------------------------------------------------


def build(folder: Path, directory: Path, *, seed: int = 0) -> None:
    """Write `kws_mfcc_i8.npz` and `kws_train_aug4_i8.npz`: what `datasets.speech_commands` reads.

    Parameters
    ----------
    folder : Path
        Speech Commands.
    directory : Path
        Made if it does not exist.
    seed : int
        Of silence and variants.

    Raises
    ------
    InputError
        `folder` is something else.
    """
    rng = np.random.default_rng(seed)
    spoken = recordings(folder)
    noise = Noise(folder, rng)
    silent = _silence_splits(spoken)
    codes, variants, index = [], [], []
    for start, clips in _batches(spoken):
        codes.append(quantize(mfcc(clips)))
        batch = spoken[start : start + len(clips)]
        training = [i for i, each in enumerate(batch) if each.split == 0]
        if training:
            index += [start + i for i in training]
            different = [quantize(mfcc(noise.varied(clips[training]))) for _ in range(VARIANTS)]
            variants.append(np.stack(different))
    codes.append(quantize(mfcc(noise.pieces(len(silent), LOUDEST_SILENCE))))
    directory.mkdir(parents=True, exist_ok=True)
    labels = [each.label for each in spoken] + [LABELS.index("_silence_")] * len(silent)
    np.savez_compressed(
        directory / "kws_mfcc_i8.npz",
        x=np.concatenate(codes),
        scale=SCALE,
        zero_point=np.asarray(ZERO_POINT),
        y12=np.asarray(labels, np.uint8),
        split=np.asarray([*(each.split for each in spoken), *silent], np.uint8),
        labels12=np.asarray(LABELS),
    )
    np.savez_compressed(
        directory / "kws_train_aug4_i8.npz",
        x=np.concatenate(variants, axis=1),
        index=np.asarray(index, np.uint32),
    )


def _silence_splits(spoken: Sequence[Recording]) -> list[int]:
    """Splits of the silent clips: in each as many as there are of one word on average."""
    known = [each.split for each in spoken if each.label < len(WORDS)]
    counts = -(-np.bincount(known, minlength=len(LISTS) + 1) // len(WORDS))
    return np.repeat(np.arange(len(counts)), counts).tolist()


def _batches(spoken: Sequence[Recording]) -> Iterator[tuple[int, Clips]]:
    for start in range(0, len(spoken), _BATCH):
        chosen = spoken[start : start + _BATCH]
        yield start, np.stack([read_clip(each.path) for each in chosen])


def main(arguments: Sequence[str]) -> int:
    """Run from a shell."""
    if len(arguments) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        build(Path(arguments[0]), Path(arguments[1]))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
