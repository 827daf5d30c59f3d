# SPDX-License-Identifier: Apache-2.0
"""The gap codec. [F10]"""

import numpy as np
import pytest

from codeq_compile.errors import ModelError, SpecViolation
from codeq_compile.ir.types import Packed
from codeq_compile.packing import CODECS, pack, unpack
from tests.compile.packing.layers import row


def test_the_drawing_in_formats_is_what_is_written() -> None:
    """People write decoders from the drawing. [F10]"""
    first = [0, 0, 3, 0, 0, 0, 0, -1] + 17 * [0] + [2] + 6 * [0]
    layer = row([*first, 1, *31 * [0]], bits=4, rows=2)

    assert bytes([0x33, 0xF5, 0x0F, 0x23, 0x11, 0, 0, 0, 1, 1]) == pack(layer, "gap").data


def test_every_row_and_every_chunk_begins_anew() -> None:
    """A decoder finds a row's records without those of the last one. [F10]"""
    codes = np.zeros((2, 300), np.int8)
    codes[0, [0, 299]] = 1
    layer = row(codes.ravel().tolist(), bits=2, rows=2)
    packed = pack(layer, "gap")

    assert bytes([0x41, 0, 0, 0, 0x40 | 44, 0, 0, 0, 0, 0, 1, 1]) == packed.data
    np.testing.assert_array_equal(codes, unpack(packed, codes.shape))


def test_longer_gaps_are_skipped_in_steps_of_the_longest_distance() -> None:
    """A distance that is a multiple of the longest one needs one skip less. [F10]"""
    for distance, records in [
        (15, [0x1F, 0, 0, 0]),
        (16, [0x0F, 0x11, 0, 0]),
        (30, [0x0F, 0x1F, 0, 0]),
        (31, [0x0F, 0x0F, 0x11, 0]),
    ]:
        layer = row([0] * (distance - 1) + [1], bits=4)

        assert bytes([*records, 1]) == pack(layer, "gap").data


def test_a_block_may_be_full() -> None:
    """256 records are 64 words; a byte counts them. [F10]"""
    layer = row([7] * 300, bits=4)
    packed = pack(layer, "gap")

    assert 256 + 44 + 2 == len(packed.data)
    assert bytes([11, 64]) == packed.data[-2:]
    np.testing.assert_array_equal(layer.codes, unpack(packed, layer.codes.shape))


def test_weights_that_records_cannot_hold_are_refused() -> None:
    """A table has no code for nothing; beside 7 bits there is no room for a distance. [F10]"""
    for layer in (
        row([1, 2], bits=4, levels=(0, 3, 5)),
        row([1, 2], bits=7),
        row([1, 2], bits=4, gap=3),
    ):
        assert not CODECS["gap"].applies(layer)
        with pytest.raises(SpecViolation, match=r"F10: gap packing needs a grid.*use dense"):
            pack(layer, "gap")
    assert CODECS["gap"].applies(row([1, -1], bits=2, gap=90))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "truncated"),
        (bytes([0x11, 0, 0, 1]), "truncated"),
        (bytes([0x11, 0, 0, 0, 2]), "truncated"),
        (bytes([0x19, 0, 0, 0, 1]), "leaves its chunk"),
        (bytes([0x10, 0, 0, 0, 1]), "leaves its chunk"),
        (bytes([0x11, 0, 0x11, 0, 1]), "leaves its chunk"),
        (bytes([0x03, 0, 0, 0, 1]), "skips less"),
        (bytes([0, 0, 0, 0, 1]), "filled up with a word"),
        (bytes([0, 0]), "1 bytes that belong to no block"),
    ],
)
def test_damaged_records_are_refused(data: bytes, message: str) -> None:
    """A gap that leads out of its chunk would read past the input in RAM. [F10]"""
    with pytest.raises(ModelError, match=message):
        unpack(Packed(packing="gap", bits=4, data=data), (1, 8))
