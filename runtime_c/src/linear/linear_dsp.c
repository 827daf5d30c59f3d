/* SPDX-License-Identifier: Apache-2.0 */
/* Fully connected layer with SMLAD: four outputs at a time, from rows where they stand. */
#include <codeq/linear.h>

#include "../quad_dsp.h"
#include "../rows.h"
#include "fields_dsp.h"

/* A vector in scratch, 16 bits a value in the order that SXTB16 makes of four bytes. */
static void cq_linear_widen(const int8_t *x, int32_t length, uint32_t *to)
{
    for (; length > 0; length -= 4, to += 2) {
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
 * One vector times four rows that are `step` apart: 44 instructions for 32 products (Cortex-M4, gcc
 * 12).  A weight is used once: it is not worth a cache.
 */
CQ_FAST_CODE static void cq_linear_dot(const uint32_t *x, const int8_t *row0, int32_t step,
                                       int32_t length, int32_t *acc)
{
    const uint32_t words = (uint32_t)length / 4u;
    const uint32_t *const end = x + 2u * words;
    const int8_t *row1 = row0 + step;
    const int8_t *row2 = row1 + step;
    const int8_t *row3 = row2 + step;
    struct cq_sums sums = {acc[0], acc[1], acc[2], acc[3]};
    if ((words & 1u) != 0u) {
        sums = cq_linear_step(sums, &x, &row0, &row1, &row2, &row3);
    }
    while (x != end) {
        sums = cq_linear_step(sums, &x, &row0, &row1, &row2, &row3);
        sums = cq_linear_step(sums, &x, &row0, &row1, &row2, &row3);
    }
    acc[0] = sums.s0;
    acc[1] = sums.s1;
    acc[2] = sums.s2;
    acc[3] = sums.s3;
    const int32_t rest = length & 3;
    if (rest != 0) {
        const struct cq_pair_of_words values = {x[0], x[1]};
        for (int32_t i = 0; i < 4; ++i, row0 += step) {
            acc[i] = cq_linear_word(values, cq_last_bytes(row0, rest), acc[i]);
        }
    }
}

/* The same for one row. */
static int32_t cq_linear_dot1(const uint32_t *x, const int8_t *row, int32_t length, int32_t start)
{
    int32_t acc[4] = {start, 0, 0, 0};
    cq_linear_dot(x, row, 0, length, acc);
    return acc[0];
}

/* The same for rows that are decoded a chunk at a time, or for fewer than four. */
CQ_SELDOM static void cq_linear_rows(const struct cq_rows *rows, const uint32_t *x,
                                     struct cq_quad *quad, int8_t *decoded)
{
    for (int32_t first = 0; first < rows->length; first += CQ_CHUNK) {
        const int32_t count = cq_limit(rows->length - first, 1, CQ_CHUNK);
        const uint32_t *const at = x + first / 2;
        for (int32_t i = 0; i < quad->channels; ++i) {
            const int8_t *const row =
                cq_read_row(rows, quad->first + i, first, count, decoded + i * CQ_CHUNK);
            if (quad->channels < 4) {
                quad->start[i] = cq_linear_dot1(at, row, count, quad->start[i]);
            }
        }
        if (quad->channels == 4) {
            cq_linear_dot(at, decoded, CQ_CHUNK, count, quad->start);
        }
    }
}

/* Fewer than four rows of fields, one by one. */
CQ_SELDOM static void cq_linear_few_fields(const struct cq_fields *fields, const uint32_t *x,
                                           int32_t length, const int8_t *row, struct cq_quad *quad)
{
    for (int32_t i = 0; i < quad->channels; ++i, row += length * fields->bits / 8) {
        int32_t acc[4] = {quad->start[i], 0, 0, 0};
        cq_fields_rows(fields, x, length, row, 0, acc);
        quad->start[i] = acc[0];
    }
}

/* The sums of four features, or fewer. */
static void cq_linear_quad(const struct cq_rows *rows, const struct cq_fields *fields,
                           const uint32_t *x, struct cq_quad *quad, int8_t *decoded)
{
    const int32_t length = rows->length;
    const int32_t row_bytes = length * (int32_t)rows->bits / 8;
    const int8_t *const row = (const int8_t *)rows->weights->data + quad->first * row_bytes;
    if (fields->dot != NULL && quad->channels == 4) {
        cq_fields_rows(fields, x, length, row, row_bytes, quad->start);
    } else if (fields->dot != NULL) {
        cq_linear_few_fields(fields, x, length, row, quad);
    } else if (cq_rows_are_bytes(rows) && quad->channels == 4) {
        cq_linear_dot(x, row, length, length, quad->start);
    } else {
        cq_linear_rows(rows, x, quad, decoded);
    }
}

/* All outputs of one vector. */
static void cq_linear_vector(const struct cq_rows *rows, const struct cq_fields *fields,
                             const struct cq_linear_params *params, const int8_t *in, uint32_t *x,
                             int8_t *out)
{
    const int32_t features = params->out_features;
    const int32_t channels = cq_limit(features, 1, 4);
    int8_t *const decoded = (int8_t *)(x + (rows->length + 3) / 4 * 2);
    int32_t base = 0;
    struct cq_quad quad;
    quad.requant = NULL;
    if (fields->dot != NULL) {
        base = cq_fields_widen(fields, in, rows->length, x);
    } else {
        cq_linear_widen(in, rows->length, x);
    }
    for (int32_t feature = 0; feature < features; feature += 4) {
        const int32_t first = cq_quad_at(feature, features);
        cq_load_quad(&quad, &params->requant, first, channels);
        cq_linear_quad(rows, fields, x, &quad, decoded);
        const struct cq_sums sums = {quad.start[0] + base, quad.start[1] + base,
                                     quad.start[2] + base, quad.start[3] + base};
        if (quad.is_short) {
            cq_store_short(sums, quad.factor, params->requant.zero_point, out + first);
        } else {
            cq_finish_slowly(&quad, sums, out + first);
        }
    }
}

static enum cq_status cq_linear_dsp(const struct cq_row_reader *reader, uint32_t bits,
                                    cq_fields_fn *dot, const struct cq_linear_params *params,
                                    const int8_t *in, int8_t *out, void *scratch)
{
    const struct cq_rows rows = {reader, &params->weights, bits, params->in_features};
    const struct cq_fields fields = cq_fields_of(&rows, dot);
    CQ_ASSERT((uint32_t)(rows.length * params->out_features) * bits <= 8u * params->weights.bytes ||
              reader != &cq_dense_rows);
    for (int32_t r = 0; r < params->rows; ++r) {
        cq_linear_vector(&rows, &fields, params, in + r * params->in_features, scratch,
                         out + r * params->out_features);
    }
    cq_clamp_dsp(out, params->rows * params->out_features, params->requant.clamp_min,
                 params->requant.clamp_max);
    return CQ_OK;
}

#define CQ_LINEAR_DSP(width, packing, dot)                                                         \
    enum cq_status cq_linear_s8_w##width##_##packing##_dsp(                                        \
        const struct cq_linear_params *params, const int8_t *in, int8_t *out, void *scratch)       \
    {                                                                                              \
        return cq_linear_dsp(&cq_##packing##_rows, width, dot, params, in, out, scratch);          \
    }

#define CQ_LINEAR_FIELDS(width)                                                                    \
    CQ_FAST_CODE static void cq_fields_dot_w##width(const uint32_t *x, int32_t count,              \
                                                    const int8_t *rows, int32_t row_step,          \
                                                    int32_t unit, int32_t *sums)                   \
    {                                                                                              \
        cq_fields_dot(width, x, count, rows, row_step, unit, sums);                                \
    }                                                                                              \
    CQ_LINEAR_DSP(width, dense, cq_fields_dot_w##width)

CQ_LINEAR_FIELDS(1)
CQ_LINEAR_FIELDS(2)
CQ_LINEAR_FIELDS(3)
CQ_LINEAR_FIELDS(4)
CQ_LINEAR_FIELDS(5)
CQ_LINEAR_FIELDS(6)
CQ_LINEAR_FIELDS(7)
CQ_LINEAR_DSP(8, dense, NULL)
CQ_LINEAR_DSP(2, ternary, NULL)
