# SPDX-License-Identifier: Apache-2.0
"""Streams of bit fields: least significant bit first, no padding between fields. [F1]"""

import numpy as np
from numpy.typing import NDArray

from codeq_compile.errors import ModelError

Bits = NDArray[np.uint8]
"""One bit an element."""
Fields = NDArray[np.uint8]
"""One field an element."""


def split(fields: Fields, width: int) -> Bits:
    """Bits of each field: uint8 array of shape (fields, width), `width` 1 to 8."""
    return np.unpackbits(fields[:, None], axis=1, count=width, bitorder="little")


def join(bits: Bits) -> Fields:
    """The inverse of `split`."""
    return np.packbits(bits, axis=1, bitorder="little")[:, 0]


def to_bytes(bits: Bits) -> bytes:
    """A stream of bits as bytes; bits are taken in memory order."""
    return np.packbits(bits.ravel(), bitorder="little").tobytes()


def from_bytes(data: bytes) -> Bits:
    """All bits of a stream, those that fill the last byte included."""
    return np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")


def take(bits: Bits, start: int, count: int, width: int) -> Fields:
    """`count` fields of `width` bits from bit `start` on.

    Raises
    ------
    ModelError
        The stream ends before them.
    """
    end = start + count * width
    if end > len(bits):
        raise ModelError(f"packed weights are truncated: {end} bits are needed, {len(bits)} there")
    return join(bits[start:end].reshape(count, width))


def at_every_bit(bits: Bits, width: int) -> Fields:
    """The field that starts at each bit: uint8 array of shape (max(0, bits - width + 1),)."""
    places = max(0, len(bits) - width + 1)
    fields = np.zeros(places, np.uint8)
    for k in range(width):
        fields |= bits[k : k + places] << np.uint8(k)
    return fields


def check_end(bits: Bits, used: int) -> None:
    """A stream ends in the byte of its last field and is filled up with zeros.

    Raises
    ------
    ModelError
        Bytes follow, or a filling bit is set.
    """
    if len(bits) - used >= 8:
        raise ModelError(f"packed weights are followed by {(len(bits) - used) // 8} more bytes")
    if bits[used:].any():
        raise ModelError("packed weights end in a byte whose unused bits are not zero")
