/* SPDX-License-Identifier: Apache-2.0 */
/* Convolution as gathering and multiplying: the loop nest of every conv2d kernel. */
#ifndef CODEQ_SRC_CONV2D_BODY_H
#define CODEQ_SRC_CONV2D_BODY_H

#include <codeq/conv2d.h>

#include "../bytes.h"
#include "../conv2d_1x1/body.h"
#include "../product.h"

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
    for (int32_t ky = 0; ky < params->kernel.h; ++ky, y += params->dilation.h) {
        if (y >= 0 && y < params->in.h) {
            const int8_t *const in_row = in_group + y * params->in.w * params->in.c;
            to = cq_conv2d_gather_row(params, in_row, x, channels, to);
        } else {
            to = cq_fill(to, params->in_zero, params->kernel.w * channels);
        }
    }
}

/* Any convolution: group by group, tile by tile; the patches of a tile lie in front of the chunk.
 */
static enum cq_status cq_conv2d(const struct cq_engine *engine, uint32_t bits,
                                const struct cq_conv2d_params *params, const int8_t *in,
                                int8_t *out, void *scratch)
{
    if (cq_conv2d_is_1x1(params)) {
        return cq_conv2d_1x1(engine, bits, params, in, out, scratch);
    }
    const int32_t pixels = params->out.h * params->out.w;
    const int32_t in_channels = params->in.c / params->groups;
    const int32_t out_channels = params->out.c / params->groups;
    const int32_t length = params->kernel.h * params->kernel.w * in_channels;
    int8_t *const patches = scratch;
    int8_t *const chunk = patches + (params->tile * length + 3) / 4 * 4;
    struct cq_tile tile = {patches, length, params->tile, length, out, params->out.c};
    struct cq_cursor group_start;
    struct cq_cursor cursor;
    CQ_ASSERT(params->tile >= 1 && params->tile <= CQ_MAX_TILE);
    engine->decoder->init(&group_start, &params->weights, bits, params->out.c * length);
    for (int32_t group = 0; group < params->groups; ++group) {
        const int32_t first_channel = group * out_channels;
        for (int32_t pixel = 0; pixel < pixels; pixel += params->tile) {
            tile.vectors = cq_limit(pixels - pixel, 1, params->tile);
            for (int32_t v = 0; v < tile.vectors; ++v) {
                cq_conv2d_gather(params, in + group * in_channels, pixel + v, in_channels,
                                 patches + v * length);
            }
            cursor = group_start;
            tile.out = out + pixel * params->out.c + first_channel;
            cq_tile_product(engine, &cursor, &tile, &params->requant, first_channel, out_channels,
                            chunk);
        }
        group_start = cursor; /* where the last tile ended, the next group's rows begin */
    }
    return CQ_OK;
}

#endif
