/* SPDX-License-Identifier: Apache-2.0 */
/* Pointwise convolution with SMLAD: four output channels at a time, from rows that are decoded
 * once.
 */
#include "pointwise.h"
#include "tile_dsp.h"

/*
 * Pixels are read where they are, all in one tile.  They are copied, tile by tile, where `out`
 * takes their place, where they are no whole steps, and where rows do not fit the cache.
 */
CQ_SELDOM static enum cq_status cq_conv2d_1x1_dsp(const struct cq_row_reader *reader, uint32_t bits,
                                                  const struct cq_conv2d_params *params,
                                                  const int8_t *in, int8_t *out, void *scratch)
{
    const int32_t channels = params->in.c;
    const int32_t pixels = params->out.h * params->out.w;
    const struct cq_rows rows = {reader, &params->weights, bits, channels};
    const int is_copied = in == out || channels % CQ_STEP != 0 || channels > CQ_ROW_CACHE;
    const int32_t patch = CQ_STEP * cq_steps(channels);
    const int32_t tile = is_copied ? cq_conv2d_patches_of(patch, pixels) : pixels;
    int8_t *const copy = scratch;
    uint32_t *const cache = (uint32_t *)scratch + (is_copied ? tile * patch / 4 : 0);
    int8_t *const decoded = (int8_t *)(cache + 2 * cq_limit(patch, 0, CQ_ROW_CACHE));
    struct cq_span span = {in, patch, 0, 1, 0, patch / CQ_STEP, cache, 0, NULL, out, params->out.c};
    CQ_ASSERT(cq_conv2d_is_1x1(params));
    for (int32_t pixel = 0; pixel < pixels; pixel += tile) {
        span.count = cq_limit(pixels - pixel, 1, tile);
        span.out = out + pixel * params->out.c;
        if (is_copied) {
            cq_copy_pieces(copy, patch, in + pixel * channels, channels, channels, span.count);
            span.x = copy;
        }
        cq_conv2d_tile(&rows, &span, &params->requant, 0, params->out.c, decoded, cache);
    }
    cq_clamp_dsp(out, pixels * params->out.c, params->requant.clamp_min, params->requant.clamp_max);
    return CQ_OK;
}

#define CQ_CONV2D_1X1_DSP(width, packing)                                                          \
    enum cq_status cq_conv2d_1x1_s8_w##width##_##packing##_dsp(                                    \
        const struct cq_conv2d_params *params, const int8_t *in, int8_t *out, void *scratch)       \
    {                                                                                              \
        return cq_conv2d_1x1_dsp(CQ_ROW_READER(width, packing), width, params, in, out, scratch);  \
    }

CQ_CONV2D_1X1_DSP(1, dense)
CQ_CONV2D_1X1_DSP(2, dense)
CQ_CONV2D_1X1_DSP(3, dense)
CQ_CONV2D_1X1_DSP(4, dense)
CQ_CONV2D_1X1_DSP(5, dense)
CQ_CONV2D_1X1_DSP(6, dense)
CQ_CONV2D_1X1_DSP(7, dense)
CQ_CONV2D_1X1_DSP(8, dense)
CQ_CONV2D_1X1_DSP(2, ternary)

#define CQ_CONV2D_1X1_HUFFMAN_DSP(width)                                                           \
    enum cq_status cq_conv2d_1x1_s8_w##width##_huffman_dsp(                                        \
        const struct cq_conv2d_params *params, const int8_t *in, int8_t *out, void *scratch)       \
    {                                                                                              \
        struct cq_bookmarks bookmarks;                                                             \
        const struct cq_row_reader reader = cq_huffman_reader(&bookmarks);                         \
        return cq_conv2d_1x1_dsp(&reader, width, params, in, out, scratch);                        \
    }

CQ_CONV2D_1X1_HUFFMAN_DSP(2)
CQ_CONV2D_1X1_HUFFMAN_DSP(3)
CQ_CONV2D_1X1_HUFFMAN_DSP(4)
CQ_CONV2D_1X1_HUFFMAN_DSP(5)
CQ_CONV2D_1X1_HUFFMAN_DSP(6)
CQ_CONV2D_1X1_HUFFMAN_DSP(7)
CQ_CONV2D_1X1_HUFFMAN_DSP(8)
