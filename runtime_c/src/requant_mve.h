/* SPDX-License-Identifier: Apache-2.0 */
/* Requantization of four channels at a time with Helium.  Spec: NUMERICS.md §4. */
#ifndef CODEQ_SRC_REQUANT_MVE_H
#define CODEQ_SRC_REQUANT_MVE_H

#include <codeq/types.h>

#include "mve.h"
#include "requant.h"

/* Of four neighbouring channels. */
struct cq_factors {
    int32x4_t multiplier, exponent;
};

/* Four entries of a table of 1, 2 or 4 bytes each. */
static inline int32x4_t cq_load_signed(const void *table, uint32_t bytes, int32_t first)
{
    switch (bytes) {
    case 1:
        return vldrbq_s32((const int8_t *)table + first);
    case 2:
        return vldrhq_s32((const int16_t *)table + first);
    default:
        return vldrwq_s32((const int32_t *)table + first);
    }
}

static inline uint32x4_t cq_load_unsigned(const void *table, uint32_t bytes, int32_t first)
{
    return bytes == 1u ? vldrbq_u32((const uint8_t *)table + first)
                       : vldrhq_u32((const uint16_t *)table + first);
}

/** @brief Multipliers and exponents of channels first..first + 3. [N4.4] */
static inline void cq_load_factors(const struct cq_requant *requant, int32_t first,
                                   struct cq_factors *factors)
{
    if (requant->per_channel == 0u) {
        struct cq_channel all;
        cq_load_factor(requant, 0, &all);
        factors->multiplier = vdupq_n_s32(all.multiplier);
        factors->exponent = vdupq_n_s32(all.exponent);
        return;
    }
    const uint32_t bytes = requant->multiplier_bytes;
    if (requant->exponent == NULL) {
        const int32_t fraction_bits = bytes == 1u ? 4 : 12;
        const uint32_t one = UINT32_C(1) << fraction_bits;
        const uint32x4_t entry = cq_load_unsigned(requant->multiplier, bytes, first);
        const uint32x4_t fraction = vandq_u32(entry, vdupq_n_u32(one - 1u));
        factors->multiplier =
            vreinterpretq_s32_u32(vshlq_r_u32(vaddq_n_u32(fraction, one), 30 - fraction_bits));
        factors->exponent = vaddq_n_s32(vreinterpretq_s32_u32(vshlq_r_u32(entry, -fraction_bits)),
                                        requant->exponent_base);
        return;
    }
    factors->multiplier =
        bytes == 2u ? vreinterpretq_s32_u32(
                          vshlq_n_u32(cq_load_unsigned(requant->multiplier, bytes, first), 15))
                    : vldrwq_s32((const int32_t *)requant->multiplier + first);
    factors->exponent = vldrbq_s32(requant->exponent + first);
}

/** @brief Starts of the accumulators of channels first..first + 3. [N4.4] */
static inline int32x4_t cq_load_biases(const struct cq_requant *requant, int32_t first)
{
    return vshlq_r_s32(cq_load_signed(requant->bias, requant->bias_bytes, first),
                       requant->bias_shift);
}

/**
 * @brief True where nothing below the output's zero point is seen and nothing is shifted left.
 *
 * Both roundings may then go up, because ties below zero end at the lower limit anyway.
 */
static inline int cq_rounds_up(const struct cq_requant *requant, struct cq_factors factors)
{
    return requant->clamp_min >= requant->zero_point &&
           vmaxvq_s32(INT32_MIN, factors.exponent) <= 0;
}

/** @brief Four accumulators times their factors. [N2.6] */
static inline int32x4_t cq_requantize_lanes(int32x4_t acc, struct cq_factors factors)
{
    const int32x4_t zero = vdupq_n_s32(0);
    const int32x4_t left = vmaxq_s32(factors.exponent, zero);
    const int32x4_t right = vminq_s32(factors.exponent, zero);
    /* VQRDMULH is [N2.4]; VRSHL rounds ties up, and one less makes it away from zero [N2.5] */
    const int32x4_t high = vqrdmulhq_s32(vshlq_s32(acc, left), factors.multiplier);
    const int32x4_t one_less = vshrq_n_s32(vandq_s32(high, right), 31);
    return vrshlq_s32(vaddq_s32(high, one_less), right);
}

/** @brief The same under cq_rounds_up(). */
static inline int32x4_t cq_requantize_up(int32x4_t acc, struct cq_factors factors)
{
    return vrshlq_s32(vqrdmulhq_s32(acc, factors.multiplier), factors.exponent);
}

/* How four channels end. */
struct cq_ending {
    struct cq_factors factors;
    int32x4_t low, high;
    int32_t zero_point;
};

/* All but the factors, which are the channels' own. */
static inline void cq_set_ending(struct cq_ending *ending, const struct cq_requant *requant)
{
    ending->low = vdupq_n_s32(requant->clamp_min);
    ending->high = vdupq_n_s32(requant->clamp_max);
    ending->zero_point = requant->zero_point;
}

CQ_INLINE int32x4_t cq_end_quad(int32x4_t acc, const struct cq_ending *ending, int rounds_up)
{
    const int32x4_t scaled = rounds_up ? cq_requantize_up(acc, ending->factors)
                                       : cq_requantize_lanes(acc, ending->factors);
    const int32x4_t placed = vqaddq_n_s32(scaled, ending->zero_point);
    return vminq_s32(vmaxq_s32(placed, ending->low), ending->high);
}

#endif
