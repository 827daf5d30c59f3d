/* SPDX-License-Identifier: Apache-2.0 */
/* Requantization in four instructions of Armv7E-M.  Spec: NUMERICS.md §4.
 */
#ifndef CODEQ_SRC_REQUANT_DSP_H
#define CODEQ_SRC_REQUANT_DSP_H

#include <codeq/types.h>

#include "dsp.h"
#include "requant.h"

/*
 * A factor as two high products: acc * 2^-32 * twice its multiplier, a number from 2^31 on, of
 * which int32 holds what is left after 2^32, so that acc itself is added; then a power of two.
 */
struct cq_factor {
    uint32_t multiplier; /* 2 * multiplier - 2^32 */
    uint32_t scale;      /* 2^(32 + exponent), exponent -31..-2; 0 where the multiplier is 0 */
};

/**
 * @brief Zero point plus the rescaled accumulator, limited to int8. [N4.2]
 *
 * The first SMMLAR rounds half up [N2.4].  The second rounding is half away from zero [N2.5]: what
 * is negative goes down by one, then half up gives the same.
 */
static inline int32_t cq_requantize_short(int32_t acc, uint32_t multiplier, uint32_t scale,
                                          int32_t zero_point)
{
    const int32_t y = cq_smmlar(acc, cq_to_signed(multiplier), acc);
    const int32_t is_negative = (int32_t)((uint32_t)y >> 31);
    return cq_ssat8(cq_smmlar(y - is_negative, (int32_t)scale, zero_point));
}

/**
 * @brief The same where nothing below the zero point is seen, clamp_min >= zero_point.
 *
 * Negative y may then be rounded up as well: what they become is limited to clamp_min.
 */
static inline int32_t cq_requantize_relu(int32_t acc, uint32_t multiplier, uint32_t scale,
                                         int32_t zero_point)
{
    const int32_t y = cq_smmlar(acc, cq_to_signed(multiplier), acc);
    return cq_ssat8(cq_smmlar(y, (int32_t)scale, zero_point));
}

/** @brief True where cq_requantize_relu() serves. */
static inline int cq_is_relu(const struct cq_requant *requant)
{
    return requant->clamp_min >= requant->zero_point;
}

/**
 * @brief Twice the multiplier and the scale of a factor, if it has the short form; else 0.
 *
 * An exponent above -2 leaves nothing to round a second time; a multiplier of 0 has any exponent.
 */
static inline uint32_t cq_short_factor(int32_t multiplier, int32_t exponent,
                                       struct cq_factor *factor)
{
    factor->multiplier = (uint32_t)multiplier << 1;
    if (exponent > -2) {
        factor->scale = 0u;
        return multiplier == 0;
    }
    factor->scale = UINT32_C(1) << (32 + exponent);
    return 1u;
}

/**
 * @brief The same for factors that have no short form: a multiplier from 2^30 on and an exponent of
 * `left` or of -`right`, which is 0 or 1.
 */
static inline int32_t cq_requantize_long(int32_t acc, uint32_t multiplier, uint32_t left,
                                         uint32_t right, int32_t zero_point)
{
    const int32_t t = cq_shift_left(acc, left);
    int32_t y = cq_smmlar(t, cq_to_signed(multiplier), t);
    if (right != 0u) {
        y = cq_shift_right(y + (y >= 0 ? 1 : 0), 1u);
    }
    return cq_ssat8(cq_ssat16(y) + zero_point);
}

/** @brief Limit outputs, which are limited to int8 already, to those of a fused activation. */
CQ_SELDOM void cq_clamp_dsp(int8_t *out, int32_t count, int32_t low, int32_t high);

#endif
