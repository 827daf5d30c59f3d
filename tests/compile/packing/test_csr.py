# SPDX-License-Identifier: Apache-2.0
"""The csr codec. [F12]"""

import numpy as np
import pytest

from codeq_compile.errors import ModelError
from codeq_compile.ir.types import Packed
from codeq_compile.packing import pack, unpack
from tests.compile.packing.layers import row


def test_the_drawing_of_signs_in_formats_is_what_is_written() -> None:
    """People write decoders from the drawing. [F12]"""
    layer = row([0, 0, 1, 0, 0, 0, 0, -1, *131 * [0], 1], bits=2)

    assert bytes([2, 0x04, 0x0F, 1, 0x16]) == pack(layer, "csr").data


def test_the_drawing_of_codes_in_formats_is_what_is_written() -> None:
    """People write decoders from the drawing. [F12]"""
    packed = pack(row([1, 2, 3, 4, 5, 6, 7, -7, -6, -5], bits=4), "csr")
    first = [0x01, 0x00, 0x02, 0x00, 0, 1]
    second = [0x7A, 0x35, 0x9B, 0x46, *range(2, 10)]

    assert bytes([5, *first, *second]) == packed.data


def test_codes_of_a_byte_stand_four_to_a_word() -> None:
    """Its first and third byte are one pair: the kernel extends both at once. [F12]"""
    packed = pack(row([9, 1, -2, 3, 4], bits=5), "csr")

    # the last of three pairs is filled up by code 0 at place 0
    assert bytes([3, 9, 0, 1, 0, 0, 1, 4, 254, 0, 3, 2, 3, 4, 0]) == packed.data


@pytest.mark.parametrize(
    ("codes", "grid", "stored"),
    [
        ([0, 0], {"bits": 8}, (2, 0)),
        ([1, -1], {"bits": 2, "gap": 90}, (2, 90)),
        ([0, 9, -9], {"bits": 5}, (2, 8)),
        ([-128, 0], {"bits": 8}, (8, 0)),
        ([1, -3], {"bits": 3, "gap": 4}, (4, 0)),
        ([1, -3], {"bits": 3, "gap": 5}, (8, 0)),
        ([0, 1, 2], {"bits": 2, "levels": (0, 3, -7)}, (4, 0)),
    ],
)
def test_integers_decide_how_they_are_stored(
    codes: list[int], grid: dict[str, int], stored: tuple[int, int]
) -> None:
    """A table, a gap or a wide grid costs nothing where its integers are small. [F12]"""
    layer = row(codes, **grid)  # type: ignore[arg-type]
    packed = pack(layer, "csr")

    assert stored == (packed.bits, packed.gap)
    assert packed.levels is None
    np.testing.assert_array_equal(layer.values, unpack(packed, layer.codes.shape))


def test_every_row_and_every_block_begins_anew() -> None:
    """A list names places of its own block, and an empty one is still there. [F12]"""
    codes = np.zeros((2, 300), np.int8)
    codes[0, [0, 299]] = 1, -1
    signs = pack(row(codes.ravel().tolist(), bits=2, rows=2), "csr")
    codes[1, 299] = 2
    codes_of_4_bits = pack(row(codes.ravel().tolist(), bits=3, rows=2), "csr")

    assert bytes([1, 0, 0, 1, 2 * 43 + 1, 0, 0, 0]) == signs.data
    one, other = [1, 1, 0, 0, 0, 0, 0], [1, 15, 0, 0, 0, 43, 0]
    assert bytes([*one, *other, *5 * [0], 1, 2, 0, 0, 0, 43, 0]) == codes_of_4_bits.data


@pytest.mark.parametrize(("bits", "length"), [(2, 128), (4, 256), (8, 256)])
def test_a_block_may_be_full(bits: int, length: int) -> None:
    """A byte counts its records, or their pairs. [F12]"""
    codes = [1, -1] if bits == 2 else [5, -7] if bits == 4 else [5, 100]
    layer = row(codes * length, bits=bits)
    packed = pack(layer, "csr")

    assert packed.data[0] == (length if bits == 2 else length // 2)
    np.testing.assert_array_equal(layer.codes, unpack(packed, layer.codes.shape))


@pytest.mark.parametrize(
    ("bits", "gap", "data", "message"),
    [
        (2, 0, [], "truncated"),
        (2, 0, [1], "truncated"),
        (4, 0, [0, 0, 0, 0], "truncated"),
        (4, 0, [1, 1, 0, 2, 0, 0], "truncated"),
        (2, 0, [0, 0], "1 bytes that belong to no list"),
        (2, 0, [1, 16], "outside its block"),
        (4, 0, [1, 1, 0, 2, 0, 0, 8], "outside its block"),
        (2, 0, [2, 4, 2], "in another way"),  # not in order
        (2, 0, [2, 4, 4], "in another way"),  # twice the same
        (4, 0, [1, 1, 0, 15, 0, 0, 2], "in another way"),  # signs would do
        (8, 0, [1, 1, 0, 2, 0, 0, 2], "in another way"),  # codes of 4 bits would do
        (4, 0, [1, 0x11, 0, 2, 0, 0, 2], "in another way"),  # a field that no pair has
        (4, 0, [2, 1, 2, 0, 0, 0, 2, 3, 0], "in another way"),  # filled up by a whole pair
        (2, 3, [0], "in another way"),  # nothing has a magnitude
        (2, 127, [1, 0], "126 at most"),
        (4, 1, [1, 1, 0, 2, 0, 0, 2], "126 at most"),
        (3, 0, [0], "2, 4 or 8 bits"),
    ],
)
def test_damaged_lists_are_refused(bits: int, gap: int, data: list[int], message: str) -> None:
    """A place that leads out of its block would read past the input in RAM. [F12]"""
    with pytest.raises(ModelError, match=message):
        unpack(Packed(packing="csr", bits=bits, gap=gap, data=bytes(data)), (1, 8))
