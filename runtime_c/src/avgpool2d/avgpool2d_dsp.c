/* SPDX-License-Identifier: Apache-2.0 */
/* Average pooling, eight channels at a time, with a product in place of a division. */
#include "../requant_dsp.h"
#include "body.h"

#define CQ_LANE_PIXELS 256 /* int8 values whose sum is an int16, whatever they are */

/* 128 + cq_mean_of(). */
static inline uint32_t cq_avgpool2d_mean(int32_t sum, int32_t reciprocal)
{
    return (uint32_t)cq_smmlar(sum * 4, reciprocal, 128);
}

/* Means of four channels, whose sums are lanes. */
static inline uint32_t cq_avgpool2d_means(uint32_t even, uint32_t odd, int32_t reciprocal)
{
    const uint32_t y0 = cq_avgpool2d_mean((int16_t)(uint16_t)even, reciprocal);
    const uint32_t y1 = cq_avgpool2d_mean((int16_t)(uint16_t)odd, reciprocal);
    const uint32_t y2 = cq_avgpool2d_mean((int16_t)(uint16_t)(even >> 16), reciprocal);
    const uint32_t y3 = cq_avgpool2d_mean((int16_t)(uint16_t)(odd >> 16), reciprocal);
    return (cq_pkhbt(y0, y2) | cq_pkhbt(y1, y3) << 8) ^ UINT32_C(0x80808080);
}

/* 8 instructions for a tap, 57 for a window (Cortex-M4, gcc 12). */
CQ_FAST_CODE CQ_HOT_LOOP static void cq_avgpool2d_eight(const struct cq_pool_run *source, int32_t c,
                                                        int32_t second)
{
    const struct cq_pool_run run = *source; /* stores of int8 do not alias a copy */
    const int32_t count = run.rows * run.columns;
    const int8_t *in = run.in + c;
    int8_t *out = run.out + c;
    CQ_ASSERT(count > 0);
    if (count > CQ_LANE_PIXELS) {
        cq_avgpool2d_each(source, c, c + 4);
        cq_avgpool2d_each(source, c + second, c + second + 4);
        return;
    }
    const int32_t reciprocal = cq_reciprocal(count);
    for (int32_t windows = run.windows; windows > 0; --windows) {
        uint32_t even = 0u, odd = 0u, other_even = 0u, other_odd = 0u;
        const int8_t *row = in;
        for (int32_t rows = run.rows; rows > 0; --rows, row += run.row_step) {
            const int8_t *const other_row = row + second;
            int32_t at = (run.columns - 1) * run.pixel;
            do { /* there is at least one */
                const uint32_t four = cq_load4(row + at);
                const uint32_t others = cq_load4(other_row + at);
                even = cq_sxtab16(even, four);
                odd = cq_sxtab16_ror8(odd, four);
                other_even = cq_sxtab16(other_even, others);
                other_odd = cq_sxtab16_ror8(other_odd, others);
                at -= run.pixel;
            } while (at >= 0);
        }
        cq_store4(out, cq_avgpool2d_means(even, odd, reciprocal));
        cq_store4(out + second, cq_avgpool2d_means(other_even, other_odd, reciprocal));
        in += run.step;
        out += run.channels;
    }
}

CQ_SELDOM enum cq_status cq_avgpool2d_s8_dsp(const struct cq_avgpool2d_params *params,
                                             const int8_t *in, int8_t *out, void *scratch)
{
    (void)scratch;
    cq_avgpool2d_any(params, in, out, cq_avgpool2d_eight);
    cq_clamp_dsp(out, params->out.h * params->out.w * params->out.c, params->clamp_min,
                 params->clamp_max);
    return CQ_OK;
}
