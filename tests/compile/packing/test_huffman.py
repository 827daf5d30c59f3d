# SPDX-License-Identifier: Apache-2.0
"""The huffman codec. [F11]"""

import heapq

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeq_compile.errors import ModelError, SpecViolation
from codeq_compile.ir import Weights
from codeq_compile.ir.types import Packed
from codeq_compile.packing import CODECS, entropy_bytes, pack, unpack
from codeq_compile.packing.huffman import LONGEST, code_lengths
from tests.compile.packing.layers import row
from tests.strategies import weights


def test_the_drawing_in_formats_is_what_is_written() -> None:
    """People write decoders from the drawing. [F11]"""
    layer = row([0, 0, 1, 0, 4, 0, -3, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0], bits=4)
    table, stream = [0x22, 1, 2, 0, 0xFE, 2], [0x20, 0xA3, 2, 2, 0x80, 0]

    assert bytes(table + stream) == pack(layer, "huffman").data


def test_low_bits_that_are_evenly_spread_stand_as_they_are() -> None:
    """A table of 256 symbols would cost more than their codes save. [F11]"""
    codes = np.concatenate([np.tile(np.arange(0, 8), 6), np.arange(8, 16), np.arange(-8, 0)])
    packed = pack(row(codes.tolist(), bits=8), "huffman")

    assert 3 == packed.data[0] >> 5
    # two bits for 8..15 and -8..-1, one for 0..7, three low bits for all
    assert bytes([3 << 5 | 2, 1, 2, 0, 0xFF, 1]) == packed.data[:6]
    assert 6 + (48 * 4 + 16 * 5) // 8 == len(packed.data)


@given(st.lists(st.integers(1, 10**6), min_size=2, max_size=80))
def test_the_code_is_as_short_as_huffmans(frequencies: list[int]) -> None:
    """Another optimal algorithm gives as many bits, where none of its codes is too long."""
    heap = [(frequency, 0) for frequency in frequencies]
    heapq.heapify(heap)
    bits = 0
    while len(heap) > 1:
        (one, a), (other, b) = heapq.heappop(heap), heapq.heappop(heap)
        bits += one + other
        heapq.heappush(heap, (one + other, 1 + max(a, b)))
    lengths = code_lengths(frequencies)

    assert max(lengths) <= LONGEST
    assert sum(2.0**-length for length in lengths) == 1.0
    if heap[0][1] <= LONGEST:
        assert bits == sum(f * length for f, length in zip(frequencies, lengths, strict=True))


def test_no_code_is_longer_than_a_decoder_reads_ahead() -> None:
    """Frequencies like Fibonacci's numbers make the longest codes there are. [F11]"""
    frequencies = [1, 1]
    while len(frequencies) < 24:
        frequencies.append(frequencies[-1] + frequencies[-2])
    lengths = code_lengths(frequencies)

    assert LONGEST == max(lengths)
    assert sum(2.0**-length for length in lengths) == 1.0


@given(weights())
def test_a_stream_is_at_most_a_bit_a_weight_and_a_table_above_the_entropy(layer: Weights) -> None:
    """Huffman's bound; low bits as they are are only taken where they make it shorter."""
    if CODECS["huffman"].applies(layer):
        symbols = len(np.unique(layer.codes))
        bound = entropy_bytes(layer) + layer.codes.size / 8 + 1 + LONGEST + symbols + 1

        assert len(pack(layer, "huffman").data) <= bound


def test_256_codes_of_one_length_are_not_counted_in_a_byte() -> None:
    """Their number is 256: another number of low bits is taken. [F11]"""
    layer = row(list(range(-128, 128)) * 3, bits=8)
    packed = pack(layer, "huffman")

    assert 1 <= packed.data[0] >> 5
    np.testing.assert_array_equal(layer.codes, unpack(packed, layer.codes.shape))


def test_one_bit_has_nothing_to_shorten() -> None:
    """Asking for it is told, with the rule. [F11]"""
    with pytest.raises(SpecViolation, match=r"F11: huffman packing needs at least 2 bits"):
        pack(row([0, 1], bits=1, levels=(-1, 1)), "huffman")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not whole"),
        (b"\x00\x00", "not whole"),
        (b"\x11" + bytes(17), "not whole"),
        (b"\x02\x01\x01\x00", "not whole"),
        (b"\x02\x01\x00\x05\x00", "not whole"),
        (b"\x01\x03\x00\x01\x02\x00", "no prefix code"),
        (b"\x01\x01\x00\x01", "no symbol"),
        (b"\x01\x02\x00\x01", "truncated: 0 of 4"),
        (b"\x61\x02\x00\x01\x00", "truncated: 2 of 4"),
        (b"\x81\x02\x00\x01\x00\x00", "the last one is not whole"),
        (b"\x01\x02\x00\x01\x00\x00", "followed by 1 more bytes"),
        (b"\x01\x02\x00\x01\x10", "unused bits are not zero"),
        (b"\x01\x02\x00\x09\x02", "wider than they are"),
        (b"\x01\x02\x00\x01\x00", "a shorter stream"),
    ],
)
def test_damaged_streams_are_refused(data: bytes, message: str) -> None:
    """A decoder in C trusts its table. [F11]"""
    with pytest.raises(ModelError, match=message):
        unpack(Packed(packing="huffman", bits=4, data=data), (1, 4))
    with pytest.raises(ModelError, match="2 to 8 bits"):
        unpack(Packed(packing="huffman", bits=1, data=data), (1, 4))
