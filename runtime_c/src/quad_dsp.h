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

/**
 * @brief Unpack the tables of `channels` (1..4) channels from `first` on. [N4.4]
 *
 * @param quad  `requant` is NULL before the first call: one factor for all channels is unpacked
 * once
 */
void cq_load_quad(struct cq_quad *quad, const struct cq_requant *requant, int32_t first,
                  int32_t channels);

/* A channel whose weights and accumulators may be shifted to the left: rectify_dsp.h. */
struct cq_shifted {
    struct cq_factor factor; /* multiplier and rounding of cq_rectify(), or the short form */
    uint32_t left;           /* 0 in the short form */
    int32_t start;           /* of the accumulators, shifted */
};

/**
 * @brief Four channels from `first` on, to be rectified if all of them can be; or fewer.
 *
 * @param quad      set only where this returns false, but for starts and factors: is_short, or for
 *                  cq_store_quad()
 * @param channels  1..4
 * @param products  of a sum
 * @param shifted   `channels` of them
 * @return          true where cq_rectify() serves
 */
int cq_rectify_quad(struct cq_quad *quad, const struct cq_requant *requant, int32_t first,
                    int32_t channels, int32_t products, struct cq_shifted *shifted);

/** @brief Outputs of one pixel, for channels that are fewer than four or not short. */
CQ_SELDOM void cq_store_quad(const struct cq_quad *quad, const int32_t *acc, int8_t *out);

/* Accumulators of four rows; by value, so that they stay in registers. */
struct cq_sums {
    int32_t s0, s1, s2, s3;
};

/** @brief What cq_store_short() cannot: fewer channels, other factors, sums that are not complete.
 */
CQ_SELDOM void cq_finish_slowly(const struct cq_quad *quad, struct cq_sums sums, int8_t *out);

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
