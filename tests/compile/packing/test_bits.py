# SPDX-License-Identifier: Apache-2.0
"""Streams of bit fields. [F1]"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeq_compile.errors import ModelError
from codeq_compile.packing import bits


def test_fields_are_written_as_the_drawing_in_formats_shows() -> None:
    """Another bit order is a format that no decoder reads. [F1]"""
    fields = np.array([5, 2, 7], np.uint8)

    assert bytes([0xD5, 0x01]) == bits.to_bytes(bits.split(fields, 3))


@given(st.integers(1, 8), st.data())
def test_fields_come_back(width: int, data: st.DataObject) -> None:
    """Every width must hold every value, wherever it lies in its byte."""
    values = data.draw(st.lists(st.integers(0, (1 << width) - 1), max_size=40))
    fields = np.array(values, np.uint8)
    stream = bits.from_bytes(bits.to_bytes(bits.split(fields, width)))

    assert values == bits.take(stream, 0, len(values), width).tolist()
    bits.check_end(stream, len(values) * width)


@given(st.binary(max_size=8), st.integers(1, 8))
def test_a_field_is_found_at_every_bit(data: bytes, width: int) -> None:
    """The rle decoder follows records from any bit to any other."""
    number = int.from_bytes(data, "little")
    expected = [
        (number >> place) & ((1 << width) - 1) for place in range(max(0, 8 * len(data) - width + 1))
    ]

    assert expected == bits.at_every_bit(bits.from_bytes(data), width).tolist()


def test_a_stream_that_is_too_short_or_too_long_is_refused() -> None:
    """Weights read past the end of flash would be whatever follows there."""
    stream = bits.from_bytes(b"\x01\x00")

    with pytest.raises(ModelError, match=r"truncated: 18 bits are needed, 16"):
        bits.take(stream, 0, 6, 3)
    with pytest.raises(ModelError, match=r"followed by 1 more bytes"):
        bits.check_end(stream, 3)
    with pytest.raises(ModelError, match=r"unused bits are not zero"):
        bits.check_end(bits.from_bytes(b"\x08"), 3)
