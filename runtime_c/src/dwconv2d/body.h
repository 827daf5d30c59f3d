/* SPDX-License-Identifier: Apache-2.0 */
/* Depthwise convolution, channel by channel: the loop nest of every dwconv2d kernel. */
#ifndef CODEQ_SRC_DWCONV2D_BODY_H
#define CODEQ_SRC_DWCONV2D_BODY_H

#include <codeq/dwconv2d.h>

#include "../decode/cursor.h"
#include "../requant.h"

/* Sum over a window that lies inside the image; `x` is its first value. */
CQ_FAST_CODE static int32_t cq_dwconv2d_inside(const struct cq_dwconv2d_params *params,
                                               const int8_t *x, const int8_t *weight)
{
    const int32_t row_step = params->dilation.h * params->in.w * params->in.c;
    const int32_t column_step = params->dilation.w * params->in.c;
    int32_t sum = 0;
    for (int32_t ky = 0; ky < params->kernel.h; ++ky) {
        int32_t at = ky * row_step;
        for (int32_t kx = 0; kx < params->kernel.w; ++kx, at += column_step) {
            sum += x[at] * *weight++;
        }
    }
    return sum;
}

/* The same for a window whose first value is at (y, x) and that leaves the image. */
static int32_t cq_dwconv2d_border(const struct cq_dwconv2d_params *params, const int8_t *in,
                                  int32_t y, int32_t x, const int8_t *weight)
{
    int32_t sum = 0;
    for (int32_t ky = 0; ky < params->kernel.h; ++ky, y += params->dilation.h) {
        int32_t column = x;
        for (int32_t kx = 0; kx < params->kernel.w; ++kx, column += params->dilation.w) {
            const int inside = y >= 0 && y < params->in.h && column >= 0 && column < params->in.w;
            const int32_t value =
                inside ? in[(y * params->in.w + column) * params->in.c] : params->in_zero;
            sum += value * *weight++;
        }
    }
    return sum;
}

/* One output channel from one input channel; `in` and `out` point to the first value of each. */
static void cq_dwconv2d_channel(const struct cq_dwconv2d_params *params, const int8_t *in,
                                int8_t *out, const int8_t *weight, struct cq_channel channel)
{
    /* windows that begin in [0, last] lie inside the image */
    const int32_t last_y = params->in.h - 1 - (params->kernel.h - 1) * params->dilation.h;
    const int32_t last_x = params->in.w - 1 - (params->kernel.w - 1) * params->dilation.w;
    int32_t pixel = 0;
    for (int32_t oy = 0; oy < params->out.h; ++oy) {
        const int32_t y = oy * params->stride.h - params->pad.h;
        for (int32_t ox = 0; ox < params->out.w; ++ox, ++pixel) {
            const int32_t x = ox * params->stride.w - params->pad.w;
            int32_t acc = channel.bias;
            if (y >= 0 && y <= last_y && x >= 0 && x <= last_x) {
                const int8_t *const first = in + (y * params->in.w + x) * params->in.c;
                acc += cq_dwconv2d_inside(params, first, weight);
            } else {
                acc += cq_dwconv2d_border(params, in, y, x, weight);
            }
            out[pixel * params->out.c] = cq_requantize_channel(acc, channel);
        }
    }
}

/* A row of weights is decoded once and serves all pixels of its channel. */
static enum cq_status cq_dwconv2d(const struct cq_decoder *decoder, uint32_t bits,
                                  const struct cq_dwconv2d_params *params, const int8_t *in,
                                  int8_t *out, void *scratch)
{
    const int32_t taps = params->kernel.h * params->kernel.w;
    const int32_t multiplier = params->out.c / params->in.c;
    struct cq_cursor cursor;
    decoder->init(&cursor, &params->weights, bits, params->out.c * taps);
    for (int32_t oc = 0; oc < params->out.c; ++oc) {
        const struct cq_channel channel = cq_load_channel(&params->requant, oc);
        const struct cq_chunk row = decoder->next(&cursor, taps, scratch);
        cq_dwconv2d_channel(params, in + oc / multiplier, out + oc, row.data, channel);
    }
    return CQ_OK;
}

#endif
