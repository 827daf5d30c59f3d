# SPDX-License-Identifier: Apache-2.0
"""Lists of the places where a row is not zero: compressed sparse rows, in blocks. [F12]"""

import math
from dataclasses import dataclass

import numpy as np

from codeq_compile.errors import ModelError
from codeq_compile.ir.types import Packed, Shape, Weights
from codeq_compile.numerics import Int8Array
from codeq_compile.packing.base import Codec
from codeq_compile.packing.bits import Fields

SIGNS, NIBBLES, BYTES = WIDTHS = (2, 4, 8)
"""Stored widths: a sign beside the place, or codes in words."""
WORD_BITS = 32


class Csr(Codec):
    """A list of records for each block of a row; places are absolute. [F12]"""

    name = "csr"
    label = "F12"

    def pack(self, weights: Weights) -> Packed:
        values = weights.values.reshape(len(weights.codes), -1)
        form = _Form.of(values)
        return Packed(
            packing=self.name, bits=form.bits, data=form.stream(values), gap=form.magnitude - 1
        )

    def unpack(self, packed: Packed, shape: Shape) -> Int8Array:
        if packed.bits not in WIDTHS or packed.levels is not None:
            raise ModelError("lists of places belong to a grid of 2, 4 or 8 bits")
        if packed.gap > (126 if packed.bits == SIGNS else 0):
            raise ModelError("lists of places have a gap beside signs only, of 126 at most")
        form = _Form(bits=packed.bits, magnitude=packed.gap + 1)
        values = form.values(packed.data, (shape[0], math.prod(shape[1:])))
        if _Form.of(values) != form or form.stream(values) != packed.data:
            raise ModelError("packed weights are damaged: these lists hold them in another way")
        return values


def block_length(bits: int) -> int:
    """Weights of a block: as many as a byte can name beside what else stands in it."""
    return 128 if bits == SIGNS else 256


@dataclass(frozen=True, slots=True, kw_only=True)
class _Form:
    """How the integers of a layer are stored: `magnitude` is that of signs, else 1."""

    bits: int
    magnitude: int = 1

    @classmethod
    def of(cls, values: Int8Array) -> "_Form":
        """The shortest one."""
        magnitudes = np.unique(np.abs(values[values != 0].astype(np.int16)))
        if len(magnitudes) == 0:
            return cls(bits=SIGNS)
        if len(magnitudes) == 1 and magnitudes[0] <= 127:
            return cls(bits=SIGNS, magnitude=int(magnitudes[0]))
        return cls(bits=NIBBLES if magnitudes[-1] <= 7 else BYTES)

    @property
    def pairs(self) -> int:
        """Of records, that a word of codes serves."""
        return WORD_BITS // self.bits // 2

    def stream(self, values: Int8Array) -> bytes:
        """The lists of all blocks, row by row."""
        length = block_length(self.bits)
        write = self._signs if self.bits == SIGNS else self._codes
        return b"".join(
            write(row[first : first + length])
            for row in values
            for first in range(0, len(row), length)
        )

    def values(self, data: bytes, shape: tuple[int, int]) -> Int8Array:
        """What the lists of such a matrix hold.

        Raises
        ------
        ModelError
            They are not as long as the stream, or a place lies outside its block.
        """
        values = np.zeros(shape, np.int8)
        length = block_length(self.bits)
        at = 0
        for row in values:
            for first in range(0, shape[1], length):
                at = self._read(data, at, row[first : first + length])
        if at != len(data):
            raise ModelError(f"packed weights hold {len(data) - at} bytes that belong to no list")
        return values

    def _signs(self, block: Int8Array) -> bytes:
        places = np.flatnonzero(block)
        records = 2 * places + (block[places] < 0)
        return bytes([len(places), *records.tolist()])

    def _codes(self, block: Int8Array) -> bytes:
        places = np.flatnonzero(block)
        pairs = -(-len(places) // 2)
        groups = max(1, -(-pairs // self.pairs))
        # what the first group lacks stands in front of it, and of the last pair behind it
        lacking = 2 * (groups * self.pairs - pairs)
        records = np.zeros((2, 2 * groups * self.pairs), np.uint8)
        used = slice(lacking, lacking + len(places))
        records[:, used] = places, block.view(np.uint8)[places]
        words = records[1].reshape(groups, self.pairs, 2)[:, ::-1].transpose(0, 2, 1)
        fields = words.reshape(groups, 2 * self.pairs)
        if self.bits == NIBBLES:
            fields = (fields[:, 0::2] & 15) | fields[:, 1::2] << 4
        whole = np.concatenate([fields, records[0].reshape(groups, 2 * self.pairs)], axis=1)
        return bytes([pairs]) + np.delete(whole, np.s_[4 : 4 + lacking]).tobytes()

    def _read(self, data: bytes, at: int, block: Int8Array) -> int:
        """One list into its block; returns where the next one begins."""
        if at == len(data):
            raise ModelError("packed weights are truncated: a list of places is missing")
        count = data[at]
        groups = 0 if self.bits == SIGNS else max(1, -(-count // self.pairs))
        records = count if self.bits == SIGNS else 2 * count
        end = at + 1 + 4 * groups + records
        if end > len(data):
            raise ModelError("packed weights are truncated: a list of places is not whole")
        body = np.frombuffer(data[at + 1 : end], np.uint8)
        if self.bits == SIGNS:
            places = body >> np.uint8(1)
            values = np.where(body & 1, -self.magnitude, self.magnitude).astype(np.int8)
        else:
            places, values = self._grouped(body, groups, records)
        if records and places.max() >= len(block):
            raise ModelError("packed weights are damaged: a place lies outside its block")
        # of a pair that is filled up the second record names a place that another one may hold
        np.add.at(block, places, values)
        return end

    def _grouped(self, body: Fields, groups: int, records: int) -> tuple[Fields, Int8Array]:
        """Places and values of a list of codes."""
        lacking = 2 * groups * self.pairs - records
        whole = np.insert(body, [4] * lacking, 0).reshape(groups, 4 + 2 * self.pairs)
        bits = np.unpackbits(whole[:, :4], axis=1, bitorder="little")
        fields = np.packbits(
            bits.reshape(groups, 2 * self.pairs, self.bits), axis=2, bitorder="little"
        )
        order = fields.reshape(groups, 2, self.pairs).transpose(0, 2, 1)[:, ::-1].reshape(-1)
        values = (order << (8 - self.bits)).view(np.int8) >> (8 - self.bits)
        return whole[:, 4:].reshape(-1)[lacking:], values[lacking:]
