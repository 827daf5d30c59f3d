# SPDX-License-Identifier: Apache-2.0
"""The dense codec. [F5]"""

import numpy as np

from codeq_compile.packing import pack, unpack
from tests.compile.packing.layers import row


def test_the_drawing_in_formats_is_what_is_written() -> None:
    """People write decoders from the drawing. [F5]"""
    assert bytes([0xE1, 0x07, 0x09]) == pack(row([1, -2, 7, 0, -7], bits=4), "dense").data


def test_rows_are_not_padded() -> None:
    """Three rows of one 3-bit weight are nine bits, not three bytes. [F2]"""
    layer = row([1, 2, 3], bits=3, rows=3)

    assert bytes([0b11010001, 0b0]) == pack(layer, "dense").data


def test_eight_bits_without_gap_are_the_weights_themselves() -> None:
    """Kernels read such a stream in place: any other order would be a silent error. [F5]"""
    values = [-128, 127, 0, -1, 5]

    assert np.array(values, np.int8).tobytes() == pack(row(values, bits=8), "dense").data


def test_one_bit_is_a_table_of_two_levels() -> None:
    """Binary weights cost one bit and two bytes. [F2]"""
    layer = row([1, 0, 1, 1], bits=1, levels=(-3, 5))
    packed = pack(layer, "dense")

    assert (b"\x0d", 3) == (packed.data, packed.bytes)
    assert [[5, -3, 5, 5]] == unpack(packed, (1, 4)).tolist()
