/* SPDX-License-Identifier: Apache-2.0 */
/* Fully connected layer with SMLAD: four outputs at a time, from rows where they stand. */
#include <codeq/linear.h>

#include "../quad_dsp.h"
#include "../rows.h"
#include "fields_dsp.h"

struct cq_linear_layer;

/* How the weights of a layer are met: what a vector becomes in scratch, and the products of that
 * with four rows or fewer, which are added to the starts of a quad. */
struct cq_linear_way {
    void (*widen)(struct cq_linear_layer *layer, const int8_t *x);
    void (*multiply)(const struct cq_linear_layer *layer, struct cq_quad *quad);
};

struct cq_linear_layer {
    struct cq_rows rows;
    struct cq_fields fields;
    cq_fields_fn *dot; /* of these */
    uint32_t *x;       /* the vector */
    int8_t *decoded;   /* four chunks */
    int32_t base;      /* what fields add to every sum */
};

/* 16 bits a value, in the order that SXTB16 makes of four bytes. */
static void cq_linear_widen(struct cq_linear_layer *layer, const int8_t *x)
{
    uint32_t *to = layer->x;
    for (int32_t length = layer->rows.length; length > 0; length -= 4, to += 2) {
        const uint32_t word = length >= 4 ? cq_next4(&x) : cq_last_bytes(x, length);
        to[0] = cq_sxtb16(word);
        to[1] = cq_sxtb16_ror8(word);
    }
}

/* Four weights of a row times four values. */
static inline int32_t cq_linear_word(struct cq_pair_of_words x, uint32_t weights, int32_t acc)
{
    return cq_smlad(x.w1, cq_sxtb16_ror8(weights), cq_smlad(x.w0, cq_sxtb16(weights), acc));
}

/* Four values times four rows, which need not be aligned. */
CQ_STEP_OF_LOOP static inline struct cq_sums
cq_linear_step(struct cq_sums sums, const uint32_t **x, const int8_t **row0, const int8_t **row1,
               const int8_t **row2, const int8_t **row3)
{
    const struct cq_pair_of_words values = cq_next_two(x);
    sums.s0 = cq_linear_word(values, cq_next4(row0), sums.s0);
    sums.s1 = cq_linear_word(values, cq_next4(row1), sums.s1);
    sums.s2 = cq_linear_word(values, cq_next4(row2), sums.s2);
    sums.s3 = cq_linear_word(values, cq_next4(row3), sums.s3);
    return sums;
}

/*
 * One vector times four rows, one behind the other: 44 instructions for 32 products (Cortex-M4, gcc
 * 12).  A weight is used once: it is not worth a cache.
 */
CQ_FAST_CODE static void cq_linear_dot(const uint32_t *x, const int8_t *row0, int32_t length,
                                       int32_t *acc)
{
    const uint32_t *const end = x + (uint32_t)length / 8u * 4u;
    const int8_t *row1 = row0 + length;
    const int8_t *row2 = row1 + length;
    const int8_t *row3 = row2 + length;
    struct cq_sums sums = {acc[0], acc[1], acc[2], acc[3]};
    while (x != end) {
        sums = cq_linear_step(sums, &x, &row0, &row1, &row2, &row3);
        sums = cq_linear_step(sums, &x, &row0, &row1, &row2, &row3);
    }
    if ((length & 4) != 0) {
        sums = cq_linear_step(sums, &x, &row0, &row1, &row2, &row3);
    }
    acc[0] = sums.s0;
    acc[1] = sums.s1;
    acc[2] = sums.s2;
    acc[3] = sums.s3;
}

/* The same for one row. */
CQ_SELDOM static void cq_linear_dot1(const uint32_t *x, const int8_t *row, int32_t length,
                                     int32_t *acc)
{
    for (; length >= 4; length -= 4) {
        const struct cq_pair_of_words values = cq_next_two(&x);
        *acc = cq_linear_word(values, cq_next4(&row), *acc);
    }
    if (length != 0) {
        const struct cq_pair_of_words values = {x[0], x[1]};
        *acc = cq_linear_word(values, cq_last_bytes(row, length), *acc);
    }
}

/* The same for the weights of four rows behind their last word. */
CQ_SELDOM static void cq_linear_rest(const uint32_t *x, const int8_t *row, int32_t length,
                                     int32_t *acc)
{
    const int32_t whole = length / 4 * 4;
    for (int32_t i = 0; i < 4; ++i, row += length) {
        cq_linear_dot1(x + whole / 2, row + whole, length - whole, acc + i);
    }
}

static inline void cq_linear_four(const uint32_t *x, const int8_t *rows, int32_t length,
                                  int32_t *acc)
{
    if (length % 4 != 0) {
        cq_linear_rest(x, rows, length, acc);
    }
    cq_linear_dot(x, rows, length, acc);
}

/* The same for rows that are decoded a chunk at a time, or for fewer than four. */
CQ_SELDOM static void cq_linear_decoded(const struct cq_linear_layer *layer, struct cq_quad *quad)
{
    const struct cq_rows *const rows = &layer->rows;
    int8_t *const decoded = layer->decoded;
    for (int32_t first = 0; first < rows->length; first += CQ_CHUNK) {
        const int32_t count = cq_limit(rows->length - first, 1, CQ_CHUNK);
        const uint32_t *const at = layer->x + first / 2;
        for (int32_t i = 0; i < quad->channels; ++i) {
            const int8_t *const row =
                cq_read_row(rows, quad->first + i, first, count, decoded + i * count);
            if (quad->channels < 4) {
                cq_linear_dot1(at, row, count, quad->start + i);
            }
        }
        if (quad->channels == 4) {
            cq_linear_four(at, decoded, count, quad->start);
        }
    }
}

/* The same for four rows of bytes. */
static void cq_linear_bytes(const struct cq_linear_layer *layer, struct cq_quad *quad)
{
    const struct cq_rows *const rows = &layer->rows;
    const int8_t *const row = (const int8_t *)rows->weights->data + quad->first * rows->length;
    cq_linear_four(layer->x, row, rows->length, quad->start);
}

/* Fields as they stand; of fewer than four rows one by one. */
static void cq_linear_fields(const struct cq_linear_layer *layer, struct cq_quad *quad)
{
    const struct cq_fields *const fields = &layer->fields;
    const int32_t row_bytes = (int32_t)((uint32_t)(layer->rows.length * fields->bits) / 8u);
    const int8_t *row = (const int8_t *)layer->rows.weights->data + quad->first * row_bytes;
    if (layer->base != 0) {
        for (int32_t i = 0; i < 4; ++i) {
            quad->start[i] += layer->base;
        }
    }
    if (quad->channels == 4) {
        cq_fields_rows(fields, layer->dot, layer->x, row, row_bytes, quad->start);
        return;
    }
    for (int32_t i = 0; i < quad->channels; ++i, row += row_bytes) {
        int32_t sums[4] = {quad->start[i], 0, 0, 0};
        cq_fields_rows(fields, layer->dot, layer->x, row, 0, sums);
        quad->start[i] = sums[0];
    }
}

static void cq_linear_pair(struct cq_linear_layer *layer, const int8_t *x)
{
    layer->base = cq_fields_widen(&layer->fields, x, layer->rows.length, cq_fields_pair, layer->x);
}

static const struct cq_linear_way cq_linear_by_chunks = {cq_linear_widen, cq_linear_decoded};
static const struct cq_linear_way cq_linear_by_bytes = {cq_linear_widen, cq_linear_bytes};
static const struct cq_linear_way cq_linear_by_fields = {cq_linear_pair, cq_linear_fields};

/* All outputs of the vector in scratch. */
static void cq_linear_vector(const struct cq_linear_layer *layer, const struct cq_linear_way *way,
                             const struct cq_requant *requant, int32_t features, int8_t *out)
{
    const int32_t channels = cq_limit(features, 1, 4);
    const int32_t zero_point = requant->zero_point;
    struct cq_quad quad;
    quad.requant = NULL;
    int32_t first = -4;
    do {
        first = cq_quad_at(first + 4, features);
        cq_load_quad(&quad, requant, first, channels);
        way->multiply(layer, &quad);
        const struct cq_sums sums = {quad.start[0], quad.start[1], quad.start[2], quad.start[3]};
        if (quad.is_short) {
            cq_store_short(sums, quad.factor, zero_point, out + first);
        } else {
            cq_finish_slowly(&quad, sums, out + first);
        }
    } while (first + 4 < features);
}

static enum cq_status cq_linear_dsp(struct cq_linear_layer *layer, const struct cq_linear_way *way,
                                    const struct cq_linear_params *params, const int8_t *in,
                                    int8_t *out, void *scratch)
{
    CQ_ASSERT(layer->rows.reader == &cq_ternary_rows ||
              (uint32_t)(params->in_features * params->out_features) * layer->rows.bits <=
                  8u * params->weights.bytes);
    layer->x = scratch;
    layer->decoded = (int8_t *)(layer->x + (params->in_features + 3) / 4 * 2);
    for (int32_t r = 0; r < params->rows; ++r) {
        way->widen(layer, in + r * params->in_features);
        cq_linear_vector(layer, way, &params->requant, params->out_features,
                         out + r * params->out_features);
    }
    cq_clamp_dsp(out, params->rows * params->out_features, params->requant.clamp_min,
                 params->requant.clamp_max);
    return CQ_OK;
}

#define CQ_LINEAR_FIELDS(width)                                                                    \
    CQ_FAST_CODE static void cq_fields_dot_w##width(const uint32_t *x, uint32_t count,             \
                                                    const int8_t *rows, int32_t row_step,          \
                                                    int32_t unit, int32_t *sums)                   \
    {                                                                                              \
        cq_fields_dot(width, x, count, rows, row_step, unit, sums);                                \
    }                                                                                              \
    enum cq_status cq_linear_s8_w##width##_dense_dsp(const struct cq_linear_params *params,        \
                                                     const int8_t *in, int8_t *out, void *scratch) \
    {                                                                                              \
        struct cq_linear_layer layer = {                                                           \
            .rows = {&cq_dense_rows, &params->weights, width, params->in_features},                \
            .dot = cq_fields_dot_w##width};                                                        \
        const int is_direct = cq_fields_open(&layer.fields, &layer.rows);                          \
        return cq_linear_dsp(&layer, is_direct ? &cq_linear_by_fields : &cq_linear_by_chunks,      \
                             params, in, out, scratch);                                            \
    }

CQ_LINEAR_FIELDS(1)
CQ_LINEAR_FIELDS(2)
CQ_LINEAR_FIELDS(3)
CQ_LINEAR_FIELDS(4)
CQ_LINEAR_FIELDS(5)
CQ_LINEAR_FIELDS(6)
CQ_LINEAR_FIELDS(7)

enum cq_status cq_linear_s8_w8_dense_dsp(const struct cq_linear_params *params, const int8_t *in,
                                         int8_t *out, void *scratch)
{
    struct cq_linear_layer layer; /* fields are not set: that would be a call of memset() */
    layer.rows = (struct cq_rows){&cq_byte_rows, &params->weights, 8u, params->in_features};
    const int are_fours = cq_rows_are_bytes(&layer.rows) && params->out_features >= 4;
    return cq_linear_dsp(&layer, are_fours ? &cq_linear_by_bytes : &cq_linear_by_chunks, params, in,
                         out, scratch);
}

enum cq_status cq_linear_s8_w2_ternary_dsp(const struct cq_linear_params *params, const int8_t *in,
                                           int8_t *out, void *scratch)
{
    struct cq_linear_layer layer = {
        .rows = {&cq_ternary_rows, &params->weights, 2u, params->in_features}};
    return cq_linear_dsp(&layer, &cq_linear_by_chunks, params, in, out, scratch);
}
