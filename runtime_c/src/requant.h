/* SPDX-License-Identifier: Apache-2.0 */
/* Requantization tables, unpacked for one channel.  Spec: NUMERICS.md §4. */
#ifndef CODEQ_SRC_REQUANT_H
#define CODEQ_SRC_REQUANT_H

#include <codeq/types.h>

#include "numerics.h"

/* By value everywhere: stores of int8 outputs may alias what lies in memory. */
struct cq_channel {
    int32_t bias;
    int32_t multiplier;
    int32_t exponent;
    int32_t zero_point;
    int32_t clamp_min;
    int32_t clamp_max;
};

/** @brief Start of a channel's accumulator. [N4.4] */
static inline int32_t cq_load_bias(const struct cq_requant *requant, int32_t channel)
{
    switch (requant->bias_bytes) {
    case 1:
        return cq_shift_left(((const int8_t *)requant->bias)[channel], requant->bias_shift);
    case 2:
        return cq_shift_left(((const int16_t *)requant->bias)[channel], requant->bias_shift);
    default:
        return ((const int32_t *)requant->bias)[channel];
    }
}

/** @brief Multiplier and exponent of a channel: a byte, two, three or five. [N4.4] */
static inline void cq_load_factor(const struct cq_requant *requant, int32_t channel,
                                  struct cq_channel *loaded)
{
    const int32_t factor = requant->per_channel != 0u ? channel : 0;
    if (requant->exponent == NULL) {
        const uint32_t is_byte = requant->multiplier_bytes == 1u;
        const uint32_t entry = is_byte ? ((const uint8_t *)requant->multiplier)[factor]
                                       : ((const uint16_t *)requant->multiplier)[factor];
        const uint32_t fraction_bits = is_byte ? 4u : 12u;
        const uint32_t one = UINT32_C(1) << fraction_bits;
        loaded->multiplier = (int32_t)((one + (entry & (one - 1u))) << (30u - fraction_bits));
        loaded->exponent = requant->exponent_base + (int32_t)(entry >> fraction_bits);
        return;
    }
    if (requant->multiplier_bytes == 2u) {
        loaded->multiplier = ((const uint16_t *)requant->multiplier)[factor] * INT32_C(32768);
    } else {
        loaded->multiplier = ((const int32_t *)requant->multiplier)[factor];
    }
    loaded->exponent = requant->exponent[factor];
}

/** @brief The numbers of a channel, from tables as narrow as they come. [N4.4] */
static inline struct cq_channel cq_load_channel(const struct cq_requant *requant, int32_t channel)
{
    struct cq_channel loaded;
    loaded.bias = cq_load_bias(requant, channel);
    cq_load_factor(requant, channel, &loaded);
    loaded.zero_point = requant->zero_point;
    loaded.clamp_min = requant->clamp_min;
    loaded.clamp_max = requant->clamp_max;
    return loaded;
}

/** @brief The int8 output of an accumulator that began with the channel's bias. [N4.2] */
static inline int8_t cq_requantize_channel(int32_t acc, struct cq_channel channel)
{
    return cq_offset_to_int8(cq_requantize(acc, channel.multiplier, channel.exponent),
                             channel.zero_point, channel.clamp_min, channel.clamp_max);
}

/** @brief The same as a call, for the few that kernels have no faster way for. */
int32_t cq_requantize_slowly(int32_t acc, const struct cq_channel *channel);

/** @brief The int8 output for an int32 value and one factor. [N2.6] */
static inline int8_t cq_rescale(int32_t value, struct cq_scale scale, int32_t zero_point,
                                int32_t low, int32_t high)
{
    return cq_offset_to_int8(cq_requantize(value, scale.multiplier, scale.exponent), zero_point,
                             low, high);
}

#endif
