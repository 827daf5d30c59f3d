# SPDX-License-Identifier: Apache-2.0
"""Short codes for frequent weights: a prefix code for the upper bits of each. [F11]"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from codeq_compile.errors import ModelError
from codeq_compile.ir.types import Packed, Shape, Weights
from codeq_compile.numerics import Int8Array, Int64Array
from codeq_compile.packing import bits
from codeq_compile.packing.base import Codec, from_value_fields

WIDTHS = range(2, 9)
LONGEST = 16
"""Bits of a prefix code at most: with 7 low bits a decoder needs 23 at a time."""
MOST = 255
"""Symbols of one length at most: their number is a byte."""


class Huffman(Codec):
    """A table, then for every weight a prefix code and low bits as they are. [F11]"""

    name = "huffman"
    label = "F11"
    needs = "at least 2 bits"

    def applies(self, weights: Weights) -> bool:
        return weights.bits in WIDTHS

    def pack(self, weights: Weights) -> Packed:
        return Packed(
            packing=self.name,
            bits=weights.bits,
            data=_stream(weights.codes.ravel(), weights.bits),
            gap=weights.gap,
            levels=weights.levels,
        )

    def unpack(self, packed: Packed, shape: Shape) -> Int8Array:
        if packed.bits not in WIDTHS:
            raise ModelError("a stream of prefix codes belongs to weights of 2 to 8 bits")
        table = _Table.read(packed.data)
        stream = bits.from_bytes(packed.data[len(table.header) :])
        codes = _codes(stream, table, math.prod(shape))
        top = 1 << (packed.bits - 1)
        low, high = (-top, top) if packed.levels is None else (0, 128)
        if codes.min() < low or codes.max() >= high:
            raise ModelError("packed weights are damaged: a code is wider than they are")
        if _stream(codes.astype(np.int8), packed.bits) != packed.data:
            raise ModelError("packed weights are damaged: there is a shorter stream for them")
        return from_value_fields(codes.astype(np.int8).view(np.uint8), packed)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    """A canonical prefix code.

    Parameters
    ----------
    low : int
        Bits of a weight's code that follow its prefix code.
    counts : tuple of int
        How many symbols have prefix codes of 1, 2, … bits; the last one is not 0.
    symbols : int64 array
        Upper bits of weights' codes, signed; by length of their prefix code, then by value.
    bits : int
        Of all weights, where that is known.
    """

    low: int
    counts: tuple[int, ...]
    symbols: Int64Array = field(repr=False)
    bits: int = 0

    @classmethod
    def of(cls, codes: Int8Array, low: int) -> "_Table":
        """The best one for these codes."""
        symbols, frequencies = np.unique(codes.astype(np.int64) >> low, return_counts=True)
        lengths = np.array(code_lengths(frequencies.tolist()))
        return cls(
            low=low,
            counts=tuple(np.bincount(lengths)[1:].tolist()),
            symbols=symbols[np.argsort(lengths, kind="stable")],
            bits=int(frequencies @ (lengths + low)),
        )

    @classmethod
    def read(cls, data: bytes) -> "_Table":
        """That of a stream.

        Raises
        ------
        ModelError
            It is not whole, or no prefix code.
        """
        low, longest = (data[0] >> 5, data[0] & 31) if data else (0, 0)
        counts, end = data[1 : 1 + longest], 1 + longest + sum(data[1 : 1 + longest])
        if not 1 <= longest <= LONGEST or len(data) < end or not counts[-1]:
            raise ModelError("packed weights are damaged: their table of prefix codes is not whole")
        if sum(count << (LONGEST - k) for k, count in enumerate(counts, 1)) > 1 << LONGEST:
            raise ModelError("packed weights are damaged: their table is no prefix code")
        symbols = np.frombuffer(data[1 + longest : end], np.int8).astype(np.int64)
        return cls(low=low, counts=tuple(counts), symbols=symbols)

    @property
    def header(self) -> bytes:
        """What stands in front of the weights."""
        first = self.low << 5 | len(self.counts)
        return bytes([first, *self.counts]) + self.symbols.astype(np.int8).tobytes()

    @property
    def bytes(self) -> int:
        """Of the whole stream."""
        return len(self.header) + -(-self.bits // 8)

    @property
    def lengths(self) -> Int64Array:
        """Bits of each symbol's prefix code."""
        return np.repeat(np.arange(1, len(self.counts) + 1), self.counts)

    @property
    def prefixes(self) -> Int64Array:
        """Each symbol's prefix code as a number, whose upper bit is the first."""
        prefixes: list[int] = []
        first = 0
        for count in self.counts:
            prefixes += range(first, first + count)
            first = (first + count) << 1
        return np.array(prefixes, np.int64)


def code_lengths(frequencies: Sequence[int]) -> list[int]:
    """Bits of the prefix codes that make the shortest stream, none longer than `LONGEST`.

    The package-merge algorithm of Larmore and Hirschberg (1990). Of symbols that are equally
    frequent the later ones have the shorter codes; one symbol alone has one bit.
    """
    if len(frequencies) == 1:
        return [1]
    coins = sorted((frequency, (symbol,)) for symbol, frequency in enumerate(frequencies))
    row: list[tuple[int, tuple[int, ...]]] = []
    for _ in range(LONGEST):
        pairs = zip(row[::2], row[1::2], strict=False)
        packages = [(one[0] + other[0], one[1] + other[1]) for one, other in pairs]
        row = sorted(coins + packages)
    lengths = [0] * len(frequencies)
    for _, symbols in row[: 2 * len(frequencies) - 2]:
        for symbol in symbols:
            lengths[symbol] += 1
    return lengths


def _stream(codes: Int8Array, width: int) -> bytes:
    """The shortest stream; of equals the one with the most low bits, which is read fastest."""
    tables = [_Table.of(codes, low) for low in reversed(range(width))]
    table = min((t for t in tables if max(t.counts) <= MOST), key=lambda t: t.bytes)
    return table.header + bits.to_bytes(_bits(codes.astype(np.int64), table))


def _bits(codes: Int64Array, table: _Table) -> bits.Bits:
    """Prefix code, upper bit first, and low bits, lower bit first, of every weight."""
    order = np.argsort(table.symbols)
    symbol = order[np.searchsorted(table.symbols, codes >> table.low, sorter=order)]
    lengths, prefixes = table.lengths[symbol, None], table.prefixes[symbol, None]
    place = np.arange(len(table.counts))
    is_prefix = place < lengths
    upper = prefixes >> np.maximum(lengths - 1 - place, 0) & 1
    lower = codes[:, None] >> np.arange(table.low) & 1
    is_stored = np.hstack([is_prefix, np.ones(lower.shape, bool)])
    stored: bits.Bits = np.hstack([upper, lower])[is_stored].astype(np.uint8)
    return stored


def _codes(stream: bits.Bits, table: _Table, count: int) -> Int64Array:
    """The codes of `count` weights; undoes `_bits`.

    Raises
    ------
    ModelError
        The stream ends before them or goes on behind them, or no prefix code is met.
    """
    symbol, length = _symbol_at_every_bit(stream, table)
    # with that known, one step a weight is all that is left for the loop
    steps = (length + table.low).tolist()
    starts: list[int] = []
    position = 0
    for _ in range(count):
        if position >= len(steps):
            raise ModelError(f"packed weights are truncated: {len(starts)} of {count} are there")
        starts.append(position)
        position += steps[position]
    if position > len(stream):
        raise ModelError("packed weights are truncated: the last one is not whole")
    bits.check_end(stream, position)
    at = np.array(starts)
    if (symbol[at] < 0).any():
        raise ModelError("packed weights are damaged: a prefix code has no symbol")
    codes: Int64Array = table.symbols[symbol[at]] << table.low
    for k in range(table.low):
        codes |= stream[at + length[at] + k].astype(np.int64) << k
    return codes


def _symbol_at_every_bit(stream: bits.Bits, table: _Table) -> tuple[Int64Array, Int64Array]:
    """Number of the symbol, or -1, and bits of the prefix code that starts at each bit."""
    longest = len(table.counts)
    ahead = np.concatenate([stream, np.zeros(longest, np.uint8)]).astype(np.int64)
    window = np.zeros(len(stream), np.int64)
    for k in range(longest):
        window |= ahead[k : k + len(stream)] << (longest - 1 - k)
    # canonical codes of all lengths, filled up with zeros, are in order
    starts = table.prefixes << (longest - table.lengths)
    symbol = np.searchsorted(starts, window, side="right") - 1
    length = table.lengths[symbol]
    is_met = window >> (longest - length) == table.prefixes[symbol]
    return np.where(is_met, symbol, -1), length
