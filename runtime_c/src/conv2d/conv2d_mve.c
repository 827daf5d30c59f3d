/* SPDX-License-Identifier: Apache-2.0 */
/* conv2d with Helium: patches of some pixels are gathered and meet all rows. */
#include <codeq/conv2d.h>

#include "../mve.h"

#ifdef CQ_HAS_MVE

#include "../conv2d_1x1/body_mve.h"
#include "../conv2d_1x1/pointwise.h"
#include "../decode/dense.h"
#include "../decode/huffman.h"
#include "../decode/lanes.h"
#include "../decode/filled.h"

/* Bytes of patches that are gathered at a time, where one patch is not more. */
#define CQ_PATCHES 2048

/* One row of a patch that may leave the image: kernel.w pixels of `channels` values from column x
 * on.
 */
static int8_t *cq_gather_row(const struct cq_conv2d_params *params, const int8_t *in_row, int32_t x,
                             int32_t channels, int8_t *to)
{
    const int32_t width = params->kernel.w;
    const int32_t pixel = params->in.c;
    if (params->dilation.w == 1 && channels == pixel) {
        /* the pixels are neighbours in memory: padding, one copy, padding */
        const int32_t left = cq_limit(-x, 0, width);
        const int32_t right = cq_limit(x + width - params->in.w, 0, width - left);
        to = cq_fill_lanes(to, params->in_zero, left * pixel);
        to = cq_copy_lanes(to, in_row + (x + left) * pixel, (width - left - right) * pixel);
        return cq_fill_lanes(to, params->in_zero, right * pixel);
    }
    for (int32_t kx = 0; kx < width; ++kx, x += params->dilation.w) {
        if (x >= 0 && x < params->in.w) {
            to = cq_copy_lanes(to, in_row + x * pixel, channels);
        } else {
            to = cq_fill_lanes(to, params->in_zero, channels);
        }
    }
    return to;
}

/* The inputs of a window whose first pixel is at (y, x), in the order of the weights. */
static int8_t *cq_gather_border(const struct cq_conv2d_params *params, const int8_t *in_group,
                                int32_t y, int32_t x, int32_t channels, int8_t *to)
{
    for (int32_t ky = 0; ky < params->kernel.h; ++ky, y += params->dilation.h) {
        if (y >= 0 && y < params->in.h) {
            to = cq_gather_row(params, in_group + y * params->in.w * params->in.c, x, channels, to);
        } else {
            to = cq_fill_lanes(to, params->in_zero, params->kernel.w * channels);
        }
    }
    return to;
}

/* An output pixel. */
struct cq_pixel {
    int32_t y, x;
};

/* Patches of `count` pixels from `pixel` on; returns the pixel behind them. */
CQ_FAST_CODE static struct cq_pixel cq_gather(const struct cq_conv2d_params *params,
                                              const int8_t *in_group, struct cq_pixel pixel,
                                              int32_t count, int8_t *to)
{
    const int32_t channels = params->in.c / params->groups;
    const int32_t row_bytes = params->kernel.w * channels;
    const int32_t row_step = params->dilation.h * params->in.w * params->in.c;
    /* windows that begin in [0, last] lie inside; their rows are in one piece without dilation */
    const int32_t last_y = params->in.h - 1 - (params->kernel.h - 1) * params->dilation.h;
    const int32_t last_x =
        params->dilation.w == 1 && channels == params->in.c ? params->in.w - params->kernel.w : -1;
    for (; count > 0; --count) {
        const int32_t y = pixel.y * params->stride.h - params->pad.h;
        const int32_t x = pixel.x * params->stride.w - params->pad.w;
        if (y >= 0 && y <= last_y && x >= 0 && x <= last_x) {
            const int8_t *from = in_group + (y * params->in.w + x) * channels;
            for (int32_t rows = params->kernel.h; rows > 0; --rows, from += row_step) {
                to = cq_copy_lanes(to, from, row_bytes);
            }
        } else {
            to = cq_gather_border(params, in_group, y, x, channels, to);
        }
        pixel.x += 1;
        if (pixel.x == params->out.w) {
            pixel.x = 0;
            pixel.y += 1;
        }
    }
    return pixel;
}

/* Pixels whose patches are gathered together: threes where there is room. */
static int32_t cq_tile_pixels(int32_t length)
{
    const int32_t fitting = CQ_PATCHES / length;
    return fitting >= 3 ? fitting / 3 * 3 : cq_limit(fitting, 1, 2);
}

/*
 * One group: panel by panel, tile by tile.  A panel's rows are decoded once and meet every pixel,
 * whose patches are gathered again for each panel; 8-bit rows are one panel.
 */
static void cq_conv2d_group(const struct cq_conv2d_params *params, const int8_t *in_group,
                            int8_t *out, struct cq_weight_rows *rows, int8_t *patches)
{
    const int32_t pixels = params->out.h * params->out.w;
    const int32_t tile_pixels = cq_limit(cq_tile_pixels(rows->length), 1, pixels);
    int8_t *const cache = patches + (tile_pixels * rows->length + 3) / 4 * 4;
    const int in_chunks = cq_needs_chunks(rows);
    struct cq_tile tile = {patches, rows->length, 0, rows->length, out, params->out.c};
    while (rows->channels > 0) {
        struct cq_weight_rows all = *rows;
        const struct cq_panel panel =
            in_chunks ? (struct cq_panel){NULL, 0, 0} : cq_next_panel(rows, cache);
        struct cq_pixel at = {0, 0};
        for (int32_t pixel = 0; pixel < pixels; pixel += tile_pixels) {
            tile.vectors = cq_limit(pixels - pixel, 1, tile_pixels);
            at = cq_gather(params, in_group, at, tile.vectors, patches);
            if (in_chunks) {
                all = *rows;
                tile.out = out + pixel * params->out.c + all.channel;
                cq_product_mve(&tile, &all, &params->requant, cache);
            } else {
                tile.out = out + pixel * params->out.c + panel.channel;
                cq_tile_rows(&tile, panel.rows, &params->requant, panel.channel, panel.channels);
            }
        }
        if (in_chunks) {
            *rows = all;
        }
    }
}

static enum cq_status cq_conv2d_mve(const struct cq_decoder *decoder, uint32_t bits,
                                    const struct cq_conv2d_params *params, const int8_t *in,
                                    int8_t *out, void *scratch)
{
    if (cq_conv2d_is_1x1(params)) {
        return cq_conv2d_1x1_mve(decoder, bits, params, in, out, scratch);
    }
    const int32_t in_channels = params->in.c / params->groups;
    const int32_t out_channels = params->out.c / params->groups;
    struct cq_weight_rows rows = {.decoder = decoder,
                                  .length = params->kernel.h * params->kernel.w * in_channels};
    decoder->init(&rows.cursor, &params->weights, bits, params->out.c * rows.length);
    for (int32_t group = 0; group < params->groups; ++group) {
        rows.channels = out_channels;
        cq_conv2d_group(params, in + group * in_channels, out, &rows, scratch);
    }
    return CQ_OK;
}

#define CQ_CONV2D_MVE(width, packing, decoder)                                                     \
    enum cq_status cq_conv2d_s8_w##width##_##packing##_mve(                                        \
        const struct cq_conv2d_params *params, const int8_t *in, int8_t *out, void *scratch)       \
    {                                                                                              \
        return cq_conv2d_mve(&decoder, width, params, in, out, scratch);                           \
    }

CQ_CONV2D_MVE(1, dense, cq_dense_lanes)
CQ_CONV2D_MVE(2, dense, cq_dense_lanes)
CQ_CONV2D_MVE(3, dense, cq_dense_lanes)
CQ_CONV2D_MVE(4, dense, cq_dense_lanes)
CQ_CONV2D_MVE(5, dense, cq_dense_lanes)
CQ_CONV2D_MVE(6, dense, cq_dense_lanes)
CQ_CONV2D_MVE(7, dense, cq_dense_lanes)
CQ_CONV2D_MVE(8, dense, cq_dense_bytes)
CQ_CONV2D_MVE(2, ternary, cq_ternary_lanes)
CQ_CONV2D_MVE(1, bitmask, cq_bitmask_rows)
CQ_CONV2D_MVE(2, bitmask, cq_bitmask_rows)
CQ_CONV2D_MVE(3, bitmask, cq_bitmask_rows)
CQ_CONV2D_MVE(4, bitmask, cq_bitmask_rows)
CQ_CONV2D_MVE(5, bitmask, cq_bitmask_rows)
CQ_CONV2D_MVE(6, bitmask, cq_bitmask_rows)
CQ_CONV2D_MVE(7, bitmask, cq_bitmask_rows)
CQ_CONV2D_MVE(8, bitmask, cq_bitmask_rows)
CQ_CONV2D_MVE(1, rle, cq_rle_rows)
CQ_CONV2D_MVE(2, rle, cq_rle_rows)
CQ_CONV2D_MVE(3, rle, cq_rle_rows)
CQ_CONV2D_MVE(4, rle, cq_rle_rows)
CQ_CONV2D_MVE(5, rle, cq_rle_rows)
CQ_CONV2D_MVE(6, rle, cq_rle_rows)
CQ_CONV2D_MVE(7, rle, cq_rle_rows)
CQ_CONV2D_MVE(8, rle, cq_rle_rows)
CQ_CONV2D_MVE(2, huffman, cq_huffman)
CQ_CONV2D_MVE(3, huffman, cq_huffman)
CQ_CONV2D_MVE(4, huffman, cq_huffman)
CQ_CONV2D_MVE(5, huffman, cq_huffman)
CQ_CONV2D_MVE(6, huffman, cq_huffman)
CQ_CONV2D_MVE(7, huffman, cq_huffman)
CQ_CONV2D_MVE(8, huffman, cq_huffman)

#endif
