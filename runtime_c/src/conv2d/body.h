/* SPDX-License-Identifier: Apache-2.0 */
/* Convolution as gathering and multiplying: the loop nest of every conv2d kernel. */
#ifndef CODEQ_SRC_CONV2D_BODY_H
#define CODEQ_SRC_CONV2D_BODY_H

#include <codeq/conv2d.h>

#include "../conv2d_1x1/body.h"
#include "../product.h"
#include "gather.h"

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
