# SPDX-License-Identifier: Apache-2.0
"""The primitives of docs/NUMERICS.md §2 once more, in Python's own integers, as TFLite words them.

The goldens are compared with loops over these: slow, without numpy, without shared code.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from codeq_compile.ops.base import Padding, Pair, Requant


def c_divide(a: int, b: int) -> int:
    """Quotient toward zero."""
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def high_mul(a: int, b: int) -> int:
    """SaturatingRoundingDoublingHighMul: a nudge, then C's division."""
    if a == b == -(1 << 31):
        return (1 << 31) - 1
    product = a * b
    nudge = 1 << 30 if product >= 0 else 1 - (1 << 30)
    return c_divide(product + nudge, 1 << 31)


def divide_by_pot(x: int, exponent: int) -> int:
    """RoundingDivideByPOT: mask, remainder, threshold."""
    mask = (1 << exponent) - 1
    threshold = (mask >> 1) + (1 if x < 0 else 0)
    return (x >> exponent) + (1 if (x & mask) > threshold else 0)


def rescale(x: int, multiplier: int, exponent: int) -> int:
    """MultiplyByQuantizedMultiplier with double rounding; every step fits int32."""
    shifted = x << max(exponent, 0)
    assert -(1 << 31) <= shifted < 1 << 31
    return divide_by_pot(high_mul(shifted, multiplier), max(-exponent, 0))


def read_factor(c: Mapping[str, Any], channel: int) -> tuple[int, int]:
    """Multiplier and exponent of a channel from `struct cq_requant`, as types.h describes it."""
    stored = int(c["multiplier"].data[channel])
    if c["exponent"] is None:
        fraction_bits = 8 * c["multiplier_bytes"] - 4
        exponent, fraction = divmod(stored, 1 << fraction_bits)
        return (1 << 30) + (fraction << (30 - fraction_bits)), exponent + c["exponent_base"]
    return stored << (15 if c["multiplier_bytes"] == 2 else 0), int(c["exponent"].data[channel])


def clamp(x: int, limits: Pair) -> int:
    return min(max(x, limits[0]), limits[1])


def to_int8(acc: int, requant: Requant, channel: int) -> int:
    """An accumulator with its bias to int8."""
    which = channel if len(requant.multiplier) > 1 else 0
    scaled = rescale(acc, int(requant.multiplier[which]), int(requant.exponent[which]))
    return clamp(scaled + requant.zero_point, (requant.clamp_min, requant.clamp_max))


def window_pixels(
    oh: int, ow: int, size: Pair, kernel: Pair, stride: Pair, dilation: Pair, padding: Padding
) -> Iterator[tuple[int, int, int, int, bool]]:
    """Each tap of one window: (kh, kw, row, column, is inside the image)."""
    for kh in range(kernel[0]):
        for kw in range(kernel[1]):
            h = oh * stride[0] + kh * dilation[0] - padding[0]
            w = ow * stride[1] + kw * dilation[1] - padding[2]
            yield kh, kw, h, w, 0 <= h < size[0] and 0 <= w < size[1]
