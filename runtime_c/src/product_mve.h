/* SPDX-License-Identifier: Apache-2.0 */
/* Vectors times rows of int8 weights with Helium: the loop nest of convolution and linear. */
#ifndef CODEQ_SRC_PRODUCT_MVE_H
#define CODEQ_SRC_PRODUCT_MVE_H

#include "decode/dense.h"
#include "product.h"
#include "requant_mve.h"

/* Decoded weights that are held at a time, where four rows are not more. */
#define CQ_PANEL 2048

/* Rows 0 and 1 of a pass, which start at bias0 and bias1, against the first three vectors. */
static inline void cq_set_pass(struct cq_dot_pass *pass, const struct cq_tile *tile,
                               const int8_t *row0, const int8_t *row1, int32_t bias0, int32_t bias1)
{
    for (int32_t v = 0; v < 3; ++v) {
        pass->x[v] = tile->x + v * tile->stride;
    }
    pass->count = tile->length;
    pass->start00 = pass->start10 = pass->start20 = bias0;
    pass->start01 = pass->start11 = pass->start21 = bias1;
    pass->row0 = row0;
    pass->row1 = row1;
}

/* All vectors of a tile with four rows that lie one behind the other. */
CQ_INLINE void cq_sweep(const struct cq_tile *tile, const int8_t *rows, const int32_t bias[4],
                        const struct cq_ending *ending, int rounds_up)
{
    const int8_t *const row1 = rows + tile->length;
    const int8_t *const row2 = row1 + tile->length;
    const int8_t *const row3 = row2 + tile->length;
    const int32_t out_stride = tile->out_stride;
    const int8_t *x = tile->x;
    int8_t *out = tile->out;
    int32_t left = tile->vectors;
    if (left >= 3) {
        struct cq_dot_pass pass[2];
        cq_set_pass(&pass[0], tile, rows, row2, bias[0], bias[2]);
        cq_set_pass(&pass[1], tile, row1, row3, bias[1], bias[3]);
        int32x4_t places = vldrwq_s32((const int32_t *)(const void *)&pass[0]);
        const int32x4_t step = vsetq_lane_s32(0, vdupq_n_s32(3 * tile->stride), 3);
        do {
            CQ_KEEP_POINTER(ending);
            const struct cq_sums sum = cq_dot_3x4(pass);
            /* all three before the stores, which might alias the numbers they end with */
            const int32x4_t y0 = cq_end_quad(sum.v0, ending, rounds_up);
            const int32x4_t y1 = cq_end_quad(sum.v1, ending, rounds_up);
            const int32x4_t y2 = cq_end_quad(sum.v2, ending, rounds_up);
            vstrbq_s32(out, y0);
            vstrbq_s32(out + out_stride, y1);
            vstrbq_s32(out + 2 * out_stride, y2);
            out += 3 * out_stride;
            places = vaddq_s32(places, step); /* the next three vectors; the count stays */
            vstrwq_s32((int32_t *)(void *)&pass[0], places);
            vstrwq_s32((int32_t *)(void *)&pass[1], places);
            left -= 3;
        } while (left >= 3);
        x = pass[0].x[0];
    }
    for (; left > 0; --left) {
        const int32x4_t sum = cq_dot_1x4(bias, x, rows, tile->length, tile->length);
        vstrbq_s32(out, cq_end_quad(sum, ending, rounds_up));
        x += tile->stride;
        out += out_stride;
    }
}

CQ_FAST_CODE CQ_NO_INLINE void cq_sweep_rounding_up(const struct cq_tile *tile, const int8_t *rows,
                                                    const int32_t bias[4],
                                                    const struct cq_ending *ending)
{
    cq_sweep(tile, rows, bias, ending, 1);
}

CQ_FAST_CODE CQ_NO_INLINE void cq_sweep_any(const struct cq_tile *tile, const int8_t *rows,
                                            const int32_t bias[4], const struct cq_ending *ending)
{
    cq_sweep(tile, rows, bias, ending, 0);
}

/* Up to four vectors in one turn: here lanes are vectors. */
CQ_FAST_CODE static void cq_accumulate_mve(int32_t *acc, const int8_t *x, int32_t stride,
                                           int32_t vectors, const struct cq_chunk *chunk)
{
    int32_t v = 0;
    for (; v + 4 <= vectors; v += 4) {
        vstrwq_s32(acc + v, cq_dot_1x4(acc + v, chunk->data, x + v * stride, stride, chunk->count));
    }
    for (; v < vectors; ++v) {
        const int32_t start[4] = {acc[v], 0, 0, 0};
        acc[v] = vgetq_lane_s32(cq_dot_1x4(start, chunk->data, x + v * stride, 0, chunk->count), 0);
    }
}

/* One of the rows behind the last four. */
static void cq_sweep_row(const struct cq_tile *tile, const int8_t *row, struct cq_channel channel)
{
    const struct cq_chunk chunk = {row, tile->length};
    for (int32_t v = 0; v < tile->vectors; v += CQ_MAX_TILE) {
        const int32_t vectors = cq_limit(tile->vectors - v, 1, CQ_MAX_TILE);
        int32_t acc[CQ_MAX_TILE];
        for (int32_t i = 0; i < vectors; ++i) {
            acc[i] = channel.bias;
        }
        cq_accumulate_mve(acc, tile->x + v * tile->stride, tile->stride, vectors, &chunk);
        for (int32_t i = 0; i < vectors; ++i) {
            tile->out[(v + i) * tile->out_stride] = cq_requantize_channel(acc[i], channel);
        }
    }
}

/* A tile of one vector: what a sweep prepares would take as long as its products. */
CQ_FAST_CODE CQ_NO_INLINE void cq_multiply_one(const struct cq_tile *tile, const int8_t *rows,
                                               const struct cq_requant *requant,
                                               int32_t first_channel, int32_t fours)
{
    const int32_t length = tile->length;
    const int8_t *const x = tile->x;
    int8_t *out = tile->out;
    struct cq_ending ending;
    cq_set_ending(&ending, requant);
    cq_load_factors(requant, first_channel, &ending.factors);
    for (; fours > 0; --fours) {
        int32_t bias[4];
        CQ_KEEP_POINTER(requant);
        vstrwq_s32(bias, cq_load_biases(requant, first_channel));
        if (requant->per_channel != 0u) {
            cq_load_factors(requant, first_channel, &ending.factors);
        }
        vstrbq_s32(out, cq_end_quad(cq_dot_1x4(bias, x, rows, length, length), &ending, 0));
        first_channel += 4;
        rows += 4 * length;
        out += 4;
    }
}

/** @brief Multiply one tile with `channels` rows of int8 weights that lie one behind the other. */
static void cq_tile_rows(const struct cq_tile *tile, const int8_t *rows,
                         const struct cq_requant *requant, int32_t first_channel, int32_t channels)
{
    const int32_t fours = channels / 4;
    struct cq_tile at = *tile;
    if (tile->vectors == 1 && fours > 0) {
        cq_multiply_one(tile, rows, requant, first_channel, fours);
    } else {
        struct cq_ending ending;
        cq_set_ending(&ending, requant);
        for (int32_t four = 0; four < fours; ++four, at.out += 4) {
            int32_t bias[4];
            vstrwq_s32(bias, cq_load_biases(requant, first_channel + 4 * four));
            cq_load_factors(requant, first_channel + 4 * four, &ending.factors);
            if (cq_rounds_up(requant, ending.factors)) {
                cq_sweep_rounding_up(&at, rows + 4 * four * tile->length, bias, &ending);
            } else {
                cq_sweep_any(&at, rows + 4 * four * tile->length, bias, &ending);
            }
        }
    }
    for (int32_t row = 4 * fours; row < channels; ++row) {
        at.out = tile->out + row;
        cq_sweep_row(&at, rows + row * tile->length, cq_load_channel(requant, first_channel + row));
    }
}

/* Rows of one layer or group that are left in its stream. */
struct cq_weight_rows {
    const struct cq_decoder *decoder;
    struct cq_cursor cursor;
    int32_t length;   /* weights of a row */
    int32_t channel;  /* of the next row */
    int32_t channels; /* that are left */
};

/* Some of them, decoded. */
struct cq_panel {
    const int8_t *rows;
    int32_t channel, channels;
};

/* Bytes that are the weights themselves are used where they lie. */
static inline int cq_lies_decoded(const struct cq_weight_rows *rows)
{
    const struct cq_code_map map = rows->cursor.map;
    return rows->decoder == &cq_dense_bytes && !cq_maps_codes(map);
}

/* True where four rows are too long for the cache, which then takes chunks of a row. */
static inline int cq_needs_chunks(const struct cq_weight_rows *rows)
{
    return rows->length > CQ_PANEL / 2 && !cq_lies_decoded(rows);
}

/** @brief Decode as many rows as the cache holds, by fours and four at least. */
static struct cq_panel cq_next_panel(struct cq_weight_rows *rows, void *cache)
{
    const int32_t fours = cq_limit(CQ_PANEL / rows->length / 4, 1, CQ_PANEL);
    struct cq_panel panel;
    panel.channel = rows->channel;
    panel.channels = rows->channels;
    if (!cq_lies_decoded(rows) && panel.channels > 4 * fours) {
        panel.channels = 4 * fours;
    }
    panel.rows = rows->decoder->next(&rows->cursor, panel.channels * rows->length, cache).data;
    rows->channel += panel.channels;
    rows->channels -= panel.channels;
    return panel;
}

/**
 * @brief Multiply all vectors of a tile of any size with all rows that are left.
 *
 * @param all    its `out` is the output of the first of these rows for the first vector
 * @param rows   none is left afterwards
 * @param cache  cq_panel_bytes() of codeq_compile/ops/base.py
 */
static void cq_product_mve(const struct cq_tile *all, struct cq_weight_rows *rows,
                           const struct cq_requant *requant, void *cache)
{
    struct cq_tile tile = *all;
    if (cq_needs_chunks(rows)) {
        const struct cq_engine engine = {rows->decoder, cq_accumulate_mve};
        const struct cq_cursor first = rows->cursor;
        for (int32_t v = 0; v < all->vectors; v += CQ_MAX_TILE) {
            rows->cursor = first;
            tile.x = all->x + v * all->stride;
            tile.out = all->out + v * all->out_stride;
            tile.vectors = cq_limit(all->vectors - v, 1, CQ_MAX_TILE);
            cq_tile_product(&engine, &rows->cursor, &tile, requant, rows->channel, rows->channels,
                            cache);
        }
        rows->channel += rows->channels;
        rows->channels = 0;
        return;
    }
    while (rows->channels > 0) {
        const struct cq_panel panel = cq_next_panel(rows, cache);
        cq_tile_rows(&tile, panel.rows, requant, panel.channel, panel.channels);
        tile.out += panel.channels;
    }
}

#endif
