# SPDX-License-Identifier: Apache-2.0
"""Small data sets of random numbers in the forms in which the real ones are published."""

import gzip
import struct
import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from codeq_train.recipes.datasets import cwru

Floats = NDArray[np.float64]


# -- Fashion-MNIST ------------------------------------------------------------------------------


def write_fashion(
    directory: Path, count: int, *, zipped: bool = True
) -> dict[str, tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """`count` images in each set, their brightness by their class."""
    rng = np.random.default_rng(3)
    written = {}
    for part in ("train", "t10k"):
        classes = (np.arange(count) % 10).astype(np.uint8)
        noise = rng.integers(0, 30, (count, 28, 28))
        images = (noise + 22 * classes[:, None, None]).astype(np.uint8)
        for name, array in (("images-idx3", images), ("labels-idx1", classes)):
            head = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
            path, data = directory / f"{part}-{name}-ubyte", head + array.tobytes()
            if zipped:
                path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(data))
            else:
                path.write_bytes(data)
        written[part] = (images, classes)
    return written


# -- CWRU: MATLAB's files -----------------------------------------------------------------------


def element(kind: int, data: bytes) -> bytes:
    """An element with its tag, filled up to 8 bytes; what has at most 4 is a small one."""
    if len(data) <= 4:
        return struct.pack("<HH", kind, len(data)) + data.ljust(4, b"\0")
    return struct.pack("<II", kind, len(data)) + data + bytes(-len(data) % 8)


def mat_array(name: str, values: NDArray[np.generic], *, part: bytes | None = None) -> bytes:
    """A matrix of class double; `part` may say how its numbers are stored."""
    numbers = element(9, values.astype("<f8").tobytes(order="F")) if part is None else part
    flags = element(6, struct.pack("<II", 6, 0))
    shape = element(5, np.asarray(values.shape, "<i4").tobytes())
    return element(14, flags + shape + element(1, name.encode()) + numbers)


def mat_file(content: bytes) -> bytes:
    """A file of version 5."""
    return b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM" + content


def write_bearings(directory: Path, samples: int) -> dict[int, Floats]:
    """The published recordings at loads 0 and 3, each bearing louder than the one before."""
    rng = np.random.default_rng(7)
    written = {}
    for fault, numbers in enumerate(cwru.FILES.values()):
        for number in (numbers[0], numbers[3]):
            signal = 0.1 * 1.4**fault * rng.normal(size=samples)
            arrays = mat_array(f"X{number:03d}_DE_time", signal[:, None])
            arrays += mat_array(f"X{number:03d}RPM", np.asarray([[1797.0]]))
            (directory / f"{number}.mat").write_bytes(mat_file(arrays))
            written[number] = signal
    return written


# -- The magic wand -----------------------------------------------------------------------------


def write_gestures(directory: Path, recordings: int) -> dict[str, Floats]:
    """Two gestures: text as the Arduino prints it, an empty line after each recording."""
    rng = np.random.default_rng(11)
    written = {}
    for name, speed in (("circle", 40.0), ("rest", 1.0)):
        x = np.round(rng.normal(size=(recordings, 119, 6)) * [1, 1, 1, speed, speed, speed], 3)
        lines = ["aX,aY,aZ,gX,gY,gZ"]
        for recording in x:
            lines += [",".join(f"{value:.3f}" for value in row) for row in recording] + [""]
        (directory / f"{name}.csv").write_text("\n".join(lines))
        written[name] = x
    return written


# -- Spoken digits ------------------------------------------------------------------------------


def write_digits(directory: Path, takes: int, *, rate: int = 8_000) -> dict[str, NDArray[np.int16]]:
    """Ten digits, each higher than the one before, of six speakers, in a folder `recordings`."""
    rng = np.random.default_rng(13)
    folder = directory / "recordings"
    folder.mkdir()
    written = {}
    for speaker in ("george", "jackson", "lucas", "nicolas", "theo", "yweweler"):
        for digit in range(10):
            for take in range(takes):
                times = np.arange(rng.integers(2000, 4000)) / rate
                clip = (9000 * np.sin(2 * np.pi * 200 * (digit + 1) * times)).astype(np.int16)
                name = f"{digit}_{speaker}_{take}.wav"
                with wave.open(str(folder / name), "wb") as file:
                    file.setnchannels(1)
                    file.setsampwidth(2)
                    file.setframerate(rate)
                    file.writeframes(clip.astype("<i2").tobytes())
                written[name] = clip
    return written
