# SPDX-License-Identifier: Apache-2.0
"""Helpers of the element-wise goldens: tables over all int8 values and repeating operands."""

import math

import numpy as np

from codeq_compile.ir.op import Array
from codeq_compile.numerics import Int64Array
from codeq_compile.ops.base import Scale

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
