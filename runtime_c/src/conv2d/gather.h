/* SPDX-License-Identifier: Apache-2.0 */
/* The inputs of one output pixel, in one piece. */
#ifndef CODEQ_SRC_CONV2D_GATHER_H
#define CODEQ_SRC_CONV2D_GATHER_H

#include <codeq/conv2d.h>

#include "../bytes.h"
#include "../numerics.h"

/* One row of a patch: kernel.w pixels of `channels` values from column x on. */
static int8_t *cq_conv2d_gather_row(const struct cq_conv2d_params *params, const int8_t *in_row,
                                    int32_t x, int32_t channels, int8_t *to)
{
    const int32_t width = params->kernel.w;
    const int32_t pixel = params->in.c;
    if (params->dilation.w == 1 && channels == pixel) {
        /* the pixels are neighbours in memory: padding, one copy, padding */
        const int32_t left = cq_limit(-x, 0, width);
        const int32_t right = cq_limit(x + width - params->in.w, 0, width);
        to = cq_fill(to, params->in_zero, left * pixel);
        if (left + right < width) {
            to = cq_copy(to, in_row + (x + left) * pixel, (width - left - right) * pixel);
        }
        return cq_fill(to, params->in_zero, right * pixel);
    }
    for (int32_t kx = 0; kx < width; ++kx, x += params->dilation.w) {
        if (x >= 0 && x < params->in.w) {
            to = cq_copy(to, in_row + x * pixel, channels);
        } else {
            to = cq_fill(to, params->in_zero, channels);
        }
    }
    return to;
}

/* The inputs of one output pixel in the order of the weights: kh, kw, channel of the group. */
static void cq_conv2d_gather(const struct cq_conv2d_params *params, const int8_t *in_group,
                             int32_t out_pixel, int32_t channels, int8_t *to)
{
    const int32_t x = out_pixel % params->out.w * params->stride.w - params->pad.w;
    int32_t y = out_pixel / params->out.w * params->stride.h - params->pad.h;
    const int32_t last_y = y + (params->kernel.h - 1) * params->dilation.h;
    const int32_t row_step = params->dilation.h * params->in.w * params->in.c;
    const int32_t run = params->kernel.w * channels;
    const int8_t *in_row = in_group + y * params->in.w * params->in.c;
    if (channels == params->in.c && params->dilation.w == 1 && x >= 0 &&
        x + params->kernel.w <= params->in.w && y >= 0 && last_y < params->in.h) {
        for (int32_t ky = params->kernel.h; ky > 0; --ky, in_row += row_step) {
            to = cq_copy(to, in_row + x * channels, run);
        }
        return;
    }
    for (; y <= last_y; y += params->dilation.h, in_row += row_step) {
        if (y >= 0 && y < params->in.h) {
            to = cq_conv2d_gather_row(params, in_row, x, channels, to);
        } else {
            to = cq_fill(to, params->in_zero, run);
        }
    }
}

#endif
