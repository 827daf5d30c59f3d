/* SPDX-License-Identifier: Apache-2.0 */
/* The input rows that an output row needs, padding included. */
#ifndef CODEQ_SRC_DWCONV2D_STRIP_MVE_H
#define CODEQ_SRC_DWCONV2D_STRIP_MVE_H

#include <codeq/dwconv2d.h>

#include "../mve.h"
#include "../numerics.h"
#include "sixteen_mve.h"

/* Bytes of a strip, where one window is not more. */
#define CQ_STRIP 3072

/*
 * Rows are copied once, into a ring of as many as a window spans, for 16 channels: every window is
 * inside then, and its taps are at constant distances.  Images too wide for the strip are cut into
 * segments.  Where a vector holds several pixels, pixels are as wide as the channels, else 16
 * bytes.
 */
struct cq_strip {
    int8_t *rows;
    int32_t row_bytes;
    int32_t row_count;
    int32_t pixel;   /* bytes */
    int32_t columns; /* of the padded image that it holds, from first_column on */
    int32_t first_column;
    int32_t first_channel; /* of the output */
    int32_t filled;        /* rows of the padded image that have been copied */
};

/* Pixels that a window spans along one axis. */
static inline int32_t cq_reach(int32_t kernel, int32_t dilation)
{
    return (kernel - 1) * dilation + 1;
}

/* Several pixels fit one vector where their channels do, and windows are one pixel apart. */
static inline int32_t cq_strip_pixel(const struct cq_dwconv2d_params *params)
{
    const int32_t channels = params->out.c;
    const int is_narrow = channels < CQ_LANES && CQ_LANES % channels == 0;
    return is_narrow && params->stride.w == 1 ? channels : CQ_LANES;
}

/* Output columns of a segment. */
static int32_t cq_strip_outputs(const struct cq_dwconv2d_params *params)
{
    const int32_t reach_h = cq_reach(params->kernel.h, params->dilation.h);
    const int32_t reach_w = cq_reach(params->kernel.w, params->dilation.w);
    const int32_t columns = (CQ_STRIP / reach_h - CQ_LANES) / cq_strip_pixel(params);
    return columns < reach_w
               ? 1
               : cq_limit((columns - reach_w) / params->stride.w + 1, 1, params->out.w);
}

static struct cq_strip cq_strip_of(const struct cq_dwconv2d_params *params, int8_t *rows)
{
    const int32_t columns = (cq_strip_outputs(params) - 1) * params->stride.w +
                            cq_reach(params->kernel.w, params->dilation.w);
    struct cq_strip strip;
    strip.rows = rows;
    strip.pixel = cq_strip_pixel(params);
    strip.row_count = cq_reach(params->kernel.h, params->dilation.h);
    strip.row_bytes = columns * strip.pixel + CQ_LANES; /* the last vector may be half used */
    strip.columns = columns;
    strip.first_column = strip.first_channel = strip.filled = 0;
    return strip;
}

/** @brief Where row `y` of the padded image is. */
static inline int8_t *cq_strip_row(const struct cq_strip *strip, int32_t y)
{
    return strip->rows + y % strip->row_count * strip->row_bytes;
}

/* `count` pixels from `x` on into the strip, from input channels first / m on. */
static int8_t *cq_strip_pixels(const struct cq_dwconv2d_params *params,
                               const struct cq_strip *strip, const int8_t *x, int32_t count,
                               int8_t *to)
{
    const int32_t first = strip->first_channel;
    const int32_t in_channels = params->in.c;
    const int32_t multiplier = params->out.c / in_channels;
    const mve_pred16_t lanes = cq_first_lanes(params->out.c - first);
    if (multiplier == 1 && in_channels == strip->pixel) {
        return cq_copy_lanes(to, x, count * strip->pixel);
    }
    if (multiplier == 1) {
        for (x += first; count > 0; --count, x += in_channels, to += CQ_LANES) {
            vstrbq_s8(to, vldrbq_z_s8(x, lanes));
        }
        return to;
    }
    uint8_t channel[CQ_LANES];
    for (int32_t lane = 0; lane < CQ_LANES; ++lane) {
        channel[lane] = (uint8_t)((first % multiplier + lane) / multiplier);
    }
    const uint8x16_t channels = vldrbq_u8(channel);
    const mve_pred16_t stored = cq_first_lanes(strip->pixel);
    for (x += first / multiplier; count > 0; --count, x += in_channels, to += strip->pixel) {
        vstrbq_p_s8(to, vldrbq_gather_offset_z_s8(x, channels, lanes), stored);
    }
    return to;
}

/** @brief Copy the rows that the window at row `top` of the padded image needs and lacks. */
static void cq_fill_strip(const struct cq_dwconv2d_params *params, struct cq_strip *strip,
                          const int8_t *in, int32_t top)
{
    const int32_t before = params->pad.w - strip->first_column;
    const int32_t left = cq_limit(before, 0, strip->columns);
    const int32_t right =
        cq_limit(strip->columns - before - params->in.w, 0, strip->columns - left);
    const int32_t inside = strip->columns - left - right;
    for (int32_t row = strip->filled > top ? strip->filled : top; row < top + strip->row_count;
         ++row) {
        const int32_t y = row - params->pad.h;
        int8_t *to = cq_strip_row(strip, row);
        if (y < 0 || y >= params->in.h) {
            cq_fill_lanes(to, params->in_zero, strip->columns * strip->pixel);
            continue;
        }
        to = cq_fill_lanes(to, params->in_zero, left * strip->pixel);
        if (inside > 0) {
            to = cq_strip_pixels(
                params, strip, in + (y * params->in.w + left - before) * params->in.c, inside, to);
        }
        cq_fill_lanes(to, params->in_zero, right * strip->pixel);
    }
    strip->filled = top + strip->row_count;
}

#endif
