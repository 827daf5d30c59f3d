# SPDX-License-Identifier: Apache-2.0
"""Functions of one int8 value, in the integers of TFLite's reference kernels; made into tables.

Each function takes grids and gives a function from int64 arrays, all int8 values, to results that
the caller limits to int8. `float32` tells how factors are formed from scales. [lut-C4]
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from codeq_compile.frontends.tflite.layer import Refusal
from codeq_compile.ir.op import Array
from codeq_compile.ir.types import Grid
from codeq_compile.numerics import (
    INT32_MAX,
    exp_of_negative,
    one_minus_over_one_plus,
    quantize_multiplier,
    reciprocal_of_one_plus,
    requantize,
    rounding_divide_by_pot,
)

Function = Callable[[Array], Array]

f32 = np.float32
_INPUT_INTEGER_BITS = 4
"""LOGISTIC and TANH read Q4.27."""


def relu(x: Grid, y: Grid) -> Function:
    """max(x, 0) on another grid, with a float32 quotient as its factor."""
    multiplier, exponent = _factor(f32(x.scale) / f32(y.scale))

    def function(q: Array) -> Array:
        scaled = requantize(q - x.zero_point, multiplier, exponent)
        return np.maximum(scaled, 0) + y.zero_point

    return function


def leaky_relu(x: Grid, y: Grid, alpha: float, *, float32: bool) -> Function:
    """x, or alpha · x below 0."""
    real = f32 if float32 else float
    identity = _factor(real(x.scale) / real(y.scale))
    slope = _factor(abs(real(x.scale) * real(alpha) / real(y.scale)))
    sign = -1 if alpha < 0 else 1

    def function(q: Array) -> Array:
        v = q - x.zero_point
        above, below = requantize(v, *identity), sign * requantize(v, *slope)
        return np.where(v >= 0, above, below) + y.zero_point

    return function


def logistic(x: Grid) -> Function:
    """1 / (1 + exp(-x)) in steps of 1/256 from -128: TFLite Micro's fixed point."""

    def function(q4: Array) -> Array:
        positive = reciprocal_of_one_plus(exp_of_negative(-np.abs(q4), _INPUT_INTEGER_BITS))
        value = np.where(q4 > 0, positive, INT32_MAX - positive)
        return rounding_divide_by_pot(np.where(q4 == 0, 1 << 30, value), 23) - 128

    return _saturating(x, function)


def tanh(x: Grid) -> Function:
    """tanh(x) in steps of 1/128: TFLite Micro's fixed point."""

    def function(q4: Array) -> Array:
        # the same raw integer with one more integer bit is twice the value
        exponential = exp_of_negative(-np.abs(q4), _INPUT_INTEGER_BITS + 1)
        value = one_minus_over_one_plus(exponential)
        return rounding_divide_by_pot(np.where(q4 == 0, 0, np.sign(q4) * value), 24)

    return _saturating(x, function)


def _saturating(x: Grid, function: Function) -> Function:
    """`function` of the input in Q4.27; beyond the range of Q4.27 the limits of int8."""
    multiplier, exponent = _factor(x.scale * 2.0 ** (31 - _INPUT_INTEGER_BITS))
    radius = math.floor(math.ldexp(2**_INPUT_INTEGER_BITS - 1, 31 - _INPUT_INTEGER_BITS - exponent))

    def limited(q: Array) -> Array:
        v = q - x.zero_point
        inside = function(requantize(np.clip(v, -radius, radius), multiplier, exponent))
        return np.where(v <= -radius, -128, np.where(v >= radius, 127, inside))

    return limited


def float_logistic(x: Grid, y: Grid) -> Function:
    """TensorFlow Lite's table of float32 values."""
    return _float_table(lambda v: f32(1) / (f32(1) + _rounded(np.exp, -v)), x, y)


def float_tanh(x: Grid, y: Grid) -> Function:
    """TensorFlow Lite's table of float32 values."""
    return _float_table(lambda v: _rounded(np.tanh, v), x, y)


def _rounded(function: Callable[[Any], Any], x: Any) -> Any:
    """A function of float32 values, rounded once: numpy in float32 differs between machines."""
    with np.errstate(over="ignore"):
        return function(x.astype(np.float64)).astype(f32)


def _float_table(function: Callable[[Any], Any], x: Grid, y: Grid) -> Function:
    """Source: `LUTPopulate` of TFLite's kernels/internal/common.h."""

    def table(q: Array) -> Array:
        with np.errstate(over="ignore"):
            real = function(f32(x.scale) * (q - x.zero_point).astype(f32)).astype(f32)
            steps = real * (f32(1) / f32(y.scale))
        nearest = np.copysign(np.floor(np.abs(steps).astype(np.float64) + 0.5), steps)
        result: Array = np.clip(nearest, -256, 256).astype(np.int64) + y.zero_point
        return result

    return table


def hard_swish(x: Grid, y: Grid, *, float32: bool) -> Function:
    """x · relu6(x + 3) / 6 in 16 bits. Source: TFLite's reference/hard_swish.h."""
    real = f32 if float32 else float
    fine, reluish_scale = real(x.scale) / real(128), real(3) / real(32768)
    out16, out_exponent = _factor16(fine / real(y.scale))
    reluish16, exponent = _factor16(fine / reluish_scale)
    if out_exponent > 0:
        raise Refusal("its output's scale is less than 1/128 of its input's")

    def function(q: Array) -> Array:
        v = (q - x.zero_point) << 7
        on_output_scale = _rounding_high_mul16(v, out16)
        reluish = v
        if exponent > 0:
            reluish = _int16(reluish << (exponent - 1))
        reluish = _rounding_high_mul16(reluish, reluish16)
        if exponent > 0:
            reluish = _int16(reluish << 1)
        if exponent < 0:
            reluish = rounding_divide_by_pot(reluish, -exponent)
        # from [-1, 1] to [0, 1]
        reluish = (reluish + (1 << 15)) >> 1
        product = reluish * on_output_scale
        # this multiplication truncates
        high = np.where(product >= 0, product >> 15, -(-product >> 15))
        return rounding_divide_by_pot(high, -out_exponent) + y.zero_point

    return function


def _factor(real: Any) -> tuple[int, int]:
    if not 0.0 <= float(real) < 2.0**30:
        raise Refusal(f"the factor {float(real):g} between its scales is out of range")
    return quantize_multiplier(float(real))


def _factor16(real: Any) -> tuple[int, int]:
    """A factor with the multiplier rounded to its top 16 bits."""
    multiplier, exponent = _factor(real)
    return min((multiplier + (1 << 15)) >> 16, (1 << 15) - 1), exponent


def _rounding_high_mul16(a: Array, b: int) -> Array:
    """[N2.4] for 16 bits; only -2^15 times itself would saturate, and `b` is positive."""
    return (a * b + (1 << 14)) >> 15


def _int16(x: Array) -> Array:
    return np.clip(x, -(1 << 15), (1 << 15) - 1)
