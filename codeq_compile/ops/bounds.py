# SPDX-License-Identifier: Apache-2.0
"""What is proved about a layer's integers from its weights: sums, packed lanes, requantization.

Kernels that are faster for such a reason ask here before they are chosen; nothing is measured.
"""

from dataclasses import dataclass

import numpy as np

from codeq_compile.ir.types import Range
from codeq_compile.numerics import (
    INT32_MAX,
    INT32_MIN,
    Int8Array,
    Int64Array,
    rounding_doubling_high_mul,
)
from codeq_compile.ops.base import Requant

INT8_MIN, INT8_MAX = -128, 127
LANE_BITS = 16
"""Two sums share a register."""


def sums(weights: Int8Array, x: Range) -> Range:
    """Every value of ``sum(w · x)``, by row.

    Parameters
    ----------
    weights : int8 array of shape (rows, ...)
    x : Range
        Of what each weight meets: arrays that broadcast against `weights`.
    """
    signed = weights.astype(np.int64)
    rising: Int64Array = np.maximum(signed, 0)
    falling: Int64Array = np.minimum(signed, 0)
    low: Int64Array = rising * x.low + falling * x.high
    high: Int64Array = rising * x.high + falling * x.low
    return Range(
        low=low.reshape(len(weights), -1).sum(axis=1),
        high=high.reshape(len(weights), -1).sum(axis=1),
    )


def accumulators(requant: Requant, weights: Int8Array, x: Range) -> Range:
    """Every value that the accumulators of a layer can end with; parameters as for `sums`."""
    return sums(weights, x).through(lambda end: end + requant.bias)


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A part of a row whose sum a lane holds, although the partial sums may wrap around.

    Parameters
    ----------
    first, end : int
        Of its weights; `end` is one past the last.
    low, high : int
        Of its sum; they are less than ``2^bits`` apart.
    """

    first: int
    end: int
    low: int
    high: int

    def start(self, bits: int = LANE_BITS) -> int:
        """What a signed lane starts with, so that its final value is ``start + sum``."""
        return -(1 << (bits - 1)) - self.low


def lane_budget(low: int = INT8_MIN, high: int = INT8_MAX, bits: int = LANE_BITS) -> int:
    """Largest ``sum |w|`` of a segment that a lane can hold, for inputs from `low` to `high`.

    Partial sums may leave the lane: additions wrap around, and only the final sum must be one of
    ``2^bits`` values. It is one of ``sum |w| · (high - low) + 1``.

    >>> lane_budget()
    257
    """
    return ((1 << bits) - 1) // max(1, high - low)


def lane_segments(
    row: Int8Array, low: int = INT8_MIN, high: int = INT8_MAX, bits: int = LANE_BITS
) -> tuple[Segment, ...]:
    """The fewest segments of a row of weights whose sums a lane can hold; none for all zeros.

    Parameters
    ----------
    row : int8 array of shape (n,)
        In the order of execution.
    low, high : int
        Of the inputs; padding included, if there is any.
    bits : int
        Of a lane; one weight alone must fit, which 16 bits do for every int8.
    """
    budget = lane_budget(low, high, bits)
    magnitude = np.abs(row.astype(np.int64))
    assert magnitude.max(initial=0) <= budget, "one weight is more than a lane"
    total = np.cumsum(magnitude)
    live = np.flatnonzero(magnitude)
    segments = []
    first, last = 0, int(live[-1]) + 1 if len(live) else 0
    while first < last:
        before = int(total[first - 1]) if first else 0
        # the longest that fits: what a segment leaves over is never better in a later one
        end = min(int(np.searchsorted(total, before + budget, side="right")), last)
        part = sums(row[None, first:end], Range(low=np.array([low]), high=np.array([high])))
        segments.append(Segment(first=first, end=end, low=int(part.low[0]), high=int(part.high[0])))
        first = end
    return tuple(segments)


def most_lane_segments(
    weights: Int8Array, low: int = INT8_MIN, high: int = INT8_MAX, bits: int = LANE_BITS
) -> int:
    """Segments of the row that needs the most: 1 means that no lane is ever emptied midway.

    Parameters
    ----------
    weights : int8 array of shape (rows, ...)
    """
    rows = weights.reshape(len(weights), -1)
    return max(len(lane_segments(row, low, high, bits)) for row in rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequantClass:
    """What a kernel may rely on when it requantizes a layer.

    Parameters
    ----------
    exponents : tuple of int
        Distinct ones, ascending: one value needs no table in the loop.
    multiplier_bits : int
        Upper bits that some multiplier uses; 31 where all are needed.
    is_full_int8 : bool
        The limits are those of int8: saturation is the clamp.
    has_short_form : bool
        Nothing overflows in ``y = high_mul(2·acc, m); y -= y < 0; y += 2^(-e-1) + z·2^-e``, four
        instructions of Armv7E-M (SMMULR, ADD, ADD, SSAT) that give [N4.2]: every exponent is
        negative, and every accumulator below 2^30.
    """

    exponents: tuple[int, ...]
    multiplier_bits: int
    is_full_int8: bool
    has_short_form: bool


def requant_class(requant: Requant, acc: Range) -> RequantClass:
    """Classify a layer's requantization.

    Parameters
    ----------
    requant : Requant
    acc : Range
        Of the accumulators at the end, the bias included.
    """
    used = int(np.bitwise_or.reduce(requant.multiplier))
    trailing = (used & -used).bit_length() - 1 if used else 31
    return RequantClass(
        exponents=tuple(sorted({int(e) for e in requant.exponent})),
        multiplier_bits=31 - trailing,
        is_full_int8=(requant.clamp_min, requant.clamp_max) == (INT8_MIN, INT8_MAX),
        has_short_form=_has_short_form(requant, acc),
    )


def _has_short_form(requant: Requant, acc: Range) -> bool:
    """Twice the accumulator, and the sum with the rounding and the zero point, are int32."""
    shift = -requant.exponent.astype(np.int64)
    largest = np.maximum(np.abs(acc.low), np.abs(acc.high))
    scaled = 1 + rounding_doubling_high_mul(largest, requant.multiplier)
    step = np.int64(1) << np.maximum(shift, 0)
    constant = step // 2 + requant.zero_point * step
    fits_sum = (constant - scaled >= INT32_MIN) & (constant + scaled <= INT32_MAX)
    return bool(((shift >= 1) & (largest < 1 << 30) & fits_sum).all())
