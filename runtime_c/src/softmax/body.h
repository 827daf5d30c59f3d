/* SPDX-License-Identifier: Apache-2.0 */
/* Softmax in gemmlowp's fixed point.  The exponentials are computed twice, for the sum and for the
 * outputs, so that no scratch is needed. */
#ifndef CODEQ_SRC_SOFTMAX_BODY_H
#define CODEQ_SRC_SOFTMAX_BODY_H

#include <codeq/types.h>

#include "../attributes.h"
#include "../numerics.h"

/* A row of inputs, and the reciprocal of the sum of their exponentials. */
struct cq_softmax_row {
    const int8_t *in;
    int32_t depth;
    struct cq_scale scale;
    int32_t diff_min;
    int32_t largest;
    int32_t reciprocal; /* 1 / (sum * 2^(zeros - 12)), Q0.31 */
    uint32_t zeros;     /* of the sum, leading */
};

static int32_t cq_softmax_largest(const int8_t *in, int32_t depth)
{
    int32_t largest = in[0];
    for (int32_t i = 1; i < depth; ++i) {
        largest = in[i] > largest ? in[i] : largest;
    }
    return largest;
}

/* Called twice, and too long to stand there twice. */
CQ_HOT_LOOP static int32_t cq_softmax_exp(const struct cq_softmax_row *row, int32_t difference)
{
    return cq_exp_of_negative(
        cq_requantize(difference, row->scale.multiplier, row->scale.exponent));
}

/* As cq_rounding_divide_by_pot(), of what is not negative. */
static inline uint32_t cq_softmax_round(int32_t x, uint32_t exponent)
{
    return ((uint32_t)x + ((UINT32_C(1) << exponent) >> 1)) >> exponent;
}

/* Zero bits above the highest one of x, which is not 0. */
static inline uint32_t cq_leading_zeros(uint32_t x)
{
#ifdef __ARM_FEATURE_CLZ
    return (uint32_t)__builtin_clz(x);
#else
    uint32_t count = 0u;
    for (; x < UINT32_C(0x80000000); x <<= 1) {
        ++count;
    }
    return count;
#endif
}

/* The row's `in` and what all rows share is set; the rest follows from them. */
CQ_SELDOM static void cq_softmax_open(struct cq_softmax_row *row)
{
    uint32_t sum = 0u; /* Q12.19; 1 at least, the share of the largest value itself */
    row->largest = cq_softmax_largest(row->in, row->depth);
    for (int32_t i = 0; i < row->depth; ++i) {
        const int32_t difference = row->in[i] - row->largest;
        if (difference >= row->diff_min) {
            sum += cq_softmax_round(cq_softmax_exp(row, difference), 12u);
        }
    }
    /* sum = (1 + fraction) * 2^(12 - zeros) */
    row->zeros = cq_leading_zeros(sum);
    row->reciprocal =
        cq_reciprocal_of_one_plus((int32_t)((sum << row->zeros) - UINT32_C(0x80000000)));
}

/* Probability of one value in steps of 2^-bits, from 0 to 2^bits. */
static int32_t cq_softmax_probability(const struct cq_softmax_row *row, int32_t i, uint32_t bits)
{
    const uint32_t shift = 12u + 31u - bits - row->zeros;
    const int32_t difference = row->in[i] - row->largest;
    if (difference < row->diff_min || shift > 31u) { /* beyond, all of them round to 0 */
        return 0;
    }
    return (int32_t)cq_softmax_round(
        cq_rounding_doubling_high_mul_by(row->reciprocal, cq_softmax_exp(row, difference)), shift);
}

#endif
