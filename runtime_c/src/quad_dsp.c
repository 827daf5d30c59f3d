/* SPDX-License-Identifier: Apache-2.0 */
/* Four output channels at a time: what is done once for them, or seldom.  Spec: NUMERICS.md §4. */
#include "quad_dsp.h"

#include "attributes.h"
#include "rectify_dsp.h"

/* Factors that are one for all channels, or have fewer bytes; true if they are short. */
CQ_SELDOM static uint32_t cq_load_packed_factors(const struct cq_requant *requant, int32_t first,
                                                 struct cq_factor *factor)
{
    uint32_t is_short = 1u;
    for (int32_t i = 0; i < 4; ++i) {
        struct cq_channel channel;
        cq_load_factor(requant, first + i, &channel);
        is_short &= cq_short_factor(channel.multiplier, channel.exponent, &factor[i]);
    }
    return is_short;
}

/* Factors of four channels; true if they are short. */
CQ_NOINLINE static uint32_t cq_load_factors(const struct cq_requant *requant, int32_t first,
                                            struct cq_factor *factor)
{
    if (requant->per_channel == 0u || requant->exponent == NULL ||
        requant->multiplier_bytes != 4u) {
        return cq_load_packed_factors(requant, first, factor);
    }
    const int32_t *const multiplier = (const int32_t *)requant->multiplier + first;
    const int8_t *const exponent = requant->exponent + first;
    uint32_t is_short = 1u;
    for (int32_t i = 0; i < 4; ++i) {
        is_short &= cq_short_factor(multiplier[i], exponent[i], &factor[i]);
    }
    return is_short;
}

/* Starts of the accumulators of four channels; false where the table has other entries. */
static inline int cq_load_starts(const struct cq_requant *requant, int32_t first, int32_t *start)
{
    if (requant->bias_bytes == 4u) {
        memcpy(start, (const int32_t *)requant->bias + first, 4u * sizeof *start);
        return 1;
    }
    if (requant->bias_bytes == 2u) {
        const int16_t *const bias = (const int16_t *)requant->bias + first;
        for (int32_t i = 0; i < 4; ++i) {
            start[i] = cq_shift_left(bias[i], requant->bias_shift);
        }
        return 1;
    }
    return 0;
}

void cq_load_quad(struct cq_quad *quad, const struct cq_requant *requant, int32_t first,
                  int32_t channels)
{
    quad->first = first;
    quad->channels = channels;
    quad->partial = NULL;
    if (channels < 4) {
        quad->requant = requant;
        quad->is_short = 0u;
    } else {
        if (quad->requant != requant || requant->per_channel != 0u) {
            quad->requant = requant;
            quad->is_short = cq_load_factors(requant, first, quad->factor);
        }
        if (cq_load_starts(requant, first, quad->start)) {
            return;
        }
    }
    for (int32_t i = 0; i < 4; ++i) {
        quad->start[i] = cq_load_bias(requant, first + cq_limit(i, 0, channels - 1));
    }
}

/* True if each of four channels can be rectified, and is. */
static inline int cq_rectify_four(const struct cq_requant *requant, int32_t first, int32_t products,
                                  struct cq_shifted *shifted)
{
    for (int32_t i = 0; i < 4; ++i) {
        const struct cq_channel channel = cq_load_channel(requant, first + i);
        const int32_t right = -channel.exponent;
        if (!cq_can_rectify(channel, products)) {
            return 0;
        }
        const uint32_t left = (uint32_t)cq_rectify_left(right);
        shifted[i].factor.multiplier = (uint32_t)channel.multiplier;
        shifted[i].factor.scale = (uint32_t)cq_rectify_rounding(right, channel.zero_point);
        shifted[i].left = left;
        shifted[i].start = cq_shift_left(channel.bias, left);
    }
    return 1;
}

/* Channels that cannot be, as they are. */
CQ_SELDOM static void cq_load_unshifted(struct cq_quad *quad, struct cq_shifted *shifted)
{
    quad->is_short = quad->channels == 4 ? 1u : 0u;
    for (int32_t i = 0; i < quad->channels; ++i) {
        struct cq_channel channel;
        cq_load_factor(quad->requant, quad->first + i, &channel);
        quad->is_short &= cq_short_factor(channel.multiplier, channel.exponent, &shifted[i].factor);
        shifted[i].left = 0u;
        shifted[i].start = cq_load_bias(quad->requant, quad->first + i);
    }
}

int cq_rectify_quad(struct cq_quad *quad, const struct cq_requant *requant, int32_t first,
                    int32_t channels, int32_t products, struct cq_shifted *shifted)
{
    if (channels == 4 && cq_is_relu(requant) &&
        cq_rectify_four(requant, first, products, shifted)) {
        return 1;
    }
    quad->requant = requant;
    quad->first = first;
    quad->channels = channels;
    cq_load_unshifted(quad, shifted);
    return 0;
}

void cq_store_quad(const struct cq_quad *quad, const int32_t *acc, int8_t *out)
{
    for (int32_t i = 0; i < quad->channels; ++i) {
        out[i] = cq_requantize_channel(acc[i], cq_load_channel(quad->requant, quad->first + i));
    }
}

void cq_finish_slowly(const struct cq_quad *quad, struct cq_sums sums, int8_t *out)
{
    const int32_t acc[4] = {sums.s0, sums.s1, sums.s2, sums.s3};
    if (quad->partial != NULL) {
        memcpy(quad->partial, acc, sizeof acc);
    } else {
        cq_store_quad(quad, acc, out);
    }
}
