/* SPDX-License-Identifier: Apache-2.0 */
/* Integer primitives: the twin of codeq_compile/numerics.py.  Spec: NUMERICS.md §2. */
#ifndef CODEQ_SRC_NUMERICS_H
#define CODEQ_SRC_NUMERICS_H

#include <stdint.h>

#include <codeq/config.h>

/* Armv6-M and the baseline of Armv8-M multiply 32 bits by 32 to 32: where 64 are wanted, compilers
 * call their library, which takes longer than four products of halves. */
#if defined(__ARM_ARCH_ISA_THUMB) && __ARM_ARCH_ISA_THUMB == 1
#define CQ_HAS_LONG_PRODUCT 0
#else
#define CQ_HAS_LONG_PRODUCT 1
#endif

/*
 * C99 leaves open what >> does with a negative number, what a conversion to a signed type does out
 * of range, and forbids << into the sign.  Nothing here relies on any of them, and every compiler
 * tried makes one instruction, or none, of what stands in their place.
 */

/** @brief The int32 with these bits in two's complement. */
static inline int32_t cq_to_signed(uint32_t bits)
{
    const union {
        uint32_t bits;
        int32_t value;
    } number = {bits};
    return number.value;
}

/** @brief floor(x / 2^shift), shift 0..31. */
static inline int32_t cq_shift_right(int32_t x, uint32_t shift)
{
    CQ_ASSERT(shift <= 31u);
#ifdef __GNUC__
    return x >> shift; /* these compilers promise an arithmetic shift */
#else
    return x < 0 ? ~(~x >> shift) : x >> shift;
#endif
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

/* high * 2^16 + low, -2^15 <= low < 2^15, -2^15 <= high <= 2^15. */
struct cq_halves {
    int32_t high, low;
};

/** @brief The halves of an int32. */
static inline struct cq_halves cq_split(int32_t x)
{
    const struct cq_halves halves = {
        cq_shift_right(cq_shift_right(x, 15u) + 1, 1u),
        cq_shift_right(cq_shift_left(x, 16u), 16u),
    };
    return halves;
}

/**
 * @brief (2 * a * b + 2^31) >> 32 from products of halves, none of which exceeds 2^30. [N2.4]
 *
 * The lower half of low * low is never seen, because the rounding is done above it; what is summed
 * in between stays within 2^31 - 2^14.
 *
 * @param a, b  not both INT32_MIN
 */
static inline int32_t cq_rounding_doubling_high_mul_halves(struct cq_halves a, struct cq_halves b)
{
    const uint32_t middle = (uint32_t)(a.high * b.low) + (uint32_t)(a.low * b.high) +
                            (uint32_t)cq_shift_right(a.low * b.low, 16u) + (UINT32_C(1) << 14);
    return cq_to_signed((uint32_t)(a.high * b.high) * 2u +
                        (uint32_t)cq_shift_right(cq_to_signed(middle), 15u));
}

/**
 * @brief (2 * a * b + 2^31) >> 32, half up, for products that cannot reach 2^62. [N2.4]
 *
 * @param a, b  not both INT32_MIN
 */
static inline int32_t cq_rounding_doubling_high_mul_by(int32_t a, int32_t b)
{
#if CQ_HAS_LONG_PRODUCT
    /* 2^62 lifts every product above zero, and leaves as 2^31 after the shift. */
    const int64_t lifted = (int64_t)a * b + (INT64_C(1) << 30) + (INT64_C(1) << 62);
    return cq_to_signed((uint32_t)((uint64_t)lifted >> 31) ^ UINT32_C(0x80000000));
#else
    return cq_rounding_doubling_high_mul_halves(cq_split(a), cq_split(b));
#endif
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
 * @param multiplier  0..2^31 - 1
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

/**
 * @brief exp(x) in fixed point, as gemmlowp computes it. [N2.8]
 *
 * @param x  Q5.26, -32..0
 * @return   Q0.31; exp(0) is INT32_MAX
 */
static inline int32_t cq_exp_of_negative(int32_t x)
{
    /* exp(-2^k) for k = -2..4 */
    static const int32_t factors[7] = {1672461947, 1302514674, 790015084, 290630308,
                                       39332535,   720401,     242};
    const int32_t quarter = INT32_C(1) << 24;
    const int32_t exp_of_minus_eighth = 1895147668;
    const int32_t third = 715827883;
    CQ_ASSERT(x <= 0);
    if (x == 0) {
        return INT32_MAX;
    }
    /* x = remainder in [-1/4, 0) minus a multiple of 1/4, whose bits select factors */
    const int32_t remainder = (int32_t)((uint32_t)x & (uint32_t)(quarter - 1)) - quarter;
    const uint32_t quarters = (uint32_t)(remainder - x);
    /* Taylor polynomial of degree 4 around -1/8, in Q0.31 */
    const int32_t t = remainder * 32 + (INT32_C(1) << 28);
    const int32_t t2 = cq_rounding_doubling_high_mul_by(t, t);
    const int32_t t3 = cq_rounding_doubling_high_mul_by(t2, t);
    const int32_t t4 = cq_rounding_doubling_high_mul_by(t2, t2);
    const int32_t cubic =
        cq_rounding_doubling_high_mul_by(cq_rounding_divide_by_pot(t4, 2u) + t3, third);
    const int32_t tail = cq_rounding_divide_by_pot(cubic + t2, 1u);
    int32_t result =
        exp_of_minus_eighth + cq_rounding_doubling_high_mul_by(exp_of_minus_eighth, t + tail);
    for (uint32_t bit = 0u; bit < 7u; ++bit) {
        if ((quarters >> (24u + bit) & 1u) != 0u) {
            result = cq_rounding_doubling_high_mul_by(result, factors[bit]);
        }
    }
    return result;
}

/**
 * @brief 1 / (1 + x) in fixed point, three Newton steps, as gemmlowp computes it. [N2.9]
 *
 * @param x  Q0.31, >= 0
 * @return   Q0.31
 */
static inline int32_t cq_reciprocal_of_one_plus(int32_t x)
{
    CQ_ASSERT(x >= 0);
    /* (1 + x) / 2 in Q0.31, rounded up */
    const int32_t half = (int32_t)(((uint32_t)x + (uint32_t)INT32_MAX + 1u) >> 1);
    /* 48/17 - 32/17 * half in Q2.29: the best line through 1 / half on [1/2, 1] */
    int32_t estimate = 1515870810 + cq_rounding_doubling_high_mul_by(half, -1010580540);
    for (int step = 0; step < 3; ++step) {
        const int32_t error = (INT32_C(1) << 29) - cq_rounding_doubling_high_mul_by(half, estimate);
        estimate += cq_rounding_doubling_high_mul_by(estimate, error) * 4;
    }
    return estimate > INT32_MAX / 2 ? INT32_MAX : estimate * 2;
}

/** @brief x limited to [low, high]. */
static inline int32_t cq_limit(int32_t x, int32_t low, int32_t high)
{
    return x < low ? low : x > high ? high : x;
}

/** @brief x limited to [low, high], a sub-range of int8, and narrowed. */
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
