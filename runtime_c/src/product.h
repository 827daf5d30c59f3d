/* SPDX-License-Identifier: Apache-2.0 */
/* Vectors times packed weight rows: the loop nest that convolution and linear layers share. */
#ifndef CODEQ_SRC_PRODUCT_H
#define CODEQ_SRC_PRODUCT_H

#include <codeq/types.h>

#include "decode/cursor.h"
#include "requant.h"

/* acc[v] += sum over k of x[v * stride + k] * (weight k of the chunk), v = 0..vectors - 1 */
typedef void cq_accumulate_fn(int32_t *acc, const int8_t *x, int32_t stride, int32_t vectors,
                              const struct cq_chunk *chunk);

/* What a kernel is made of: how its weights are stored, and how a chunk of them is used. */
struct cq_engine {
    const struct cq_decoder *decoder;
    cq_accumulate_fn *accumulate;
};

/* The vectors of one tile. */
struct cq_tile {
    const int8_t *x; /* vectors of `length` values, `stride` apart */
    int32_t stride;
    int32_t vectors; /* 1..CQ_MAX_TILE */
    int32_t length;
    int8_t *out;        /* output of the first channel for the first vector */
    int32_t out_stride; /* from one vector's outputs to the next one's */
};

/**
 * @brief Multiply one tile with `channels` weight rows from the cursor on.
 *
 * Row by row, chunk by chunk: a chunk is decoded once and serves all vectors of the tile, so that
 * the layer's weights exist in RAM only CQ_CHUNK at a time.
 */
static void cq_tile_product(const struct cq_engine *engine, struct cq_cursor *cursor,
                            const struct cq_tile *tile, const struct cq_requant *requant,
                            int32_t first_channel, int32_t channels, void *scratch)
{
    int32_t acc[CQ_MAX_TILE];
    CQ_ASSERT(tile->vectors >= 1 && tile->vectors <= CQ_MAX_TILE);
    for (int32_t row = 0; row < channels; ++row) {
        const struct cq_channel channel = cq_load_channel(requant, first_channel + row);
        for (int32_t v = 0; v < tile->vectors; ++v) {
            acc[v] = channel.bias;
        }
        for (int32_t k = 0; k < tile->length; k += CQ_CHUNK) {
            const int32_t count = cq_limit(tile->length - k, 1, CQ_CHUNK);
            const struct cq_chunk chunk = engine->decoder->next(cursor, count, scratch);
            engine->accumulate(acc, tile->x + k, tile->stride, tile->vectors, &chunk);
        }
        for (int32_t v = 0; v < tile->vectors; ++v) {
            tile->out[v * tile->out_stride + row] = cq_requantize_channel(acc[v], channel);
        }
    }
}

#endif
