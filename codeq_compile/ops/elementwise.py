# SPDX-License-Identifier: Apache-2.0
"""Helpers of the element-wise goldens: tables of all int8 values, operands that repeat, sums."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from codeq_compile.ir.op import Array, CValue
from codeq_compile.ir.types import Range, TensorType
from codeq_compile.numerics import Int8Array, Int64Array, clamp_to_int8
from codeq_compile.ops.base import Pair, Scale, clamped

INT8 = np.arange(-128, 128, dtype=np.int64)
"""Every int8 value, in the order of a table."""


def lookup(table: Array, x: Array) -> Array:
    """``table[x + 128]`` for int8 `x`; the result has the table's dtype and the shape of `x`."""
    # viewed as unsigned, the values from 0 to 127 come first
    return np.roll(table, -128)[np.ascontiguousarray(x).view(np.uint8)]


def by_period(x: Array, b: Array) -> Array:
    """View (batch, repetitions, period) of `x`, where one period is one sample of `b`."""
    period = math.prod(b.shape[1:])
    return x.reshape(len(x), math.prod(x.shape[1:]) // period, period)


LEFT_SHIFT = 20
"""Fraction bits that both operands of a sum or difference get before they are scaled."""


def aligned(scale: Scale, zero_point: int) -> Int64Array:
    """Scaled value of every int8 operand of a sum or difference.

    The factor is at most 1/2, so nothing is shifted left a second time. [add-C4] [sub-C4]
    """
    return scale.apply((INT8 - zero_point) << LEFT_SHIFT)


@dataclass(frozen=True, slots=True, kw_only=True)
class SumParams:
    """Integers of a sum or a difference of two grids.

    Parameters
    ----------
    a_zero, b_zero, out_zero : int
    clamp : tuple of int (min, max)
    a_scale, b_scale, out_scale : Scale
    """

    a_zero: int
    b_zero: int
    out_zero: int
    clamp: Pair
    a_scale: Scale
    b_scale: Scale
    out_scale: Scale

    def terms(self) -> tuple[Int64Array, Int64Array]:
        """Scaled value of every int8 of both operands."""
        return aligned(self.a_scale, self.a_zero), aligned(self.b_scale, self.b_zero)

    def golden(self, a: Array, b: Array, sign: Literal[1, -1]) -> Int8Array:
        """``a + sign * b`` of samples: each input through its table of 256 terms."""
        a_terms, b_terms = self.terms()
        acc = by_period(lookup(a_terms, a), b) + by_period(lookup(sign * b_terms, b), b)
        scaled = self.out_scale.apply(acc) + self.out_zero
        return clamp_to_int8(scaled, *self.clamp).reshape(a.shape)

    def range(self, a: Range, b: Range, sign: Literal[1, -1]) -> Range:
        """Values that ``a + sign * b`` can take: it grows with a, and with b as `sign` says."""
        a_terms, b_terms = self.terms()

        def end(a: Int64Array, b: Int64Array) -> Int64Array:
            acc = a_terms[a + 128] + sign * b_terms[b + 128]
            return clamped(self.out_scale.apply(acc) + self.out_zero, self.clamp)

        low, high = (b.low, b.high)[::sign]
        return Range(low=end(a.low, low), high=end(a.high, high))

    def bound(self) -> Array:
        """Of the accumulator: both terms at their largest."""
        largest = sum(int(np.abs(terms).max()) for terms in self.terms())
        return np.array([self.out_scale.bound(largest)], np.int64)

    def c_params(self, inputs: tuple[TensorType, ...]) -> Mapping[str, CValue]:
        """Fields of `struct cq_add_params`, and of `struct cq_sub_params`."""
        a, b = inputs
        return {
            "size": a.elements,
            "b_size": b.elements,
            "a_zero": self.a_zero,
            "b_zero": self.b_zero,
            "out_zero": self.out_zero,
            "clamp_min": self.clamp[0],
            "clamp_max": self.clamp[1],
            "a_scale": self.a_scale.c_params(),
            "b_scale": self.b_scale.c_params(),
            "out_scale": self.out_scale.c_params(),
        }
