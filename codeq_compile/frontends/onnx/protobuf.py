# SPDX-License-Identifier: Apache-2.0
"""Protocol Buffers, read without generated code: every length is checked before it is used.

Source: https://protobuf.dev/programming-guides/encoding. A damaged file ends in `Damaged`, in time
and memory that are proportional to its size: messages are views of the file, read once, on demand.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from codeq_compile.errors import Damaged
from codeq_compile.numerics import Int64Array

MAX_FIELDS = 1 << 18
"""Of a whole file: a model for a microcontroller has a few thousand."""
MAX_LIST_BYTES = 1 << 22
"""Of numbers that are stored one by one; those of weights are stored as bytes."""
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MAX_VARINT_BYTES = 10


class Budget:
    """How many more fields of a file may be read."""

    def __init__(self, fields: int = MAX_FIELDS) -> None:
        self._left = fields

    def spend(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise Damaged(f"it has more than {MAX_FIELDS} fields: not for a microcontroller")


class Message:
    """The fields of one message, by their number in the schema; a field may stand several times."""

    def __init__(self, data: memoryview, budget: Budget) -> None:
        self._budget = budget
        self._fields: dict[int, list[int | memoryview]] = {}
        position = 0
        while position < len(data):
            budget.spend()
            tag, position = _varint(data, position)
            value, position = _value(data, position, tag & 7)
            self._fields.setdefault(tag >> 3, []).append(value)

    def __contains__(self, field: int) -> bool:
        return field in self._fields

    def integer(self, field: int, default: int = 0) -> int:
        """A varint, as int64; of several the last one counts."""
        for value in reversed(self._fields.get(field, ())):
            if isinstance(value, int):
                return _signed(value)
        return default

    def float32(self, field: int) -> float:
        values = self.floats(field)
        return float(values[-1]) if len(values) else 0.0

    def blob(self, field: int) -> memoryview | None:
        """Bytes, not copied; None where they are absent."""
        for value in reversed(self._fields.get(field, ())):
            if isinstance(value, memoryview):
                return value
        return None

    def text(self, field: int) -> str:
        """A string; empty where it is absent."""
        return _text(self.blob(field) or b"")

    def texts(self, field: int) -> tuple[str, ...]:
        return tuple(_text(each) for each in self._blobs(field))

    def message(self, field: int) -> "Message | None":
        data = self.blob(field)
        return None if data is None else Message(data, self._budget)

    def messages(self, field: int) -> "tuple[Message, ...]":
        return tuple(Message(each, self._budget) for each in self._blobs(field))

    def integers(self, field: int) -> Int64Array:
        """A repeated varint, packed or not."""
        parts = [
            np.array([_signed(value)], np.int64) if isinstance(value, int) else _packed(value)
            for value in self._fields.get(field, ())
        ]
        return np.concatenate([np.empty(0, np.int64), *parts])

    def floats(self, field: int, dtype: str = "<f4") -> NDArray[Any]:
        """A repeated float, or with "<f8" double, packed or not."""
        size = np.dtype(dtype).itemsize
        parts = [
            np.frombuffer(value, dtype, len(value) // size)
            for value in self._blobs(field)
            if len(value) % size == 0
        ]
        return np.concatenate([np.empty(0, dtype), *parts])

    def _blobs(self, field: int) -> list[memoryview]:
        return [each for each in self._fields.get(field, ()) if isinstance(each, memoryview)]


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    """(value, next position)."""
    value = 0
    for index, byte in enumerate(data[position : position + _MAX_VARINT_BYTES]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, position + index + 1
    raise Damaged("a number of it does not end")


def _value(data: memoryview, position: int, wire_type: int) -> tuple[int | memoryview, int]:
    """(value, next position); numbers of fixed width stay bytes: only the schema knows them."""
    if wire_type == _VARINT:
        return _varint(data, position)
    if wire_type == _BYTES:
        size, position = _varint(data, position)
    elif wire_type in {_FIXED32, _FIXED64}:
        size = 4 if wire_type == _FIXED32 else 8
    else:
        raise Damaged(f"a field of it has the unknown wire type {wire_type}: it is no .onnx file")
    if size > len(data) - position:
        raise Damaged(f"a field of {size} bytes begins {len(data) - position} bytes before the end")
    return data[position : position + size], position + size


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _packed(data: memoryview) -> Int64Array:
    """All varints of a packed field."""
    if len(data) > MAX_LIST_BYTES:
        raise Damaged(f"a list of {len(data)} bytes of single numbers: store them as raw_data")
    octets = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(octets < 0x80)
    if len(octets) and (not len(ends) or ends[-1] != len(octets) - 1):
        raise Damaged("the last number of a list does not end")
    starts = np.concatenate([[0], ends[:-1] + 1]) if len(ends) else ends
    if len(ends) and int((ends - starts).max()) >= _MAX_VARINT_BYTES:
        raise Damaged("a number of a list does not end")
    shifts = (7 * (np.arange(len(octets)) - np.repeat(starts, ends - starts + 1))).astype(np.uint64)
    parts = (octets & 0x7F).astype(np.uint64) << shifts
    if not len(ends):
        return np.empty(0, np.int64)
    result: Int64Array = np.bitwise_or.reduceat(parts, starts).view(np.int64)
    return result


def _text(data: memoryview | bytes) -> str:
    text = bytes(data).decode(errors="replace")
    return "".join(c if c.isprintable() else "?" for c in text)
