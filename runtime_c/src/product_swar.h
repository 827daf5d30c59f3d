/* SPDX-License-Identifier: Apache-2.0 */
/* Vectors times four weight rows, two products a multiplication: the row cache and the inner loop
 * that convolution and linear layers share on cores without SIMD instructions. */
#ifndef CODEQ_SRC_PRODUCT_SWAR_H
#define CODEQ_SRC_PRODUCT_SWAR_H

#include <codeq/types.h>

#include "requant_swar.h"
#include "rows.h"
#include "swar.h"

/* Inputs of a loop step, and the words that hold them as pairs. */
#define CQ_SWAR_STEP       8
#define CQ_SWAR_STEP_WORDS 4

/* Vectors that meet the same rows. */
struct cq_swar_tile {
    const uint32_t *pairs; /* vectors of cq_pair_words(length) words, one after the other */
    int32_t vectors;       /* 1..CQ_SWAR_MAX_TILE */
    int8_t *out;           /* output of the first row for the first vector */
    int32_t out_stride;    /* from one vector's outputs to the next one's */
};

/** @brief Words of a vector as pairs, the last step filled up. */
static inline int32_t cq_pair_words(int32_t length)
{
    return (length + CQ_SWAR_STEP - 1) / CQ_SWAR_STEP * CQ_SWAR_STEP_WORDS;
}

/** @brief As few parts as are not larger than `most`, about equally large: the size of one. */
static int32_t cq_even_part(int32_t whole, int32_t most)
{
    const int32_t parts = (whole + most - 1) / most;
    return (whole + parts - 1) / parts;
}

/** @brief Vectors of a tile: what CQ_SWAR_TILE_BYTES hold, but at least CQ_SWAR_MIN_TILE. */
static int32_t cq_swar_tile_vectors(int32_t length, int32_t vectors)
{
    const int32_t most = CQ_SWAR_TILE_BYTES / (4 * cq_pair_words(length));
    return cq_even_part(vectors, cq_limit(most, CQ_SWAR_MIN_TILE, CQ_SWAR_MAX_TILE));
}

/** @brief Weights of a row that are held as pairs at a time; all of them, or whole steps. */
static int32_t cq_swar_piece(int32_t length)
{
    return length <= CQ_CHUNK ? length : 2 * cq_pair_words(cq_even_part(length, CQ_CHUNK));
}

/* Up to three bytes and zeros. */
static void cq_copy_rest(int8_t rest[4], const int8_t *from, int32_t count)
{
    for (int32_t i = 0; i < 4; ++i) {
        rest[i] = i < count ? from[i] : 0;
    }
}

/* Pairs that are `step` words apart. */
static inline void cq_put_pairs(uint32_t *to, int32_t step, struct cq_lanes bytes, uint32_t signs)
{
    const struct cq_lanes pairs = cq_pairs(bytes, signs);
    to[0] = pairs.even;
    to[step] = pairs.odd;
}

/** @brief `count` inputs as pairs crosswise to the weights, filled up with zeros. */
CQ_FAST_CODE CQ_ALONE static void cq_widen_inputs(const int8_t *x, int32_t count, uint32_t *pairs)
{
    const uint32_t signs = cq_kept(CQ_PAIR_SIGNS);
    const uint32_t *const end = pairs + cq_pair_words(count);
    const uint32_t *const full = pairs + count / 4 * 2;
    int8_t rest[4];
    if (cq_is_word(x)) {
        for (; pairs != full; x += 4, pairs += 2) {
            const uint32_t word = cq_load_word(x);
            cq_put_pairs(pairs, 1, cq_lanes_of_word(word >> 16 | word << 16), signs);
        }
    }
    for (; pairs != full; x += 4, pairs += 2) {
        cq_put_pairs(pairs, 1, cq_lanes_of_bytes(x + 2, x), signs);
    }
    for (count %= 4; pairs != end; pairs += 2, count = 0) {
        cq_copy_rest(rest, x, count);
        cq_put_pairs(pairs, 1, cq_lanes_of_bytes(rest + 2, rest), signs);
    }
}

/* One row into the cache, where words of four rows alternate, filled up with zeros to `end`. */
CQ_FAST_CODE CQ_ALONE static void cq_widen_row(const int8_t *weight, int32_t count, uint32_t *to,
                                               const uint32_t *end)
{
    const uint32_t signs = cq_kept(CQ_PAIR_SIGNS);
    const uint32_t *const full = to + count / 4 * 8;
    int8_t rest[4];
    if (cq_is_word(weight)) {
        for (; to != full; weight += 4, to += 8) {
            cq_put_pairs(to, 4, cq_lanes_of_word(cq_load_word(weight)), signs);
        }
    }
    for (; to != full; weight += 4, to += 8) {
        cq_put_pairs(to, 4, cq_lanes_of_bytes(weight, weight + 2), signs);
    }
    for (count %= 4; to < end; to += 8, count = 0) {
        cq_copy_rest(rest, weight, count);
        cq_put_pairs(to, 4, cq_lanes_of_bytes(rest, rest + 2), signs);
    }
}

/* Fill the cache with weights first..first + count - 1 of `channels` rows from `row` on; of the
 * other rows, up to four, with zeros. */
static void cq_cache_pairs(const struct cq_rows *rows, int32_t row, int32_t channels, int32_t first,
                           int32_t count, int8_t *decoded, uint32_t *cache)
{
    const uint32_t *const end = cache + 4 * cq_pair_words(count);
    for (int32_t i = 0; i < 4; ++i) {
        if (i < channels) {
            const int8_t *const weight = cq_read_row(rows, row + i, first, count, decoded);
            cq_widen_row(weight, count, cache + i, end);
        } else {
            cq_widen_row(decoded, 0, cache + i, end);
        }
    }
}

/*
 * Four rows and one vector at a time, to the end of the vector's `words`: 17 instructions for 8
 * products and 5 a step of 32, on Armv6-M with gcc 12, which keeps all of it in eight registers.
 * Products come negated (swar.h): what is added to `start` is minus the sum of products.
 */
CQ_FAST_CODE CQ_ALONE static void cq_sum_products(const uint32_t *x, const uint32_t *weight,
                                                  int32_t words, const int32_t *start,
                                                  int32_t *sums)
{
    const uint32_t *const end = x + words;
    int32_t s0 = start[0];
    int32_t s1 = start[1];
    int32_t s2 = start[2];
    int32_t s3 = start[3];
    do {
        const uint32_t x0 = x[0];
        s0 = cq_add_upper(s0, x0 * weight[0]);
        s1 = cq_add_upper(s1, x0 * weight[1]);
        s2 = cq_add_upper(s2, x0 * weight[2]);
        s3 = cq_add_upper(s3, x0 * weight[3]);
        const uint32_t x1 = x[1];
        s0 = cq_add_upper(s0, x1 * weight[4]);
        s1 = cq_add_upper(s1, x1 * weight[5]);
        s2 = cq_add_upper(s2, x1 * weight[6]);
        s3 = cq_add_upper(s3, x1 * weight[7]);
        const uint32_t x2 = x[2];
        s0 = cq_add_upper(s0, x2 * weight[8]);
        s1 = cq_add_upper(s1, x2 * weight[9]);
        s2 = cq_add_upper(s2, x2 * weight[10]);
        s3 = cq_add_upper(s3, x2 * weight[11]);
        const uint32_t x3 = x[3];
        s0 = cq_add_upper(s0, x3 * weight[12]);
        s1 = cq_add_upper(s1, x3 * weight[13]);
        s2 = cq_add_upper(s2, x3 * weight[14]);
        s3 = cq_add_upper(s3, x3 * weight[15]);
        x += CQ_SWAR_STEP_WORDS;
        weight += 4 * CQ_SWAR_STEP_WORDS;
    } while (x != end);
    sums[0] = s0;
    sums[1] = s1;
    sums[2] = s2;
    sums[3] = s3;
}

/**
 * @brief Multiply one tile with `channels` weight rows from `first_channel` on.
 *
 * Four rows at a time, in pieces of at most CQ_CHUNK weights.
 *
 * @param scratch  the cache, four rows of one piece as pairs; four sums a vector; the decoded
 *                 weights of a piece of one row, where they are not used as they lie in flash
 */
static void cq_swar_product(const struct cq_rows *rows, const struct cq_swar_tile *tile,
                            const struct cq_requant *requant, int32_t first_channel,
                            int32_t channels, uint32_t *scratch)
{
    const int32_t words = cq_pair_words(rows->length);
    const int32_t piece = cq_swar_piece(rows->length);
    uint32_t *const cache = scratch;
    int32_t *const sums = (int32_t *)(cache + 4 * cq_pair_words(piece));
    int8_t *const decoded = (int8_t *)(sums + 4 * tile->vectors);
    const int32_t zeros[4] = {0, 0, 0, 0};
    CQ_ASSERT(tile->vectors >= 1 && tile->vectors <= CQ_SWAR_MAX_TILE);
    for (int32_t row = 0; row < channels; row += 4) {
        const int32_t count = cq_limit(channels - row, 1, 4);
        for (int32_t k = 0; k < rows->length; k += piece) {
            const int32_t weights = cq_limit(rows->length - k, 1, piece);
            cq_cache_pairs(rows, first_channel + row, count, k, weights, decoded, cache);
            const uint32_t *x = tile->pairs + k / 2;
            for (int32_t v = 0; v < tile->vectors; ++v, x += words) {
                int32_t *const four = sums + 4 * v;
                cq_sum_products(x, cache, cq_pair_words(weights), k > 0 ? four : zeros, four);
            }
        }
        for (int32_t i = 0; i < count; ++i) {
            struct cq_outputs outputs;
            outputs.channel = cq_load_channel(requant, first_channel + row + i);
            cq_prepare_outputs(&outputs, tile->vectors);
            cq_store_outputs(&outputs, sums + i, 4, tile->vectors, tile->out + row + i,
                             tile->out_stride);
        }
    }
}

#endif
