/* SPDX-License-Identifier: Apache-2.0 */
/* Depthwise convolution with Helium: 16 channels are the lanes of one vector. */
#include <codeq/dwconv2d.h>

#include "../mve.h"

#ifdef CQ_HAS_MVE

#include "../decode/dense.h"
#include "../decode/ternary.h"
#include "sixteen_mve.h"
#include "strip_mve.h"

/* One row of outputs of a segment. */
struct cq_run {
    int32_t vectors;
    int32_t x_step;    /* in the strip, from one vector to the next */
    int32_t lanes;     /* that the first vector stores; all from 16 on */
    int32_t lane_step; /* by which they get fewer */
    int32_t out_step;
    int8_t *out;
};

CQ_INLINE void cq_run_3x3(const struct cq_sixteen *sixteen, const int8_t *const row[3],
                          int32_t column, const struct cq_run *run, int rounds_up)
{
    const int32_t x_step = run->x_step;
    const int32_t lane_step = run->lane_step;
    const int32_t out_step = run->out_step;
    const int8_t *x0 = row[0];
    const int8_t *x1 = row[1];
    const int8_t *x2 = row[2];
    int32_t lanes = run->lanes;
    int8_t *out = run->out;
    for (int32_t v = run->vectors; v > 0; --v) {
        CQ_KEEP_POINTER(sixteen);
        const struct cq_acc16 acc =
            cq_taps_3x3(cq_start16(sixteen), x0, x1, x2, column, sixteen->weights);
        cq_finish16(acc, sixteen, rounds_up, out, lanes);
        x0 += x_step;
        x1 += x_step;
        x2 += x_step;
        lanes -= lane_step;
        out += out_step;
    }
}

CQ_FAST_CODE CQ_NO_INLINE void cq_run_3x3_rounding_up(const struct cq_sixteen *sixteen,
                                                      const int8_t *const row[3], int32_t column,
                                                      const struct cq_run *run)
{
    cq_run_3x3(sixteen, row, column, run, 1);
}

CQ_FAST_CODE CQ_NO_INLINE void cq_run_3x3_any(const struct cq_sixteen *sixteen,
                                              const int8_t *const row[3], int32_t column,
                                              const struct cq_run *run)
{
    cq_run_3x3(sixteen, row, column, run, 0);
}

/* Any kernel with any weights; `top` is the window's first row in the ring. */
CQ_FAST_CODE static void cq_run_any(const struct cq_dwconv2d_params *params,
                                    const struct cq_sixteen *sixteen, const struct cq_strip *strip,
                                    int32_t top, const struct cq_run *run)
{
    const int32_t column = params->dilation.w * strip->pixel;
    for (int32_t v = 0; v < run->vectors; ++v) {
        const int8_t *weight = sixteen->weights;
        struct cq_acc16 acc = cq_start16(sixteen);
        for (int32_t ky = 0; ky < params->kernel.h; ++ky) {
            const int8_t *x = cq_strip_row(strip, top + ky * params->dilation.h) + v * run->x_step;
            for (int32_t kx = 0; kx < params->kernel.w; ++kx) {
                acc = cq_add16(acc, x, weight);
                x += column;
                weight += CQ_LANES;
            }
        }
        cq_finish16(acc, sixteen, 0, run->out + v * run->out_step, run->lanes - v * run->lane_step);
    }
}

/* All rows of one segment, from output column `ox` on, for one block of channels. */
static void cq_dwconv2d_segment(const struct cq_dwconv2d_params *params,
                                const struct cq_sixteen *sixteen, struct cq_strip *strip,
                                const int8_t *in, struct cq_run run)
{
    const int32_t column = params->dilation.w * strip->pixel;
    const int is_3x3 = params->kernel.h == 3 && params->kernel.w == 3 && sixteen->pairs_fit;
    strip->filled = 0;
    for (int32_t oy = 0; oy < params->out.h; ++oy) {
        const int32_t top = oy * params->stride.h;
        cq_fill_strip(params, strip, in, top);
        if (is_3x3) {
            const int8_t *const row[3] = {cq_strip_row(strip, top),
                                          cq_strip_row(strip, top + params->dilation.h),
                                          cq_strip_row(strip, top + 2 * params->dilation.h)};
            if (sixteen->rounds_up) {
                cq_run_3x3_rounding_up(sixteen, row, column, &run);
            } else {
                cq_run_3x3_any(sixteen, row, column, &run);
            }
        } else {
            cq_run_any(params, sixteen, strip, top, &run);
        }
        run.out += params->out.w * params->out.c;
    }
}

/* Up to 16 channels from `first` on, whose rows of weights come next. */
static void cq_dwconv2d_block(const struct cq_dwconv2d_params *params,
                              const struct cq_sixteen *sixteen, struct cq_strip *strip,
                              const int8_t *in, int8_t *out)
{
    const int32_t at_once = sixteen->pixels;
    const int32_t longest = cq_strip_outputs(params);
    for (int32_t ox = 0; ox < params->out.w; ox += longest) {
        const int32_t outputs = cq_limit(params->out.w - ox, 1, longest);
        struct cq_run run;
        run.vectors = (outputs + at_once - 1) / at_once;
        run.x_step = at_once * params->stride.w * strip->pixel;
        run.lanes = at_once > 1 ? outputs * strip->pixel : sixteen->channels;
        run.lane_step = at_once > 1 ? CQ_LANES : 0;
        run.out_step = at_once * params->out.c;
        run.out = out + ox * params->out.c;
        strip->first_column = ox * params->stride.w;
        strip->columns =
            (outputs - 1) * params->stride.w + cq_reach(params->kernel.w, params->dilation.w);
        cq_dwconv2d_segment(params, sixteen, strip, in, run);
    }
}

static enum cq_status cq_dwconv2d_mve(const struct cq_decoder *decoder, uint32_t bits,
                                      const struct cq_dwconv2d_params *params, const int8_t *in,
                                      int8_t *out, void *scratch)
{
    const int32_t taps = params->kernel.h * params->kernel.w;
    int8_t *const weights = scratch;
    struct cq_strip strip = cq_strip_of(params, weights + CQ_LANES * taps);
    struct cq_cursor cursor;
    decoder->init(&cursor, &params->weights, bits, params->out.c * taps);
    for (int32_t first = 0; first < params->out.c; first += CQ_LANES) {
        struct cq_sixteen sixteen;
        sixteen.weights = weights;
        sixteen.channels = cq_limit(params->out.c - first, 1, CQ_LANES);
        sixteen.pixels = CQ_LANES / strip.pixel;
        /* the strip is empty yet: there is room for as many weights as inputs */
        cq_load_sixteen(&sixteen, &params->requant, first, decoder, &cursor, taps, strip.rows);
        strip.first_channel = first;
        cq_dwconv2d_block(params, &sixteen, &strip, in, out + first);
    }
    return CQ_OK;
}

#define CQ_DWCONV2D_MVE(width, packing)                                                            \
    enum cq_status cq_dwconv2d_s8_w##width##_##packing##_mve(                                      \
        const struct cq_dwconv2d_params *params, const int8_t *in, int8_t *out, void *scratch)     \
    {                                                                                              \
        return cq_dwconv2d_mve(&cq_##packing, width, params, in, out, scratch);                    \
    }

CQ_DWCONV2D_MVE(1, dense)
CQ_DWCONV2D_MVE(2, dense)
CQ_DWCONV2D_MVE(3, dense)
CQ_DWCONV2D_MVE(4, dense)
CQ_DWCONV2D_MVE(5, dense)
CQ_DWCONV2D_MVE(6, dense)
CQ_DWCONV2D_MVE(7, dense)
CQ_DWCONV2D_MVE(8, dense)
CQ_DWCONV2D_MVE(2, ternary)

#endif
