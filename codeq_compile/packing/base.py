# SPDX-License-Identifier: Apache-2.0
"""What every codec of weights answers, and the value fields they share.  Spec: FORMATS.md [F2]."""

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np

from codeq_compile.errors import ModelError
from codeq_compile.ir.types import Packed, Shape, Weights
from codeq_compile.numerics import Int8Array
from codeq_compile.packing.bits import Fields


class Codec(ABC):
    """One way to store weights; twin of runtime_c/src/decode/<name>.h."""

    name: ClassVar[str]

    label: ClassVar[str]
    """Rule of FORMATS.md."""

    needs: ClassVar[str] = ""
    """What `applies` asks for."""

    def applies(self, weights: Weights) -> bool:
        """Whether these weights have this form at all."""
        return True

    @abstractmethod
    def pack(self, weights: Weights) -> Packed:
        """The stream of weights that `applies` accepted."""

    @abstractmethod
    def unpack(self, packed: Packed, shape: Shape) -> Int8Array:
        """The integers that a layer of this shape multiplies with, in the order of the stream.

        Raises
        ------
        ModelError
            The stream is truncated, too long or not the one that `pack` would have written.
        """


def value_fields(weights: Weights) -> Fields:
    """Value field of every code, row by row: two's complement, or position in the table. [F2]"""
    return weights.codes.ravel().view(np.uint8)


def from_value_fields(fields: Fields, packed: Packed) -> Int8Array:
    """Integer levels of value fields of width `packed.bits`; undoes `value_fields`. [N3.4]

    Raises
    ------
    ModelError
        A field is not a code of the grid or of the table.
    """
    if packed.levels is not None:
        if fields.size and fields.max() >= len(packed.levels):
            raise ModelError("a packed weight lies outside its table of levels")
        return np.array(packed.levels, np.int8)[fields]
    unused = 8 - packed.bits
    index = (fields << unused).view(np.int8) >> unused
    lowest = -1 << (packed.bits - 1)
    if (packed.bits < 8 or packed.gap) and (index == lowest).any():
        raise ModelError(f"a packed weight holds {lowest}, which no {packed.bits}-bit grid has")
    return add_gap(index, packed.gap)


def add_gap(index: Int8Array, gap: int) -> Int8Array:
    """``i + gap · sign(i)``. [N3.4]

    Raises
    ------
    ModelError
        A level lies outside [-127, 127].
    """
    level = index + gap * np.sign(index).astype(np.int16)
    if gap and level.size and np.abs(level).max() > 127:
        raise ModelError(f"a packed weight with gap {gap} lies outside [-127, 127]")
    return level.astype(np.int8)


def nonzero_bits(bits: int, levels: tuple[int, ...] | None) -> int:
    """Width of the field of a weight that is known not to be zero.

    A non-zero of a 2-bit grid is its sign. [F4]
    """
    return 1 if bits == 2 and levels is None else bits


def nonzero_fields(weights: Weights) -> Fields:
    """Fields of the non-zero weights only, in order, `nonzero_bits` wide."""
    fields: Fields = value_fields(weights)[weights.values.ravel() != 0]
    if nonzero_bits(weights.bits, weights.levels) == weights.bits:
        return fields
    # +1 is 01 and -1 is 11 in two's complement: the sign is the upper bit
    return fields >> np.uint8(1) & np.uint8(1)


def from_nonzero_fields(fields: Fields, packed: Packed) -> Int8Array:
    """Integer levels of `nonzero_fields`.

    Raises
    ------
    ModelError
        A field is not a code, or is the code of a zero.
    """
    if nonzero_bits(packed.bits, packed.levels) < packed.bits:
        return add_gap((1 - 2 * fields.astype(np.int8)).astype(np.int8), packed.gap)
    values = from_value_fields(fields, packed)
    if not values.all():
        raise ModelError("a packed stream stores a zero where only other weights may stand")
    return values
