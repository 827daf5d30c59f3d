/* SPDX-License-Identifier: Apache-2.0 */
/* Average pooling of any channels, with which every kernel can do. */
#ifndef CODEQ_SRC_AVGPOOL2D_BODY_H
#define CODEQ_SRC_AVGPOOL2D_BODY_H

#include <codeq/avgpool2d.h>

#include "../numerics.h"
#include "../pool.h"

/* Counts below have a reciprocal. */
#define CQ_RECIPROCAL_END 2048

/** @brief The next number above 2^30 / count. */
static inline int32_t cq_reciprocal(int32_t count)
{
    return (INT32_C(1) << 30) / count + 1;
}

/**
 * @brief sum / count to nearest, ties away from zero, for |sum| <= 128 * count. [avgpool2d-C1]
 *
 * As 4 * sum * reciprocal / 2^32, half up.  What the reciprocal is too large moves a tie over its
 * half, away from zero, and nothing else: by less than 1 / (2 * count), as count^2 < 2^22.
 */
static inline int32_t cq_mean_of(int32_t sum, int32_t reciprocal)
{
    return cq_rounding_doubling_high_mul_by(2 * sum, reciprocal);
}

static inline int32_t cq_avgpool2d_sum(const struct cq_pool_run *run, const int8_t *row)
{
    int32_t sum = 0;
    for (int32_t rows = run->rows; rows > 0; --rows, row += run->row_step) {
        const int8_t *tap = row;
        for (int32_t columns = run->columns; columns > 0; --columns, tap += run->pixel) {
            sum += *tap;
        }
    }
    return sum;
}

/* Windows of any size.  C rounds a quotient toward zero [N2.7], which half prepares. */
CQ_FAST_CODE CQ_HOT_LOOP static void cq_avgpool2d_each(const struct cq_pool_run *source, int32_t c,
                                                       int32_t end)
{
    const struct cq_pool_run run = *source; /* stores of int8 do not alias a copy */
    const int32_t count = run.rows * run.columns;
    const int32_t half = count / 2;
    CQ_ASSERT(count > 0);
    const int32_t reciprocal = cq_reciprocal(count);
    for (; c < end; ++c) {
        const int8_t *in = run.in + c;
        int8_t *out = run.out + c;
        for (int32_t i = 0; i < run.windows; ++i, in += run.step, out += run.channels) {
            const int32_t sum = cq_avgpool2d_sum(&run, in);
            *out = (int8_t)(count < CQ_RECIPROCAL_END ? cq_mean_of(sum, reciprocal)
                                                      : (sum + (sum > 0 ? half : -half)) / count);
        }
    }
}

static CQ_INLINE void cq_avgpool2d_any(const struct cq_avgpool2d_params *params, const int8_t *in,
                                       int8_t *out, cq_pool_eight_fn *eight)
{
    const struct cq_shape size = params->in;
    const struct cq_pool_axis y = {
        size.h, params->out.h, params->kernel.h, params->stride.h,
        1,      params->pad.h, size.w * size.c,
    };
    const struct cq_pool_axis x = {
        size.w, params->out.w, params->kernel.w, params->stride.w, 1, params->pad.w, size.c,
    };
    cq_pool_windows(&y, &x, size.c, in, out, cq_avgpool2d_each, eight);
}

#endif
