/* SPDX-License-Identifier: Apache-2.0 */
/* dwconv2d with SMLABB and SMLATT: four output channels at a time, for windows of any size. */
#include <codeq/dwconv2d.h>

#include "../attributes.h"
#include "../quad_dsp.h"
#include "../rows.h"
#include "../window.h"

/* Four output channels: what they read, and their weights. */
struct cq_dwconv2d_four {
    const struct cq_dwconv2d_params *params;
    const uint32_t *weights; /* two words a tap: channels 0 and 2, channels 1 and 3 */
    const int8_t *in;        /* first pixel, from the input channel of channel 0 on */
    int32_t at[4];           /* input channels of the four, from there on */
    int is_word;             /* they are neighbours */
};

/* One tap of four channels: 7 instructions (Cortex-M4, gcc 12). */
static inline struct cq_sums cq_dwconv2d_tap(struct cq_sums sums, uint32_t x,
                                             const uint32_t **weights)
{
    const uint32_t even = cq_sxtb16(x);
    const uint32_t odd = cq_sxtb16_ror8(x);
    const struct cq_pair_of_words w = cq_next_two(weights);
    sums.s0 = cq_smlabb(even, w.w0, sums.s0);
    sums.s1 = cq_smlabb(odd, w.w1, sums.s1);
    sums.s2 = cq_smlatt(even, w.w0, sums.s2);
    sums.s3 = cq_smlatt(odd, w.w1, sums.s3);
    return sums;
}

/* `count` taps that meet padding. */
static struct cq_sums cq_dwconv2d_outside(const struct cq_dwconv2d_four *four, struct cq_sums sums,
                                          int32_t count, const uint32_t **weights)
{
    const uint32_t x = (uint8_t)four->params->in_zero * UINT32_C(0x01010101);
    for (; count > 0; --count) {
        sums = cq_dwconv2d_tap(sums, x, weights);
    }
    return sums;
}

/* `count` taps inside the image, the first of them at `x`. */
static inline struct cq_sums cq_dwconv2d_inside(const struct cq_dwconv2d_four *four,
                                                struct cq_sums sums, const int8_t *x, int32_t count,
                                                const uint32_t **weights)
{
    const int32_t step = four->params->dilation.w * four->params->in.c;
    if (four->is_word) {
        for (; count > 0; --count, x += step) {
            sums = cq_dwconv2d_tap(sums, cq_load4(x), weights);
        }
        return sums;
    }
    for (; count > 0; --count, x += step) {
        const int8_t bytes[4] = {x[four->at[0]], x[four->at[1]], x[four->at[2]], x[four->at[3]]};
        sums = cq_dwconv2d_tap(sums, cq_load4(bytes), weights);
    }
    return sums;
}

/* Sums of one window. */
CQ_NOINLINE static struct cq_sums cq_dwconv2d_window(const struct cq_dwconv2d_four *four,
                                                     struct cq_sums sums, struct cq_window rows,
                                                     struct cq_window columns)
{
    const struct cq_dwconv2d_params *const params = four->params;
    const int32_t row = params->dilation.h * params->in.w * params->in.c;
    const int32_t width = params->kernel.w;
    const int32_t inside = columns.end - columns.first;
    const int32_t left = columns.start + columns.first * params->dilation.w;
    const uint32_t *weights = four->weights;
    int32_t at = (rows.start * params->in.w + left) * params->in.c;
    for (int32_t ky = 0; ky < params->kernel.h; ++ky, at += row) {
        if (ky < rows.first || ky >= rows.end) {
            sums = cq_dwconv2d_outside(four, sums, width, &weights);
            continue;
        }
        sums = cq_dwconv2d_outside(four, sums, columns.first, &weights);
        sums = cq_dwconv2d_inside(four, sums, four->in + at, inside, &weights);
        sums = cq_dwconv2d_outside(four, sums, width - columns.end, &weights);
    }
    return sums;
}

static void cq_dwconv2d_store(const struct cq_quad *quad, struct cq_sums sums, int8_t *out)
{
    if (quad->is_short) {
        cq_store_short(sums, quad->factor, quad->requant->zero_point, out);
    } else {
        cq_finish_slowly(quad, sums, out);
    }
}

/* `count` neighbouring outputs of neighbouring channels, whose windows lie inside the image; the
 * first tap of the first window is at `x`. */
CQ_FAST_CODE CQ_NOINLINE static void cq_dwconv2d_run(const struct cq_dwconv2d_four *four,
                                                     const struct cq_quad *quad, const int8_t *x,
                                                     int32_t count, int8_t *out)
{
    const struct cq_dwconv2d_params *const params = four->params;
    const int32_t step = params->dilation.w * params->in.c;
    const int32_t row_words = 2 * params->kernel.w;
    const int32_t row_skip =
        params->dilation.h * params->in.w * params->in.c - params->kernel.w * step;
    const uint32_t *const end = four->weights + params->kernel.h * row_words;
    for (; count > 0; --count, x += params->stride.w * params->in.c, out += params->out.c) {
        struct cq_sums sums = {quad->start[0], quad->start[1], quad->start[2], quad->start[3]};
        const uint32_t *weights = four->weights;
        const int8_t *tap = x;
        do {
            const uint32_t *const row_end = weights + row_words;
            do {
                sums = cq_dwconv2d_tap(sums, cq_load4(tap), &weights);
                tap += step;
            } while (weights != row_end);
            tap += row_skip;
        } while (weights != end);
        cq_dwconv2d_store(quad, sums, out);
    }
}

/* All pixels; `out` is the first one's. */
static void cq_dwconv2d_pixels(const struct cq_dwconv2d_four *four, const struct cq_quad *quad,
                               int8_t *out)
{
    const struct cq_dwconv2d_params *const params = four->params;
    const struct cq_sums start = {quad->start[0], quad->start[1], quad->start[2], quad->start[3]};
    for (int32_t oy = 0; oy < params->out.h; ++oy) {
        const struct cq_window rows =
            cq_window_at(oy, params->stride.h, params->pad.h, params->kernel.h, params->dilation.h,
                         params->in.h);
        const int is_whole = four->is_word && rows.end - rows.first == params->kernel.h;
        for (int32_t ox = 0; ox < params->out.w;) {
            const struct cq_window columns =
                cq_window_at(ox, params->stride.w, params->pad.w, params->kernel.w,
                             params->dilation.w, params->in.w);
            int32_t count = 1;
            if (is_whole && columns.end - columns.first == params->kernel.w) {
                const int32_t pixel = rows.start * params->in.w + columns.start;
                const int32_t reach = (params->kernel.w - 1) * params->dilation.w;
                count += (params->in.w - 1 - reach - columns.start) / params->stride.w;
                count = cq_limit(count, 1, params->out.w - ox);
                cq_dwconv2d_run(four, quad, four->in + pixel * params->in.c, count, out);
            } else {
                cq_dwconv2d_store(quad, cq_dwconv2d_window(four, start, rows, columns), out);
            }
            out += count * params->out.c;
            ox += count;
        }
    }
}

/* Weights of four channels from `first` on, 16 bits each; the last of fewer is repeated. */
static void cq_dwconv2d_widen(const struct cq_rows *rows, int32_t first, int32_t channels,
                              int8_t *decoded, uint32_t *weights)
{
    for (int32_t i = 0; i < 4; ++i) {
        const int32_t row = first + cq_limit(i, 0, channels - 1);
        const int8_t *const from = cq_read_row(rows, row, 0, rows->length, decoded);
        const uint32_t lane = i < 2 ? 0u : 16u;
        uint32_t *to = weights + i % 2;
        for (int32_t tap = 0; tap < rows->length; ++tap, to += 2) {
            const uint32_t weight = (uint32_t)(uint16_t)from[tap] << lane;
            *to = i < 2 ? weight : *to | weight;
        }
    }
}

static enum cq_status cq_dwconv2d_dsp(const struct cq_row_reader *reader, uint32_t bits,
                                      const struct cq_dwconv2d_params *params, const int8_t *in,
                                      int8_t *out, void *scratch)
{
    const int32_t channels = cq_limit(params->out.c, 1, 4);
    const int32_t multiplier = params->out.c / params->in.c;
    const struct cq_rows rows = {reader, &params->weights, bits,
                                 params->kernel.h * params->kernel.w};
    uint32_t *const weights = scratch;
    int8_t *const decoded = (int8_t *)(weights + 2 * rows.length);
    struct cq_dwconv2d_four four = {
        .params = params, .weights = weights, .is_word = multiplier == 1 && channels == 4};
    struct cq_quad quad;
    quad.requant = NULL;
    for (int32_t channel = 0; channel < params->out.c; channel += 4) {
        const int32_t first = cq_quad_at(channel, params->out.c);
        four.in = in + first / multiplier;
        for (int32_t i = 0; i < 4; ++i) {
            const int32_t of = first + cq_limit(i, 0, channels - 1);
            four.at[i] = of / multiplier - first / multiplier;
        }
        cq_load_quad(&quad, &params->requant, first, channels);
        cq_dwconv2d_widen(&rows, first, channels, decoded, weights);
        cq_dwconv2d_pixels(&four, &quad, out + first);
    }
    cq_clamp_dsp(out, params->out.h * params->out.w * params->out.c, params->requant.clamp_min,
                 params->requant.clamp_max);
    return CQ_OK;
}

#define CQ_DWCONV2D_DSP(width, packing)                                                            \
    enum cq_status cq_dwconv2d_s8_w##width##_##packing##_dsp(                                      \
        const struct cq_dwconv2d_params *params, const int8_t *in, int8_t *out, void *scratch)     \
    {                                                                                              \
        return cq_dwconv2d_dsp(CQ_ROW_READER(width, packing), width, params, in, out, scratch);    \
    }

CQ_DWCONV2D_DSP(1, dense)
CQ_DWCONV2D_DSP(2, dense)
CQ_DWCONV2D_DSP(3, dense)
CQ_DWCONV2D_DSP(4, dense)
CQ_DWCONV2D_DSP(5, dense)
CQ_DWCONV2D_DSP(6, dense)
CQ_DWCONV2D_DSP(7, dense)
CQ_DWCONV2D_DSP(8, dense)
CQ_DWCONV2D_DSP(2, ternary)
