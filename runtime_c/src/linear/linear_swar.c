/* SPDX-License-Identifier: Apache-2.0 */
/* linear without SIMD instructions: tiles of rows as pairs, four output features at a time. */
#include <codeq/linear.h>

#include "../product_swar.h"
#include "fields_swar.h"
#include "outputs_swar.h"

/* Four products with weights that are used once: they go into registers and not into the cache. */
static CQ_MERGED int32_t cq_linear_add_four(int32_t sum, const uint32_t *x, struct cq_lanes bytes,
                                            uint32_t signs)
{
    /* the word that both come from is used up last */
    const struct cq_lanes weights = cq_pairs(bytes, signs);
    sum = cq_add_upper(sum, x[1] * weights.odd);
    return cq_add_upper(sum, x[0] * weights.even);
}

static CQ_MERGED int32_t cq_linear_add_words(int32_t sum, const uint32_t *x, const int8_t *weight,
                                             uint32_t signs)
{
    sum = cq_linear_add_four(sum, x, cq_lanes_of_word(cq_load_word(weight)), signs);
    sum = cq_linear_add_four(sum, x + 2, cq_lanes_of_word(cq_load_word(weight + 4)), signs);
    sum = cq_linear_add_four(sum, x + 4, cq_lanes_of_word(cq_load_word(weight + 8)), signs);
    return cq_linear_add_four(sum, x + 6, cq_lanes_of_word(cq_load_word(weight + 12)), signs);
}

/* Minus the sums of products with rows that begin at words and are a multiple of 16 weights: 16 or
 * 32 of them at a time as words, 138 instructions for 32 on Armv6-M. */
CQ_FAST_CODE CQ_ALONE static void cq_linear_sum_words(const uint32_t *first, const int8_t *weight,
                                                      int32_t length, int32_t *sums,
                                                      const int32_t *sums_end)
{
    const uint32_t signs = cq_kept(CQ_PAIR_SIGNS);
    for (; sums != sums_end; ++sums) {
        const int8_t *const end = weight + length;
        const uint32_t *x = first;
        int32_t sum = 0;
        if (length % 32 != 0) {
            sum = cq_linear_add_words(sum, x, weight, signs);
            weight += 16;
            x += 8;
        }
        for (; weight != end; weight += 32, x += 16) {
            sum = cq_linear_add_words(sum, x, weight, signs);
            sum = cq_linear_add_words(sum, x + 8, weight + 16, signs);
        }
        *sums = sum;
    }
}

/* The same from any address, to the last weight. */
CQ_FAST_CODE static int32_t cq_linear_sum_bytes(const uint32_t *x, const int8_t *weight,
                                                int32_t count)
{
    int32_t sum = 0;
    int8_t last[4];
    for (; count >= 4; count -= 4, weight += 4, x += 2) {
        sum = cq_linear_add_four(sum, x, cq_lanes_of_bytes(weight, weight + 2), CQ_PAIR_SIGNS);
    }
    if (count > 0) {
        cq_copy_rest(last, weight, count);
        sum = cq_linear_add_four(sum, x, cq_lanes_of_bytes(last, last + 2), CQ_PAIR_SIGNS);
    }
    return sum;
}

/* Minus the sum of `count` products, the inputs as pairs. */
static inline int32_t cq_linear_sum(const uint32_t *x, const int8_t *weight, int32_t count)
{
    const int32_t words = cq_is_word(weight) ? count / 16 * 16 : 0;
    int32_t sum = 0;
    cq_linear_sum_words(x, weight, words, &sum, &sum + 1);
    if (words != count) {
        sum += cq_linear_sum_bytes(x + words / 2, weight + words, count - words);
    }
    return sum;
}

/* Minus the sum of products with one row. */
static int32_t cq_linear_row(const struct cq_rows *rows, int32_t row, const uint32_t *pairs,
                             int8_t *decoded)
{
    /* bytes that are the weights need no room: the whole row is one piece */
    const int32_t piece = cq_rows_are_bytes(rows) ? rows->length : CQ_CHUNK;
    int32_t sum = 0;
    for (int32_t k = 0; k < rows->length; k += piece) {
        const int32_t count = cq_limit(rows->length - k, 1, piece);
        sum += cq_linear_sum(pairs + k / 2, cq_read_row(rows, row, k, count, decoded), count);
    }
    return sum;
}

/* One vector: every weight meets one input. */
static void cq_linear_vector(const struct cq_rows *rows, const struct cq_linear_params *params,
                             int8_t *out, const uint32_t *pairs, int8_t *decoded)
{
    const int8_t *const weights = (const int8_t *)rows->weights->data;
    const int are_words = cq_rows_are_bytes(rows) && cq_is_word(weights) && rows->length % 16 == 0;
    struct cq_outputs outputs;
    int32_t sums[CQ_LINEAR_BLOCK];
    cq_linear_open(&outputs, &params->requant, params->out_features);
    for (int32_t row = 0; row < params->out_features; row += CQ_LINEAR_BLOCK) {
        const int32_t count = cq_limit(params->out_features - row, 1, CQ_LINEAR_BLOCK);
        if (are_words) {
            cq_linear_sum_words(pairs, weights + row * rows->length, rows->length, sums,
                                sums + count);
        } else {
            for (int32_t i = 0; i < count; ++i) {
                sums[i] = cq_linear_row(rows, row + i, pairs, decoded);
            }
        }
        cq_linear_store(&outputs, &params->requant, row, count, sums, out);
    }
}

/* The same for fields where they stand. */
static void cq_linear_vector_of_fields(const struct cq_rows *rows, const struct cq_fields *fields,
                                       cq_fields_fn *dot, const struct cq_linear_params *params,
                                       const int8_t *in, int8_t *out, uint32_t *x)
{
    const int32_t row_bytes = rows->length * fields->bits / 8;
    const int8_t *row = (const int8_t *)rows->weights->data;
    const int32_t base = cq_fields_widen(fields, in, rows->length, cq_fields_pair, x);
    int8_t *const copy = (int8_t *)(x + cq_fields_words(fields));
    struct cq_outputs outputs;
    int32_t sums[CQ_LINEAR_BLOCK];
    cq_linear_open(&outputs, &params->requant, params->out_features);
    for (int32_t first = 0; first < params->out_features; first += CQ_LINEAR_BLOCK) {
        const int32_t count = cq_limit(params->out_features - first, 1, CQ_LINEAR_BLOCK);
        for (int32_t i = 0; i < count; ++i, row += row_bytes) {
            sums[i] = -base - cq_fields_row(fields, dot, x, rows->length, row, copy);
        }
        cq_linear_store(&outputs, &params->requant, first, count, sums, out);
    }
}

static enum cq_status cq_linear_swar(const struct cq_row_reader *reader, uint32_t bits,
                                     const struct cq_linear_params *params, const int8_t *in,
                                     int8_t *out, void *scratch)
{
    const int32_t length = params->in_features;
    const struct cq_rows rows = {reader, &params->weights, bits, length};
    const int32_t vectors = cq_swar_tile_vectors(length, params->rows);
    uint32_t *const pairs = scratch;
    uint32_t *const room = pairs + vectors * cq_pair_words(length);
    struct cq_swar_tile tile = {pairs, vectors, out, params->out_features};
    for (int32_t row = 0; row < params->rows; row += vectors) {
        tile.vectors = cq_limit(params->rows - row, 1, vectors);
        tile.out = out + row * params->out_features;
        for (int32_t v = 0; v < tile.vectors; ++v) {
            cq_widen_inputs(in + (row + v) * length, length, pairs + v * cq_pair_words(length));
        }
        if (params->rows == 1) {
            cq_linear_vector(&rows, params, out, pairs, (int8_t *)room);
        } else {
            cq_swar_product(&rows, &tile, &params->requant, 0, params->out_features, room);
        }
    }
    return CQ_OK;
}

static enum cq_status cq_linear_fields(uint32_t bits, cq_fields_fn *dot,
                                       const struct cq_linear_params *params, const int8_t *in,
                                       int8_t *out, void *scratch)
{
    const struct cq_rows rows = {&cq_dense_rows, &params->weights, bits, params->in_features};
    struct cq_fields fields;
    if (params->rows > 1 || !cq_fields_open(&fields, &rows)) {
        return cq_linear_swar(&cq_dense_rows, bits, params, in, out, scratch);
    }
    CQ_ASSERT((uint32_t)(params->in_features * params->out_features) * bits <=
              8u * params->weights.bytes);
    /* codes from 0 on */
    fields.offset -= fields.unit * (INT32_C(1) << (bits - 1u));
    cq_linear_vector_of_fields(&rows, &fields, dot, params, in, out, scratch);
    return CQ_OK;
}

#define CQ_LINEAR_SWAR(width, packing)                                                             \
    enum cq_status cq_linear_s8_w##width##_##packing##_swar(                                       \
        const struct cq_linear_params *params, const int8_t *in, int8_t *out, void *scratch)       \
    {                                                                                              \
        return cq_linear_swar(CQ_ROW_READER(width, packing), width, params, in, out, scratch);     \
    }

#define CQ_LINEAR_FIELDS(width)                                                                    \
    CQ_FAST_CODE CQ_ALONE static int32_t cq_fields_dot_w##width(const uint32_t *x, int32_t count,  \
                                                                const int8_t *at)                  \
    {                                                                                              \
        return cq_fields_dot(width, x, count, at);                                                 \
    }                                                                                              \
    enum cq_status cq_linear_s8_w##width##_dense_swar(                                             \
        const struct cq_linear_params *params, const int8_t *in, int8_t *out, void *scratch)       \
    {                                                                                              \
        return cq_linear_fields(width, cq_fields_dot_w##width, params, in, out, scratch);          \
    }

CQ_LINEAR_FIELDS(1)
CQ_LINEAR_FIELDS(2)
CQ_LINEAR_FIELDS(3)
CQ_LINEAR_FIELDS(4)
CQ_LINEAR_FIELDS(5)
CQ_LINEAR_FIELDS(6)
CQ_LINEAR_FIELDS(7)
CQ_LINEAR_SWAR(8, dense)
CQ_LINEAR_SWAR(2, ternary)
