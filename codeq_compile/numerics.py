# SPDX-License-Identifier: Apache-2.0
"""Integer primitives. Spec: docs/NUMERICS.md §2; twin of runtime_c/src/numerics.h.

All functions take integer arrays (or ints), compute in int64 and return int64 arrays.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

Int8Array = NDArray[np.int8]
Int32Array = NDArray[np.int32]
Int64Array = NDArray[np.int64]

VERSION = 2
"""Of docs/NUMERICS.md; generated code repeats it."""

INT32_MIN = -(1 << 31)
INT32_MAX = (1 << 31) - 1


def round_half_away(x: float) -> int:
    """Nearest integer, ties away from zero. [N2.1]

    >>> round_half_away(-2.5), round_half_away(2.4)
    (-3, 2)
    """
    return int(math.copysign(math.floor(abs(x) + 0.5), x))


def quantize_multiplier(real: float) -> tuple[int, int]:
    """Multiplier in [2^30, 2^31) and exponent e with ``real ≈ multiplier · 2^(e - 31)``. [N2.2]

    Parameters
    ----------
    real : float
        Positive and finite; a value below 2^-32 becomes (0, 0) as in TFLite.

    >>> quantize_multiplier(0.5)
    (1073741824, 0)
    """
    if not (math.isfinite(real) and real >= 0.0):
        raise ValueError(f"a requantization factor must be finite and >= 0, not {real!r}")
    if real == 0.0:
        return 0, 0
    fraction, exponent = math.frexp(real)
    multiplier = round_half_away(fraction * (1 << 31))
    if multiplier == 1 << 31:
        multiplier >>= 1
        exponent += 1
    return (0, 0) if exponent < -31 else (multiplier, exponent)


def narrow_multiplier(multiplier: int, exponent: int, bits: int) -> tuple[int, int]:
    """The same factor with the top `bits` of the multiplier's 31 kept, nearest, ties up. [N2.3]

    >>> narrow_multiplier((1 << 31) - 1, -4, bits=13)
    (1073741824, -3)
    """
    dropped = 31 - bits
    top = (multiplier + ((1 << dropped) >> 1)) >> dropped
    if top == 1 << bits:
        top >>= 1
        exponent += 1
    return top << dropped, exponent


def rounding_doubling_high_mul(a: ArrayLike, b: ArrayLike) -> Int64Array:
    """``(2·a·b + 2^31) >> 32`` rounded half up, saturated at INT32_MAX. [N2.4]

    TFLite's SaturatingRoundingDoublingHighMul; `a` and `b` are int32 values.

    >>> int(rounding_doubling_high_mul(3, 1 << 30))
    2
    """
    product = np.asarray(a, np.int64) * np.asarray(b, np.int64)
    result: Int64Array = np.minimum((product + (1 << 30)) >> 31, INT32_MAX)
    return result


def rounding_divide_by_pot(x: ArrayLike, exponent: ArrayLike) -> Int64Array:
    """``x / 2^exponent``, nearest, ties away from zero; exponent in 0..31. [N2.5]

    >>> rounding_divide_by_pot([-3, 3, 5], 1).tolist()
    [-2, 2, 3]
    """
    value = np.asarray(x, np.int64)
    shift = np.asarray(exponent, np.int64)
    half = (np.int64(1) << shift) >> 1
    # one less for negatives turns "half up" into "half away from zero"
    return (value + half - ((value < 0) & (shift > 0))) >> shift


def requantize(acc: ArrayLike, multiplier: ArrayLike, exponent: ArrayLike) -> Int64Array:
    """``acc · multiplier · 2^(exponent - 31)`` with TFLite's double rounding. [N2.6]

    Parameters
    ----------
    acc : int array
        int32 values; ``acc << max(exponent, 0)`` must still be int32 (proved by
        `passes.bound_accumulators` before any C is emitted).
    multiplier, exponent : int arrays, broadcast against `acc`
        From `quantize_multiplier`.
    """
    shift = np.asarray(exponent, np.int64)
    shifted = np.asarray(acc, np.int64) << np.maximum(shift, 0)
    return rounding_divide_by_pot(
        rounding_doubling_high_mul(shifted, multiplier), np.maximum(-shift, 0)
    )


def truncating_divide(a: ArrayLike, b: ArrayLike) -> Int64Array:
    """C's integer division: the quotient is rounded toward zero. [N2.7]

    >>> truncating_divide([-7, 7], 2).tolist()
    [-3, 3]
    """
    dividend, divisor = np.asarray(a, np.int64), np.asarray(b, np.int64)
    quotient = np.abs(dividend) // np.abs(divisor)
    return np.where((dividend < 0) ^ (divisor < 0), -quotient, quotient)


def exp_of_negative(x: ArrayLike, integer_bits: int = 5) -> Int64Array:
    """``exp(x)`` in fixed point, as gemmlowp computes it. [N2.8]

    Parameters
    ----------
    x : int array
        With `fraction` bits behind the point, real value ``x / 2^fraction``: from
        ``-2^integer_bits`` to 0.
    integer_bits : int
        5, Q5.26, in every kernel; 4, Q4.27, in the table of a logistic function. [lut-C4]
        The fraction has 31 bits less these.

    Returns
    -------
    int64 array
        Q0.31: real value ``/ 2^31``; exp(0) is INT32_MAX.

    >>> exp_of_negative([0, -(1 << 26)]).tolist()
    [2147483647, 790015308]
    """
    value = np.asarray(x, np.int64)
    quarter_bit = 29 - integer_bits
    quarter = np.int64(1 << quarter_bit)
    # x = remainder in [-1/4, 0) minus a multiple of 1/4, whose bits select factors below
    remainder = (value & (quarter - 1)) - quarter
    result = _exp_of_small(remainder << integer_bits)
    quarters = remainder - value
    powers = _EXP_OF_MINUS_POWERS[: integer_bits + 2]
    for bit, factor in enumerate(powers, start=quarter_bit):
        chosen = (quarters >> bit) & 1 == 1
        result = np.where(chosen, rounding_doubling_high_mul(result, factor), result)
    return np.where(value == 0, INT32_MAX, result)


# round(exp(-2^k) · 2^31) for k = -2 .. 4
_EXP_OF_MINUS_POWERS = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)


def _exp_of_small(x: Int64Array) -> Int64Array:
    """``exp(x)`` in Q0.31 for x in [-1/4, 0): Taylor polynomial of degree 4 around -1/8."""
    exp_of_minus_eighth, third = 1895147668, 715827883
    t = x + (1 << 28)
    t2 = rounding_doubling_high_mul(t, t)
    t3 = rounding_doubling_high_mul(t2, t)
    t4_quarter = rounding_divide_by_pot(rounding_doubling_high_mul(t2, t2), 2)
    tail = rounding_divide_by_pot(rounding_doubling_high_mul(t4_quarter + t3, third) + t2, 1)
    return exp_of_minus_eighth + rounding_doubling_high_mul(exp_of_minus_eighth, t + tail)


def reciprocal_of_one_plus(x: ArrayLike) -> Int64Array:
    """``1 / (1 + x)`` in fixed point, three Newton steps, as gemmlowp computes it. [N2.9]

    Parameters
    ----------
    x : int array
        Q0.31, from 0 to INT32_MAX.

    Returns
    -------
    int64 array
        Q0.31.

    >>> reciprocal_of_one_plus([0, 1 << 30]).tolist()
    [2147483647, 1431655762]
    """
    result: Int64Array = np.minimum(_reciprocal_of_half(x) << 1, INT32_MAX)
    return result


def one_minus_over_one_plus(x: ArrayLike) -> Int64Array:
    """``(1 - x) / (1 + x)`` in fixed point, as gemmlowp computes it. [N2.10]

    Parameters and result are those of `reciprocal_of_one_plus`.

    >>> one_minus_over_one_plus([0, 1 << 30]).tolist()
    [2147483647, 715827876]
    """
    # 2/(1 + x) - 1, from Q2.29 to Q0.31
    result: Int64Array = np.minimum((_reciprocal_of_half(x) - (1 << 29)) << 2, INT32_MAX)
    return result


def _reciprocal_of_half(x: ArrayLike) -> Int64Array:
    """``2 / (1 + x)`` in Q2.29."""
    value = np.asarray(x, np.int64)
    half = (value + INT32_MAX + 1) >> 1  # (1 + x) / 2 in Q0.31, rounded up
    # 48/17 - 32/17 · half in Q2.29: the best line through 1/half on [1/2, 1]
    estimate = 1515870810 + rounding_doubling_high_mul(half, -1010580540)
    for _ in range(3):
        error = (1 << 29) - rounding_doubling_high_mul(half, estimate)
        estimate = estimate + (rounding_doubling_high_mul(estimate, error) << 2)
    return estimate


def clamp_to_int8(x: ArrayLike, low: int, high: int) -> Int8Array:
    """Limit to [low, high], a sub-range of int8, and narrow."""
    return np.clip(np.asarray(x, np.int64), low, high).astype(np.int8)
