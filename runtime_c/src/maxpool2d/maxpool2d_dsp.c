/* SPDX-License-Identifier: Apache-2.0 */
/* Maximum pooling, eight channels at a time. */
#include <codeq/maxpool2d.h>

#include "../pool.h"
#include "../requant_dsp.h"

#define CQ_LOWEST_S8X4 UINT32_C(0x80808080) /* four times INT8_MIN */

/* Largest values of twice four channels so far. */
struct cq_largest {
    uint32_t four, others;
};

static inline void cq_maxpool2d_tap(struct cq_largest *largest, const int8_t *tap, int32_t second)
{
    largest->four = cq_max_s8x4(largest->four, cq_load4(tap));
    largest->others = cq_max_s8x4(largest->others, cq_load4(tap + second));
}

/* 6 instructions for a tap of two or three columns, 12 of others (Cortex-M4, gcc 12).
 *
 * @param columns  2 or 3, or 0: as many as the run says
 */
static CQ_INLINE void cq_maxpool2d_run(const struct cq_pool_run *source, int32_t c, int32_t second,
                                       int32_t columns)
{
    const struct cq_pool_run run = *source; /* stores of int8 do not alias a copy */
    const int8_t *in = run.in + c;
    int8_t *out = run.out + c;
    for (int32_t windows = run.windows; windows > 0; --windows) {
        struct cq_largest largest = {CQ_LOWEST_S8X4, CQ_LOWEST_S8X4};
        const int8_t *row = in;
        for (int32_t rows = run.rows; rows > 0; --rows, row += run.row_step) {
            if (columns == 0) {
                for (int32_t at = (run.columns - 1) * run.pixel; at > 0; at -= run.pixel) {
                    cq_maxpool2d_tap(&largest, row + at, second);
                }
            }
            if (columns == 3) {
                cq_maxpool2d_tap(&largest, row + 2 * run.pixel, second);
            }
            if (columns >= 2) {
                cq_maxpool2d_tap(&largest, row + run.pixel, second);
            }
            cq_maxpool2d_tap(&largest, row, second);
        }
        cq_store4(out, largest.four);
        cq_store4(out + second, largest.others);
        in += run.step;
        out += run.channels;
    }
}

CQ_FAST_CODE CQ_NOINLINE static void cq_maxpool2d_eight(const struct cq_pool_run *run, int32_t c,
                                                        int32_t second)
{
    switch (run->columns) {
    case 2:
        cq_maxpool2d_run(run, c, second, 2);
        break;
    case 3:
        cq_maxpool2d_run(run, c, second, 3);
        break;
    default:
        cq_maxpool2d_run(run, c, second, 0);
        break;
    }
}

static int8_t cq_maxpool2d_one(const struct cq_pool_run *run, const int8_t *in)
{
    int8_t largest = INT8_MIN;
    for (int32_t y = 0; y < run->rows; ++y) {
        for (int32_t x = 0; x < run->columns; ++x) {
            const int8_t value = in[y * run->row_step + x * run->pixel];
            largest = value > largest ? value : largest;
        }
    }
    return largest;
}

CQ_SELDOM static void cq_maxpool2d_each(const struct cq_pool_run *run, int32_t c, int32_t end)
{
    for (; c < end; ++c) {
        for (int32_t i = 0; i < run->windows; ++i) {
            run->out[i * run->channels + c] = cq_maxpool2d_one(run, run->in + i * run->step + c);
        }
    }
}

enum cq_status cq_maxpool2d_s8_dsp(const struct cq_maxpool2d_params *params, const int8_t *in,
                                   int8_t *out, void *scratch)
{
    const struct cq_shape size = params->in;
    const struct cq_pool_axis y = {
        size.h,        params->out.h,   params->kernel.h, params->stride.h, params->dilation.h,
        params->pad.h, size.w * size.c,
    };
    const struct cq_pool_axis x = {
        size.w,        params->out.w, params->kernel.w, params->stride.w, params->dilation.w,
        params->pad.w, size.c,
    };
    (void)scratch;
    cq_pool_windows(&y, &x, size.c, in, out, cq_maxpool2d_each, cq_maxpool2d_eight);
    cq_clamp_dsp(out, params->out.h * params->out.w * size.c, params->clamp_min, params->clamp_max);
    return CQ_OK;
}
