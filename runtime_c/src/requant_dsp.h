/* SPDX-License-Identifier: Apache-2.0 */
/* Requantization in five instructions of Armv7E-M, four channels at a time.  Spec: NUMERICS.md §4.
 */
#ifndef CODEQ_SRC_REQUANT_DSP_H
#define CODEQ_SRC_REQUANT_DSP_H

#include <codeq/types.h>

#include "dsp.h"
#include "requant.h"

/*
 * A factor as two high products: acc * 2^-32 * twice its multiplier, a number from 2^31 on, of which
 * int32 holds what is left after 2^32, so that acc itself is added; then a power of two.
 */
struct cq_factor {
    uint32_t multiplier; /* 2 * multiplier - 2^32 */
    uint32_t scale;      /* 2^(32 + exponent), exponent -31..-2; 0 where the multiplier is 0 */
};

/* Four channels, or fewer: the last one is repeated. */
struct cq_quad {
    int32_t start[4]; /* of the accumulators */
    struct cq_factor factor[4];
    const struct cq_requant *requant;
    int32_t first;     /* channel */
    int32_t channels;  /* 1..4 */
    int32_t *partial;  /* where sums are left that are not complete; else NULL */
    uint32_t is_short; /* cq_requantize_short() serves four complete sums */
};

/**
 * @brief Zero point plus the rescaled accumulator, limited to int8. [N4.2]
 *
 * The first SMMLAR rounds half up [N2.4].  The second rounding is half away from zero [N2.5]: what is
 * negative goes down by one, then half up gives the same.
 */
static inline int8_t cq_requantize_short(int32_t acc, uint32_t multiplier, uint32_t scale,
                                         int32_t zero_point)
{
    const int32_t y = cq_smmlar(acc, cq_to_signed(multiplier), acc);
    const int32_t is_negative = (int32_t)((uint32_t)y >> 31);
    return (int8_t)cq_ssat8(cq_smmlar(y - is_negative, (int32_t)scale, zero_point));
}

/** @brief True if a factor has the short form: nothing is rounded twice where nothing is left. */
static inline uint32_t cq_has_short_factor(int32_t multiplier, int32_t exponent)
{
    return exponent <= -2 || multiplier == 0;
}

static inline struct cq_factor cq_short_factor(int32_t multiplier, int32_t exponent)
{
    const uint32_t shift = (uint32_t)(32 + exponent) & 31u;
    const struct cq_factor factor = {(uint32_t)multiplier << 1,
                                     multiplier == 0 ? 0u : UINT32_C(1) << shift};
    return factor;
}

/** @brief Unpack the tables of `channels` (1..4) channels from `first` on. [N4.4] */
static void cq_load_quad(struct cq_quad *quad, const struct cq_requant *requant, int32_t first,
                         int32_t channels)
{
    quad->requant = requant;
    quad->first = first;
    quad->channels = channels;
    quad->partial = NULL;
    quad->is_short = channels == 4;
    for (int32_t i = 0; i < 4; ++i) {
        const struct cq_channel channel =
            cq_load_channel(requant, first + cq_limit(i, 0, channels - 1));
        quad->start[i] = channel.bias;
        quad->factor[i] = cq_short_factor(channel.multiplier, channel.exponent);
        quad->is_short &= cq_has_short_factor(channel.multiplier, channel.exponent);
    }
}

/** @brief Outputs of one pixel, for channels that are fewer than four or not short. */
static void cq_store_quad(const struct cq_quad *quad, const int32_t *acc, int8_t *out)
{
    for (int32_t i = 0; i < quad->channels; ++i) {
        out[i] = cq_requantize_channel(acc[i], cq_load_channel(quad->requant, quad->first + i));
    }
}

/** @brief Limits of the fused activation over outputs that are limited to int8 only. */
CQ_FAST_CODE static void cq_clamp_dsp(const struct cq_requant *requant, int8_t *out, int32_t count)
{
    const int32_t low = requant->clamp_min;
    const int32_t high = requant->clamp_max;
    if (low == INT8_MIN && high == INT8_MAX) {
        return;
    }
    for (int32_t i = 0; i < count; ++i) {
        out[i] = cq_clamp_to_int8(out[i], low, high);
    }
}

#endif
