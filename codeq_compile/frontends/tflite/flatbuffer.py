# SPDX-License-Identifier: Apache-2.0
"""FlatBuffers, read without generated code: every offset and every length is checked first.

Source: https://flatbuffers.dev/internals. A damaged file ends in `Damaged`, soon and in little
memory: an honest file refers to no byte twice, a hostile one may not either, and what becomes
objects of Python is limited whatever the file's size.
"""

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codeq_compile.errors import Damaged

_MIN_TABLE_BYTES = 8
"""Its offset in the vector that holds it, and the one to its vtable."""
_SHARED = 4
"""How often a byte of a vector may be read: writers share equal shapes and names."""
MAX_TABLES = 1 << 16
MAX_INTEGERS = 1 << 16
MAX_CHARACTERS = 1 << 22
"""Of shapes, operands and names: many times those of the largest models."""


class Buffer:
    """The bytes of a file, and how much more of them may be read."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self._left = {
            "tables": min(MAX_TABLES, len(data) // _MIN_TABLE_BYTES),
            "integers": MAX_INTEGERS,
            "characters": MAX_CHARACTERS,
            "bytes in vectors": _SHARED * len(data),
        }

    def spend(self, what: str, amount: int) -> None:
        """Count what is read, before it is.

        Raises
        ------
        Damaged
            It is more than any model of this size has.
        """
        self._left[what] -= amount
        if self._left[what] < 0:
            raise Damaged(f"there are more {what} than a model of this size can have")

    def root(self, identifier: bytes) -> "Table":
        """The file's first table, if the file carries the identifier."""
        if self.data[4:8] != identifier:
            raise Damaged(f"the file identifier {identifier.decode()} is missing at byte 4")
        return self.table(0)

    def table(self, position: int) -> "Table":
        """The table that the offset at `position` leads to."""
        self.spend("tables", 1)
        return Table(self, position + self.uint32(position))

    def vector(self, position: int, size: int) -> tuple[int, int]:
        """(first byte, count) of the vector of elements of `size` bytes that an offset leads to."""
        start = position + self.uint32(position)
        count = self.uint32(start)
        self.check(start + 4, count * size)
        self.spend("bytes in vectors", count * size)
        return start + 4, count

    def uint32(self, position: int) -> int:
        return int.from_bytes(self.bytes_at(position, 4), "little")

    def bytes_at(self, position: int, count: int) -> bytes:
        self.check(position, count)
        return self.data[position : position + count]

    def check(self, position: int, count: int) -> None:
        if not 0 <= position <= len(self.data) - count:
            raise Damaged(
                f"an offset leads to byte {position + count} of a file of {len(self.data)} bytes"
            )


class Table:
    """A table of a buffer; its fields are numbered as in the schema, from 0."""

    def __init__(self, buffer: Buffer, position: int) -> None:
        self._buffer = buffer
        self._position = position
        vtable = position - struct.unpack("<i", buffer.bytes_at(position, 4))[0]
        size = int.from_bytes(buffer.bytes_at(vtable, 2), "little")
        # two uint16 of the vtable itself come before the fields
        offsets = buffer.bytes_at(vtable, size)[4 : size - size % 2]
        self._fields: tuple[int, ...] = struct.unpack(f"<{len(offsets) // 2}H", offsets)

    def scalar(self, field: int, code: str, default: Any = 0) -> Any:
        """A number of the type that `code` has in `struct`: b for int8, f for float32."""
        at = self._at(field)
        if at is None:
            return default
        return struct.unpack(f"<{code}", self._buffer.bytes_at(at, struct.calcsize(code)))[0]

    def array(self, field: int, dtype: str) -> NDArray[Any]:
        """A vector of numbers; empty where it is absent."""
        at = self._at(field)
        kind = np.dtype(dtype).newbyteorder("<")
        if at is None:
            return np.empty(0, kind)
        start, count = self._buffer.vector(at, kind.itemsize)
        return np.frombuffer(self._buffer.data, kind, count, start)

    def integers(self, field: int) -> tuple[int, ...]:
        """A short vector of int32; empty where it is absent."""
        numbers = self.array(field, "i4")
        self._buffer.spend("integers", len(numbers))
        return tuple(numbers.tolist())

    def blob(self, field: int) -> memoryview | None:
        """A vector of bytes, not copied; None where it is absent."""
        at = self._at(field)
        if at is None:
            return None
        start, count = self._buffer.vector(at, 1)
        return memoryview(self._buffer.data)[start : start + count]

    def text(self, field: int) -> str:
        """A string without control characters; empty where it is absent."""
        stored = self.blob(field) or b""
        self._buffer.spend("characters", len(stored))
        text = bytes(stored).decode(errors="replace")
        return "".join(c if c.isprintable() else "?" for c in text)

    def table(self, field: int) -> "Table | None":
        at = self._at(field)
        return None if at is None else self._buffer.table(at)

    def tables(self, field: int) -> "Iterator[Table]":
        """A vector of tables; empty where it is absent."""
        at = self._at(field)
        if at is not None:
            start, count = self._buffer.vector(at, 4)
            yield from (self._buffer.table(start + 4 * i) for i in range(count))

    def _at(self, field: int) -> int | None:
        """Position of a field; None where it is absent."""
        offset = self._fields[field] if field < len(self._fields) else 0
        return self._position + offset if offset else None
