# SPDX-License-Identifier: Apache-2.0
"""Clips of speech, and the front end of MLPerf Tiny, which makes images of them."""

import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from codeq_compile.errors import InputError

Clips = NDArray[np.int16]

RATE = 16_000

SCALE, ZERO_POINT = np.float32(0.5847029), 83
"""Input grid of MLPerf Tiny's int8 model."""

_FRAME, _HOP, _FFT = 480, 320, 512
_FRAMES, _BANDS, _COEFFICIENTS = 49, 40, 10
_LOWEST_HZ, _HIGHEST_HZ = 20.0, 4000.0


def read_wave(path: Path, *, rate: int = RATE) -> Clips:
    """All samples of a file of 16-bit mono.

    Raises
    ------
    InputError
        It cannot be read, or is something else.
    """
    try:
        with wave.open(str(path)) as file:
            form = (file.getframerate(), file.getnchannels(), file.getsampwidth())
            frames = file.getnframes()
            data = file.readframes(frames)
    except (OSError, EOFError, wave.Error) as error:
        reason = str(error) or "it ends too early"  # an EOFError says nothing
        raise InputError(f"{path} is no .wav file: {reason}") from error
    if form != (rate, 1, 2):
        raise InputError(f"{path}: expected 16-bit mono at {rate} Hz")
    if len(data) != 2 * frames:
        raise InputError(f"{path} ends after {len(data)} bytes of {frames} samples")
    return np.frombuffer(data, "<i2").astype(np.int16)


def mfcc(clips: Clips) -> NDArray[np.float32]:
    """Cepstral coefficients of clips of one second.

    Frames of 30 ms every 20 ms, Hann window, magnitude spectrum, 40 mel bands, logarithm, DCT-II.
    Source: MLPerf Tiny, `keyword_spotting/get_dataset.py`; a clip is scaled by its largest sample,
    not by its largest magnitude, as there.

    Parameters
    ----------
    clips : int16 array of shape (n, 16000)

    Returns
    -------
    float32 array of shape (n, 49, 10)
    """
    samples = clips.astype(np.float32)
    top = samples.max(1, keepdims=True)
    samples /= np.where(top == 0, 1, top)
    index = np.arange(_FRAMES)[:, None] * _HOP + np.arange(_FRAME)
    window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_FRAME) / _FRAME)).astype(np.float32)
    spectrum = np.abs(np.fft.rfft(samples[:, index] * window, _FFT)).astype(np.float32)
    bands = np.log(spectrum @ _mel_filters() + np.float32(1e-6))
    return np.asarray(bands @ _dct(), np.float32)


def _mel(frequency: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(1127.0 * np.log1p(frequency / 700.0))


def _mel_filters() -> NDArray[np.float32]:
    """Triangles that overlap by half on the mel scale: (spectrum bins, bands); bin 0 is unused."""
    bins = _mel(np.linspace(0.0, RATE / 2, _FFT // 2 + 1)[1:])[:, None]
    lowest, highest = _mel(np.asarray([_LOWEST_HZ, _HIGHEST_HZ]))
    edges = np.linspace(lowest, highest, _BANDS + 2)
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    triangles = np.minimum((bins - left) / (centre - left), (right - bins) / (right - centre))
    return np.pad(np.maximum(0.0, triangles), ((1, 0), (0, 0))).astype(np.float32)


def _dct() -> NDArray[np.float32]:
    """DCT-II, orthogonal but for its first column: (bands, coefficients)."""
    band = np.arange(_BANDS)[:, None] + 0.5
    cosines = np.cos(np.pi / _BANDS * band * np.arange(_COEFFICIENTS))
    return np.asarray(cosines * np.sqrt(2.0 / _BANDS), np.float32)


def quantize(features: NDArray[np.float32]) -> NDArray[np.int8]:
    """int8 on MLPerf Tiny's input grid; its tool truncates where the grid's rule would round."""
    steps = np.trunc(features / SCALE + ZERO_POINT)
    return np.asarray(np.clip(steps, -128, 127), np.int8)
