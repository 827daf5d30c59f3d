/* SPDX-License-Identifier: Apache-2.0 */
/* conv2d without SIMD instructions: tiles of patches as pairs, four output channels at a time. */
#include "../product_swar.h"
#include "gather.h"

/* True where an output pixel's patch is one input pixel. */
static inline int cq_conv2d_is_pointwise(const struct cq_conv2d_params *params)
{
    return params->kernel.h == 1 && params->kernel.w == 1 && params->groups == 1 &&
           params->pad.h == 0 && params->pad.w == 0 &&
           (params->out.h - 1) * params->stride.h < params->in.h &&
           (params->out.w - 1) * params->stride.w < params->in.w;
}

/* The inputs of `count` output pixels as pairs; `patch` is room for one in bytes, whole steps. */
static void cq_conv2d_widen(const struct cq_conv2d_params *params, const int8_t *in_group,
                            int32_t channels, int32_t first, int32_t count, int32_t length,
                            uint32_t *pairs, int8_t *patch)
{
    const int is_pointwise = cq_conv2d_is_pointwise(params);
    const int32_t words = cq_pair_words(length);
    if (!is_pointwise) {
        cq_fill(patch + length, 0, 2 * words - length);
    }
    for (int32_t pixel = first; pixel < first + count; ++pixel, pairs += words) {
        if (is_pointwise) {
            const int32_t row = pixel / params->out.w;
            const int32_t at = row * params->stride.h * params->in.w +
                               (pixel - row * params->out.w) * params->stride.w;
            cq_widen_inputs(in_group + at * params->in.c, length, pairs);
        } else {
            cq_conv2d_gather(params, in_group, pixel, channels, patch);
            cq_widen_inputs(patch, 2 * words, pairs);
        }
    }
}

/* Group by group, tile by tile; the patch is gathered where weights are decoded later. */
static enum cq_status cq_conv2d_swar(const struct cq_row_reader *reader, uint32_t bits,
                                     const struct cq_conv2d_params *params, const int8_t *in,
                                     int8_t *out, void *scratch)
{
    const int32_t pixels = params->out.h * params->out.w;
    const int32_t in_channels = params->in.c / params->groups;
    const int32_t out_channels = params->out.c / params->groups;
    const struct cq_rows rows = {reader, &params->weights, bits,
                                 params->kernel.h * params->kernel.w * in_channels};
    const int32_t vectors = cq_swar_tile_vectors(rows.length, pixels);
    uint32_t *const pairs = scratch;
    uint32_t *const room = pairs + vectors * cq_pair_words(rows.length);
    struct cq_swar_tile tile = {pairs, vectors, out, params->out.c};
    for (int32_t group = 0; group < params->groups; ++group) {
        const int32_t first_channel = group * out_channels;
        for (int32_t pixel = 0; pixel < pixels; pixel += vectors) {
            tile.vectors = cq_limit(pixels - pixel, 1, vectors);
            tile.out = out + pixel * params->out.c + first_channel;
            cq_conv2d_widen(params, in + group * in_channels, in_channels, pixel, tile.vectors,
                            rows.length, pairs, (int8_t *)room);
            cq_swar_product(&rows, &tile, &params->requant, first_channel, out_channels, room);
        }
    }
    return CQ_OK;
}

#define CQ_CONV2D_SWAR(width, packing)                                                             \
    enum cq_status cq_conv2d_s8_w##width##_##packing##_swar(                                       \
        const struct cq_conv2d_params *params, const int8_t *in, int8_t *out, void *scratch)       \
    {                                                                                              \
        return cq_conv2d_swar(CQ_ROW_READER(width, packing), width, params, in, out, scratch);     \
    }

CQ_CONV2D_SWAR(1, dense)
CQ_CONV2D_SWAR(2, dense)
CQ_CONV2D_SWAR(3, dense)
CQ_CONV2D_SWAR(4, dense)
CQ_CONV2D_SWAR(5, dense)
CQ_CONV2D_SWAR(6, dense)
CQ_CONV2D_SWAR(7, dense)
CQ_CONV2D_SWAR(8, dense)
CQ_CONV2D_SWAR(2, ternary)

#define CQ_CONV2D_HUFFMAN_SWAR(width)                                                              \
    enum cq_status cq_conv2d_s8_w##width##_huffman_swar(                                           \
        const struct cq_conv2d_params *params, const int8_t *in, int8_t *out, void *scratch)       \
    {                                                                                              \
        struct cq_bookmarks bookmarks;                                                             \
        const struct cq_row_reader reader = cq_huffman_reader(&bookmarks);                         \
        return cq_conv2d_swar(&reader, width, params, in, out, scratch);                           \
    }

CQ_CONV2D_HUFFMAN_SWAR(2)
CQ_CONV2D_HUFFMAN_SWAR(3)
CQ_CONV2D_HUFFMAN_SWAR(4)
CQ_CONV2D_HUFFMAN_SWAR(5)
CQ_CONV2D_HUFFMAN_SWAR(6)
CQ_CONV2D_HUFFMAN_SWAR(7)
CQ_CONV2D_HUFFMAN_SWAR(8)
