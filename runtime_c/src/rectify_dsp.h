/* SPDX-License-Identifier: Apache-2.0 */
/* Requantization in two instructions of Armv7E-M, where nothing below the zero point is seen. Spec:
 * NUMERICS.md §4. */
#ifndef CODEQ_SRC_RECTIFY_DSP_H
#define CODEQ_SRC_RECTIFY_DSP_H

#include "dsp.h"
#include "requant.h"

/*
 * Where the result of the first rounding is not negative, both roundings add a half and round down,
 * which is rounding down once after adding both halves.  With t = 2^left acc, r the right shift of
 * the channel and left + r = CQ_FRACTION + 1:
 *
 *   floor((floor((acc m + 2^30) / 2^31) + 2^(r-1)) / 2^r)
 *     = floor((floor(t m / 2^32) + 2^(left-2) + 2^(CQ_FRACTION-1)) / 2^CQ_FRACTION),  left >= 2
 *
 * Where it is negative, neither side is above 0, and the limit is what is seen.  Without a right
 * shift there is no second half; a left shift is part of t.
 */
#define CQ_FRACTION 12

/** @brief By how much an accumulator is shifted to the left. */
static inline int32_t cq_rectify_left(int32_t right)
{
    return CQ_FRACTION + 1 - right;
}

/**
 * @brief True where a channel of `products` products can be rectified: shifted weights stay int16,
 * and its accumulators int32.
 */
static inline int cq_can_rectify(struct cq_channel channel, int32_t products)
{
    const int32_t left = cq_rectify_left(-channel.exponent);
    if (left < 2 || left > 8) {
        return 0;
    }
    const int32_t most = (INT32_MAX >> left) - products * 128 * 128;
    return channel.bias < most && channel.bias > -most;
}

/** @brief Both halves and the zero point, which are added to the product. */
static inline int32_t cq_rectify_rounding(int32_t right, int32_t zero_point)
{
    const int32_t half = right > 0 ? INT32_C(1) << (cq_rectify_left(right) - 2) : 0;
    return (INT32_C(1) << (CQ_FRACTION - 1)) + half + zero_point * (INT32_C(1) << CQ_FRACTION);
}

/** @brief Zero point plus the rescaled accumulator, limited to int8, where it is not below. [N4.2]
 */
static inline int32_t cq_rectify(int32_t t, int32_t multiplier, int32_t rounding)
{
    return cq_ssat8_asr12(cq_smmla(t, multiplier, rounding));
}

#endif
