# SPDX-License-Identifier: Apache-2.0
"""The ternary codec. [F6]"""

import pytest

from codeq_compile.errors import ModelError
from codeq_compile.ir.types import Packed
from codeq_compile.packing import pack, unpack
from tests.compile.packing.layers import row


def test_the_drawing_in_formats_is_what_is_written() -> None:
    """People write decoders from the drawing. [F6]"""
    assert bytes([0xA9, 0x02]) == pack(row([0, 1, -1, -1, 1, 1], bits=2), "ternary").data


def test_rows_run_on_over_bytes() -> None:
    """Five rows of one weight are one byte. [F6]"""
    assert bytes([242]) == pack(row([1] * 5, bits=2, rows=5), "ternary").data


def test_what_no_encoder_writes_is_refused() -> None:
    """243 has no digits; filling digits and foreign grids would be a second form. [F6]"""
    cases = [
        (Packed(packing="ternary", bits=2, data=b"\xf3"), "is 243"),
        (Packed(packing="ternary", bits=2, data=b"\x51"), "not filled with zeros"),
        (Packed(packing="ternary", bits=2, data=b"\x00", gap=1), "gap 0"),
    ]
    for packed, message in cases:
        with pytest.raises(ModelError, match=message):
            unpack(packed, (1, 4))
