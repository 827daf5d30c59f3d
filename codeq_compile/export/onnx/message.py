# SPDX-License-Identifier: Apache-2.0
"""Protocol Buffers, written without generated code.

Source: https://protobuf.dev/programming-guides/encoding.
"""

import struct


class Message:
    """The bytes of one message, field after field."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def integer(self, field: int, value: int) -> "Message":
        """An int64, as a varint of its two's complement."""
        return self._add(field, 0, _varint(value % (1 << 64)))

    def float32(self, field: int, value: float) -> "Message":
        return self._add(field, 5, struct.pack("<f", value))

    def blob(self, field: int, data: bytes) -> "Message":
        return self._add(field, 2, _varint(len(data)) + data)

    def text(self, field: int, text: str) -> "Message":
        return self.blob(field, text.encode())

    def message(self, field: int, message: "Message") -> "Message":
        return self.blob(field, bytes(message))

    def _add(self, field: int, wire_type: int, data: bytes) -> "Message":
        self._parts.append(_varint(field << 3 | wire_type) + data)
        return self

    def __bytes__(self) -> bytes:
        return b"".join(self._parts)


def _varint(value: int) -> bytes:
    octets = bytearray()
    while value >= 0x80:
        octets.append(value & 0x7F | 0x80)
        value >>= 7
    octets.append(value)
    return bytes(octets)
