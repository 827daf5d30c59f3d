/* SPDX-License-Identifier: Apache-2.0 */
/* Four output channels at a time: their starts and factors, unpacked.  Spec: NUMERICS.md §4. */
#ifndef CODEQ_SRC_QUAD_DSP_H
#define CODEQ_SRC_QUAD_DSP_H

#include "requant_dsp.h"

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

/*
 * The first of the next four channels: where there are not four left, some are computed again, which
 * is cheaper than a second inner loop.
 */
static inline int32_t cq_quad_at(int32_t channel, int32_t channels)
{
    return cq_limit(channel, 0, cq_limit(channels - 4, 0, channels));
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

#endif
