/* SPDX-License-Identifier: Apache-2.0 */
/* Four output channels at a time: their starts and factors, unpacked.  Spec: NUMERICS.md §4. */
#ifndef CODEQ_SRC_QUAD_DSP_H
#define CODEQ_SRC_QUAD_DSP_H

#include "requant_dsp.h"

/* Four channels, or fewer: the last one is repeated. */
struct cq_quad {
    int32_t start[4]; /* of the accumulators */
    struct cq_factor factor[4];
    const struct cq_requant *requant; /* NULL: nothing has been loaded yet */
    int32_t first;                    /* channel */
    int32_t channels;                 /* 1..4 */
    int32_t *partial;                 /* where sums are left that are not complete; else NULL */
    uint32_t is_short;                /* cq_requantize_short() serves four complete sums */
};

/*
 * The first of the next four channels: where there are not four left, some are computed again,
 * which is cheaper than a second inner loop.
 */
static inline int32_t cq_quad_at(int32_t channel, int32_t channels)
{
    return cq_limit(channel, 0, cq_limit(channels - 4, 0, channels));
}

/* Factors of four channels that are one, or have fewer bytes; true if they are short. */
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
static uint32_t cq_load_factors(const struct cq_requant *requant, int32_t first,
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

/* Starts of the accumulators of `channels` (1..4) channels; the last one is repeated. */
static inline void cq_load_starts(const struct cq_requant *requant, int32_t first, int32_t channels,
                                  int32_t *start)
{
    if (requant->bias_bytes == 4u && channels == 4) {
        memcpy(start, (const int32_t *)requant->bias + first, 4u * sizeof *start);
        return;
    }
    if (requant->bias_bytes == 2u && channels == 4) {
        const int16_t *const bias = (const int16_t *)requant->bias + first;
        for (int32_t i = 0; i < 4; ++i) {
            start[i] = cq_shift_left(bias[i], requant->bias_shift);
        }
        return;
    }
    for (int32_t i = 0; i < 4; ++i) {
        start[i] = cq_load_bias(requant, first + cq_limit(i, 0, channels - 1));
    }
}

/**
 * @brief Unpack the tables of `channels` (1..4) channels from `first` on. [N4.4]
 *
 * @param quad  `requant` is NULL before the first call: one factor for all channels is unpacked
 * once
 */
static void cq_load_quad(struct cq_quad *quad, const struct cq_requant *requant, int32_t first,
                         int32_t channels)
{
    quad->first = first;
    quad->channels = channels;
    quad->partial = NULL;
    cq_load_starts(requant, first, channels, quad->start);
    if (channels < 4) {
        quad->is_short = 0u;
    } else if (quad->requant == NULL || requant->per_channel != 0u) {
        quad->is_short = cq_load_factors(requant, first, quad->factor);
    }
    quad->requant = requant;
}

/** @brief Outputs of one pixel, for channels that are fewer than four or not short. */
CQ_SELDOM static void cq_store_quad(const struct cq_quad *quad, const int32_t *acc, int8_t *out)
{
    for (int32_t i = 0; i < quad->channels; ++i) {
        out[i] = cq_requantize_channel(acc[i], cq_load_channel(quad->requant, quad->first + i));
    }
}

/* Accumulators of four rows; by value, so that they stay in registers. */
struct cq_sums {
    int32_t s0, s1, s2, s3;
};

/* What cq_store_short() cannot: fewer channels, other factors, sums that are not complete. */
CQ_SELDOM static void cq_finish_slowly(const struct cq_quad *quad, struct cq_sums sums, int8_t *out)
{
    const int32_t acc[4] = {sums.s0, sums.s1, sums.s2, sums.s3};
    if (quad->partial != NULL) {
        memcpy(quad->partial, acc, sizeof acc);
    } else {
        cq_store_quad(quad, acc, out);
    }
}

/* Outputs of four channels in 6 or 7 instructions each. */
#define CQ_STORE_SUMS(form)                                                                        \
    static inline void cq_store_##form(struct cq_sums sums, const struct cq_factor *factor,        \
                                       int32_t zero_point, int8_t *out)                            \
    {                                                                                              \
        const uint32_t *factors = (const uint32_t *)(const void *)factor;                          \
        struct cq_words f = cq_next_words(&factors);                                               \
        out[0] = (int8_t)cq_requantize_##form(sums.s0, f.w0, f.w1, zero_point);                    \
        out[1] = (int8_t)cq_requantize_##form(sums.s1, f.w2, f.w3, zero_point);                    \
        f = cq_next_words(&factors);                                                               \
        out[2] = (int8_t)cq_requantize_##form(sums.s2, f.w0, f.w1, zero_point);                    \
        out[3] = (int8_t)cq_requantize_##form(sums.s3, f.w2, f.w3, zero_point);                    \
    }

CQ_STORE_SUMS(short)
CQ_STORE_SUMS(relu)

#endif
