# SPDX-License-Identifier: Apache-2.0
"""Numeric arrays of MATLAB's `.mat` files, version 5 to 7, as measuring stations publish them.

Source: "MAT-File Format", The MathWorks, chapter 1.
"""

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from codeq_compile.errors import InputError

_HEADER = 128
_MATRIX, _COMPRESSED = 14, 15
_NUMBERS = {
    **{1: "<i1", 2: "<u1", 3: "<i2", 4: "<u2", 5: "<i4", 6: "<u4"},
    **{7: "<f4", 9: "<f8", 12: "<i8", 13: "<u8"},
}
_NUMERIC_CLASSES = range(6, 16)


def read(path: Path) -> dict[str, NDArray[np.float64]]:
    """All numeric arrays of a file, by name.

    Returns
    -------
    dict of float64 arrays
        Of MATLAB's shape, which is at least two-dimensional.

    Raises
    ------
    InputError
        The file cannot be read, or is of another version (7.3 is HDF5).
    """
    try:
        data = path.read_bytes()
        if data[124:128] != b"\x00\x01IM":
            raise InputError(f"{path} is not a little-endian MAT file of version 5")
        return dict(_arrays(data[_HEADER:]))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    except (struct.error, KeyError, ValueError, zlib.error) as error:
        raise InputError(f"{path} is damaged: {error}") from error


def _arrays(data: bytes) -> Iterator[tuple[str, NDArray[np.float64]]]:
    for kind, content in _elements(data):
        if kind == _COMPRESSED:
            yield from _arrays(zlib.decompress(content))
        elif kind == _MATRIX:
            yield from _matrix(content)


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and content of each element; a small one has both sizes in one word."""
    at = 0
    while at < len(data):
        (word,) = struct.unpack_from("<I", data, at)
        if word >> 16:
            yield word & 0xFFFF, data[at + 4 : at + 4 + (word >> 16)]
            at += 8
        else:
            (size,) = struct.unpack_from("<I", data, at + 4)
            yield word, data[at + 8 : at + 8 + size]
            at += 8 + (size if word == _COMPRESSED else -(-size // 8) * 8)


def _matrix(content: bytes) -> Iterator[tuple[str, NDArray[np.float64]]]:
    (_, flags), (_, sizes), (_, name), *parts = _elements(content)
    if flags[0] in _NUMERIC_CLASSES:
        kind, numbers = parts[0]
        array = np.frombuffer(numbers, _NUMBERS[kind]).astype(np.float64)
        yield name.decode("ascii"), array.reshape(np.frombuffer(sizes, "<i4"), order="F")
