/* SPDX-License-Identifier: Apache-2.0 */
/* Outputs of one vector from complete sums, with the instructions of Armv7E-M. */
#ifndef CODEQ_SRC_LINEAR_OUTPUTS_DSP_H
#define CODEQ_SRC_LINEAR_OUTPUTS_DSP_H

#include "../requant_dsp.h"

/* Sums that are collected before they are requantized. */
#define CQ_LINEAR_BLOCK 32

/** @brief Where the sums of `count` features from `first` on begin. */
static void cq_linear_start(const struct cq_requant *requant, int32_t first, int32_t count,
                            int32_t *sums)
{
    if (requant->bias_bytes == 2u) {
        const int16_t *bias = (const int16_t *)requant->bias + first;
        const int16_t *const end = bias + count;
        const uint32_t shift = requant->bias_shift;
        while (bias != end) {
            *sums++ = cq_shift_left(*bias++, shift);
        }
        return;
    }
    for (int32_t i = 0; i < count; ++i) {
        sums[i] = cq_load_bias(requant, first + i);
    }
}

/* Outputs with one factor for all. */
static inline void cq_linear_store_shared(const struct cq_requant *requant, const int32_t *sums,
                                          const int32_t *sums_end, int8_t *out)
{
    const int32_t zero_point = requant->zero_point;
    struct cq_channel channel;
    struct cq_factor factor;
    cq_load_factor(requant, 0, &channel);
    if (cq_short_factor(channel.multiplier, channel.exponent, &factor) != 0u) {
        while (sums != sums_end) {
            *out++ =
                (int8_t)cq_requantize_short(*sums++, factor.multiplier, factor.scale, zero_point);
        }
        return;
    }
    const uint32_t left = channel.exponent > 0 ? (uint32_t)channel.exponent : 0u;
    const uint32_t right = channel.exponent < 0 ? 1u : 0u;
    while (sums != sums_end) {
        *out++ = (int8_t)cq_requantize_long(*sums++, factor.multiplier, left, right, zero_point);
    }
}

/**
 * @brief Outputs of `count` features from `first` on, limited to int8.
 *
 * Of a fused activation's limits nothing is known here: cq_clamp_dsp().
 */
static void cq_linear_store(const struct cq_requant *requant, int32_t first, int32_t count,
                            const int32_t *sums, int8_t *out)
{
    if (requant->per_channel == 0u) {
        cq_linear_store_shared(requant, sums, sums + count, out);
        return;
    }
    const struct cq_requant own = *requant; /* stores of int8 do not alias a copy */
    for (int32_t i = 0; i < count; ++i) {
        struct cq_channel channel = cq_load_channel(&own, 0);
        struct cq_factor factor;
        cq_load_factor(&own, first + i, &channel);
        if (cq_short_factor(channel.multiplier, channel.exponent, &factor) != 0u) {
            out[i] = (int8_t)cq_requantize_short(sums[i], factor.multiplier, factor.scale,
                                                 channel.zero_point);
        } else {
            out[i] = cq_requantize_channel(sums[i], channel);
        }
    }
}

#endif
