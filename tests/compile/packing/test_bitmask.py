# SPDX-License-Identifier: Apache-2.0
"""The bitmask codec. [F7]"""

from codeq_compile.packing import pack, unpack
from tests.compile.packing.layers import row


def test_the_drawing_in_formats_is_what_is_written() -> None:
    """People write decoders from the drawing. [F7]"""
    layer = row([0, 0, 3, 0, 0, 0, 0, -1, 0, 2], bits=4)

    assert bytes([0x84, 0x02, 0xF3, 0x02]) == pack(layer, "bitmask").data


def test_a_zero_stores_no_value() -> None:
    """A zero weight must cost one mask bit and nothing else, or sparsity saves no flash. [F7]"""
    codes = [0] * 64
    codes[40] = -3

    assert 64 // 8 + 1 == len(pack(row(codes, bits=4), "bitmask").data)


def test_a_ternary_non_zero_costs_its_sign() -> None:
    """8 mask bits, then one bit for each of the two non-zeros; the gap is in the struct. [F4]"""
    packed = pack(row([0, 1, 0, 0, -1, 0, 0, 0], bits=2, gap=6), "bitmask")

    assert bytes([0b00010010, 0b10]) == packed.data
    assert [[0, 7, 0, 0, -7, 0, 0, 0]] == unpack(packed, (1, 8)).tolist()


def test_zeros_of_a_table_are_those_of_its_level_zero() -> None:
    """The mask follows the weight's integer, not its position in the table. [F2]"""
    packed = pack(row([0, 1, 2, 1], bits=2, levels=(-9, 0, 4)), "bitmask")

    assert bytes([0b0101, 0b1000]) == packed.data
    assert [[-9, 0, 4, 0]] == unpack(packed, (1, 4)).tolist()
