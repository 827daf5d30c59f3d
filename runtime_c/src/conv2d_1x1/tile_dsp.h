/* SPDX-License-Identifier: Apache-2.0 */
/* A tile of pixels, each with its inputs in one piece, times all rows of weights. */
#ifndef CODEQ_SRC_CONV2D_1X1_TILE_DSP_H
#define CODEQ_SRC_CONV2D_1X1_TILE_DSP_H

#include "../attributes.h"
#include "../product_dsp.h"

/*
 * Pieces of as many bytes, one every `to_step` and `from_step`.  Words of a piece overlap where
 * they do not fill it; three are enough for a row of a first layer: 10 instructions (Cortex-M4,
 * gcc 12).
 */
CQ_FAST_CODE CQ_HOT_LOOP static void cq_copy_pieces(int8_t *to, int32_t to_step, const int8_t *from,
                                                    int32_t from_step, int32_t bytes, int32_t count)
{
    const int32_t last = bytes - 4;
    const int32_t second = last < 4 ? last : 4;
    for (; count > 0; --count, to += to_step, from += from_step) {
        if (last < 0) {
            for (int32_t i = 0; i < bytes; ++i) {
                to[i] = from[i];
            }
        } else {
            cq_store4(to, cq_load4(from));
            for (int32_t i = 8; i < last; i += 4) {
                cq_store4(to + i, cq_load4(from + i));
            }
            cq_store4(to + second, cq_load4(from + second));
            cq_store4(to + last, cq_load4(from + last));
        }
    }
}

/* Patches of so many bytes that are gathered at a time. [conv2d-C8] */
static inline int32_t cq_conv2d_patches_of(int32_t bytes, int32_t pixels)
{
    const int32_t fitting = cq_limit(CQ_PATCHES_BYTES / bytes, CQ_MIN_PATCHES, CQ_PATCHES_BYTES);
    return cq_limit(fitting, 1, pixels);
}

/* Rows that are longer than the cache, in pieces; sums wait in between. */
CQ_SELDOM static void cq_conv2d_long_rows(const struct cq_rows *rows, struct cq_span span,
                                          struct cq_quad *quad, int8_t *decoded, uint32_t *cache)
{
    const int8_t *const patches = span.x;
    const int32_t tile = span.count;
    const uint32_t is_short = quad->is_short;
    int8_t *const out = span.out;
    int32_t partial[4 * CQ_MIN_PATCHES];
    CQ_ASSERT(tile <= CQ_MIN_PATCHES);
    span.count = 1;
    for (int32_t first = 0; first < rows->length; first += CQ_ROW_CACHE) {
        const int32_t count = cq_limit(rows->length - first, 1, CQ_ROW_CACHE);
        const int is_last = first + count == rows->length;
        cq_cache_rows(rows, quad->first, quad->channels, first, count, decoded, cache);
        span.steps = cq_steps(count);
        quad->is_short = is_last ? is_short : 0u;
        for (int32_t v = 0; v < tile; ++v) {
            quad->partial = is_last ? NULL : partial + 4 * v;
            span.start = first == 0 ? quad->start : partial + 4 * v;
            span.x = patches + v * span.x_step + first;
            span.out = out + v * span.out_step;
            cq_multiply_span(&span, quad);
        }
    }
}

/* One tile and the channels of one group. */
static void cq_conv2d_tile(const struct cq_rows *rows, struct cq_span *span,
                           const struct cq_requant *requant, int32_t first_channel,
                           int32_t out_channels, int8_t *decoded, uint32_t *cache)
{
    const int32_t channels = cq_limit(out_channels, 1, 4);
    int8_t *const out = span->out;
    struct cq_quad quad;
    quad.requant = NULL;
    for (int32_t channel = 0; channel < out_channels; channel += 4) {
        const int32_t oc = cq_quad_at(channel, out_channels);
        cq_load_quad(&quad, requant, first_channel + oc, channels);
        span->start = quad.start;
        span->out = out + oc;
        if (rows->length > CQ_ROW_CACHE) {
            cq_conv2d_long_rows(rows, *span, &quad, decoded, cache);
        } else {
            cq_cache_rows(rows, quad.first, channels, 0, rows->length, decoded, cache);
            cq_multiply_span(span, &quad);
        }
    }
}

#endif
