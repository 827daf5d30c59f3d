/* SPDX-License-Identifier: Apache-2.0 */
/* Integer primitives: the twin of codeq_compile/numerics.py.  Spec: NUMERICS.md §2. */
#ifndef CODEQ_SRC_NUMERICS_H
#define CODEQ_SRC_NUMERICS_H

#include <stdint.h>

#include <codeq/config.h>

/*
 * C99 leaves open what >> does with a negative number, what a conversion to a signed type does out
 * of range, and forbids << into the sign.  Everything here therefore shifts unsigned numbers; both
 * arms of cq_to_signed() are the same bits, and every compiler tried makes no code of it.
 */

/** @brief The int32 with these bits in two's complement. [N1.1] */
static inline int32_t cq_to_signed(uint32_t bits)
{
    return bits <= (uint32_t)INT32_MAX ? (int32_t)bits : ~(int32_t)~bits;
}

/**
 * @brief x * 2^shift. [N2.6]
 *
 * @param x      any value whose result is an int32
 * @param shift  0..31
 */
static inline int32_t cq_shift_left(int32_t x, uint32_t shift)
{
    CQ_ASSERT(shift <= 31u);
    return cq_to_signed((uint32_t)x << shift);
}

/**
 * @brief (2 * a * b + 2^31) >> 32, half up, for products that cannot reach 2^62. [N2.4]
 *
 * @param a, b  not both INT32_MIN
 */
static inline int32_t cq_rounding_doubling_high_mul_by(int32_t a, int32_t b)
{
    /* 2^62 lifts every product above zero, and leaves as 2^31 after the shift. */
    const int64_t lifted = (int64_t)a * b + (INT64_C(1) << 30) + (INT64_C(1) << 62);
    return cq_to_signed((uint32_t)((uint64_t)lifted >> 31) ^ UINT32_C(0x80000000));
}

/**
 * @brief TFLite's SaturatingRoundingDoublingHighMul: as above, INT32_MAX where both are INT32_MIN.
 * [N2.4]
 */
static inline int32_t cq_rounding_doubling_high_mul(int32_t a, int32_t b)
{
    if (a == INT32_MIN && b == INT32_MIN) {
        return INT32_MAX;
    }
    return cq_rounding_doubling_high_mul_by(a, b);
}

/**
 * @brief x / 2^exponent, nearest, ties away from zero. [N2.5]
 *
 * @param exponent  0..31
 */
static inline int32_t cq_rounding_divide_by_pot(int32_t x, uint32_t exponent)
{
    CQ_ASSERT(exponent <= 31u);
    const uint32_t half = (UINT32_C(1) << exponent) >> 1;
    const uint32_t magnitude = x < 0 ? 0u - (uint32_t)x : (uint32_t)x;
    const uint32_t rounded = (magnitude + half) >> exponent;
    return cq_to_signed(x < 0 ? 0u - rounded : rounded);
}

/**
 * @brief acc * multiplier * 2^(exponent - 31) with TFLite's double rounding. [N2.6]
 *
 * @param acc         acc * 2^max(exponent, 0) is an int32: proved when the model is compiled [N4.3]
 * @param multiplier  0, or 2^30..2^31 - 1
 * @param exponent    -31..31
 */
static inline int32_t cq_requantize(int32_t acc, int32_t multiplier, int32_t exponent)
{
    CQ_ASSERT(multiplier >= 0 && exponent >= -31 && exponent <= 31);
    const uint32_t left = exponent > 0 ? (uint32_t)exponent : 0u;
    const uint32_t right = exponent < 0 ? (uint32_t)-exponent : 0u;
    return cq_rounding_divide_by_pot(
        cq_rounding_doubling_high_mul_by(cq_shift_left(acc, left), multiplier), right);
}

/** @brief x * 2^shift, saturated to int32; shift in 0..31. [N2.8] */
static inline int32_t cq_saturating_shift_left(int32_t x, uint32_t shift)
{
    const int32_t limit = (int32_t)((uint32_t)INT32_MAX >> shift);
    if (x > limit) {
        return INT32_MAX;
    }
    return x < -limit - 1 ? INT32_MIN : cq_shift_left(x, shift);
}

/**
 * @brief exp(a) of a fixed-point number, as gemmlowp's exp_on_negative_values. [N2.9]
 *
 * @param a  <= 0, with 5 integer and 26 fraction bits
 * @return   in [0, 1], with 31 fraction bits; 1 is INT32_MAX
 */
static inline int32_t cq_exp_on_negative_values(int32_t a)
{
    /* exp(-1/4), exp(-1/2), exp(-1) ... exp(-16): one factor for each bit from 2^-2 up */
    static const int32_t factors[7] = {1672461947, 1302514674, 790015084, 290630308,
                                       39332535,   720401,     242};
    const int32_t quarter = INT32_C(1) << 24;
    const int32_t exp_minus_eighth = 1895147668;
    const int32_t third = 715827883;
    CQ_ASSERT(a <= 0);
    if (a == 0) {
        return INT32_MAX;
    }
    /* a = remainder (a multiple of -1/4) + modulus, modulus in [-1/4, 0) */
    const int32_t modulus = cq_to_signed((uint32_t)a & (uint32_t)(quarter - 1)) - quarter;
    const uint32_t remainder = (uint32_t)modulus - (uint32_t)a;
    /* Taylor series around -1/8, with 31 fraction bits */
    const int32_t x = cq_shift_left(modulus, 5) + (INT32_C(1) << 28);
    const int32_t x2 = cq_rounding_doubling_high_mul(x, x);
    const int32_t x3 = cq_rounding_doubling_high_mul(x2, x);
    const int32_t x4 = cq_rounding_doubling_high_mul(x2, x2);
    const int32_t cubic =
        cq_rounding_doubling_high_mul(cq_rounding_divide_by_pot(x4, 2) + x3, third);
    const int32_t series = x + cq_rounding_divide_by_pot(cubic + x2, 1);
    int32_t result = exp_minus_eighth + cq_rounding_doubling_high_mul(exp_minus_eighth, series);
    for (uint32_t bit = 0; bit < 7u; ++bit) {
        if ((remainder >> (24u + bit) & 1u) != 0u) {
            result = cq_rounding_doubling_high_mul(result, factors[bit]);
        }
    }
    return result;
}

/**
 * @brief 1 / (1 + a) by three Newton steps, as gemmlowp's one_over_one_plus_x_for_x_in_0_1. [N2.10]
 *
 * @param a  in [0, 1], with 31 fraction bits
 * @return   in [1/2, 1], with 31 fraction bits
 */
static inline int32_t cq_one_over_one_plus_x(int32_t a)
{
    const int32_t one = INT32_C(1) << 29; /* with 2 integer and 29 fraction bits, as x below */
    const int32_t start = 1515870810;     /* 48/17 */
    const int32_t slope = -1010580540;    /* -32/17 */
    CQ_ASSERT(a >= 0);
    /* (1 + a) / 2, half up */
    const int32_t half_denominator = (int32_t)(((uint32_t)a + (uint32_t)INT32_MAX + 1u) >> 1);
    int32_t x = start + cq_rounding_doubling_high_mul(half_denominator, slope);
    for (int step = 0; step < 3; ++step) {
        const int32_t error = one - cq_rounding_doubling_high_mul(half_denominator, x);
        x += cq_saturating_shift_left(cq_rounding_doubling_high_mul(x, error), 2);
    }
    return cq_saturating_shift_left(x, 1);
}

/** @brief x limited to [low, high]. */
static inline int32_t cq_limit(int32_t x, int32_t low, int32_t high)
{
    return x < low ? low : x > high ? high : x;
}

/** @brief x limited to [low, high], a sub-range of int8, and narrowed. [N2.8] */
static inline int8_t cq_clamp_to_int8(int32_t x, int32_t low, int32_t high)
{
    return (int8_t)cq_limit(x, low, high);
}

/**
 * @brief x + zero_point limited to [low, high], for every int32 x. [N4.2]
 *
 * The limits move instead of x, whose sum with the zero point might leave int32.
 */
static inline int8_t cq_offset_to_int8(int32_t x, int32_t zero_point, int32_t low, int32_t high)
{
    return (int8_t)(cq_limit(x, low - zero_point, high - zero_point) + zero_point);
}

#endif
