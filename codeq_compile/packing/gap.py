# SPDX-License-Identifier: Apache-2.0
"""A byte for each weight that is not zero: how far it is from the last one, and its code. [F10]"""

import math

import numpy as np

from codeq_compile.errors import ModelError
from codeq_compile.ir.types import Packed, Shape, Weights
from codeq_compile.numerics import Int8Array
from codeq_compile.packing.base import Codec, from_value_fields, value_fields
from codeq_compile.packing.bits import Fields

CHUNK = 256
"""Weights of a block; CQ_CHUNK of runtime_c. [F3]"""
WORD = 4
"""Records that a kernel reads at once."""
WIDTHS = range(2, 7)


class Gap(Codec):
    """Blocks of records from the front, one for each chunk; their sizes from the back. [F10]"""

    name = "gap"
    label = "F10"
    needs = "a grid of 2 bits, or of 3 to 6 with gap 0"

    def applies(self, weights: Weights) -> bool:
        if weights.levels is not None or weights.bits not in WIDTHS:
            return False
        return weights.gap == 0 or weights.is_sign

    def pack(self, weights: Weights) -> Packed:
        blocks = _blocks(weights)
        sizes = bytes(len(block) // WORD for block in blocks)
        return Packed(
            packing=self.name,
            bits=weights.bits,
            data=b"".join(blocks) + sizes[::-1],
            gap=weights.gap,
        )

    def unpack(self, packed: Packed, shape: Shape) -> Int8Array:
        if packed.bits not in WIDTHS or packed.levels is not None:
            raise ModelError("a stream of gaps belongs to a grid of 2 to 6 bits")
        reach = _reach(packed.bits)
        rows, length = shape[0], math.prod(shape[1:])
        codes = np.zeros((rows, length), np.uint8)
        data, at, end = packed.data, 0, len(packed.data)
        for row in codes:
            for first in range(0, length, CHUNK):
                end -= 1
                if end < at or at + WORD * data[end] > end:
                    raise ModelError("packed weights are truncated: a block of gaps is not whole")
                records = data[at : at + WORD * data[end]]
                at += len(records)
                _place(row[first : first + CHUNK], records, reach)
        if at != end:
            raise ModelError(f"packed weights hold {end - at} bytes that belong to no block")
        return from_value_fields(codes.ravel(), packed)


def _reach(bits: int) -> int:
    """The longest distance that a record holds beside a code of `bits` bits."""
    return (1 << (8 - bits)) - 1


def _blocks(weights: Weights) -> list[bytes]:
    """Records of every block, filled up to words."""
    reach, shift = _reach(weights.bits), 8 - weights.bits
    fields = value_fields(weights).reshape(len(weights.codes), -1)
    mask = np.uint8((1 << weights.bits) - 1)
    blocks = []
    for row in fields & mask:
        for first in range(0, len(row), CHUNK):
            chunk = row[first : first + CHUNK]
            places = np.flatnonzero(chunk)
            block = bytearray()
            for place, distance in zip(places, np.diff(places, prepend=-1), strict=True):
                skips, rest = divmod(int(distance) - 1, reach)
                block += bytes([reach] * skips)
                block.append(rest + 1 | int(chunk[place]) << shift)
            blocks.append(bytes(block) + bytes(-len(block) % WORD))
    return blocks


def _place(chunk: Fields, records: bytes, reach: int) -> None:
    """Codes of one block, each at its place."""
    place, shift = -1, reach.bit_length()
    used = records.rstrip(b"\0")
    if len(records) - len(used) >= WORD:
        raise ModelError("packed weights are damaged: a block of gaps is filled up with a word")
    for number, record in enumerate(used):
        distance, code = record & reach, record >> shift
        place += distance
        if place >= len(chunk) or not distance:
            raise ModelError("packed weights are damaged: a gap leaves its chunk")
        if not code and (distance < reach or number + 1 == len(used)):
            raise ModelError("packed weights are damaged: a record skips less than it could")
        chunk[place] = code
