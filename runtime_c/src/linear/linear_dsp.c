/* SPDX-License-Identifier: Apache-2.0 */
/* Fully connected layer with SMLAD: four outputs at a time, from rows where they stand. */
#include <codeq/linear.h>

#include "../quad_dsp.h"
#include "../rows.h"

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

/* All outputs of one vector. */
static void cq_linear_vector(const struct cq_rows *rows, const struct cq_requant *requant,
                             const uint32_t *x, int32_t features, int8_t *decoded, int8_t *out)
{
    const int32_t channels = cq_limit(features, 1, 4);
    const int8_t *const bytes =
        cq_rows_are_bytes(rows) && channels == 4 ? (const int8_t *)rows->weights->data : NULL;
    struct cq_quad quad;
    quad.requant = NULL;
    for (int32_t feature = 0; feature < features; feature += 4) {
        const int32_t first = cq_quad_at(feature, features);
        cq_load_quad(&quad, requant, first, channels);
        if (bytes != NULL) {
            cq_linear_dot(x, bytes + first * rows->length, rows->length, rows->length, quad.start);
        } else {
            cq_linear_rows(rows, x, &quad, decoded);
        }
        const struct cq_sums sums = {quad.start[0], quad.start[1], quad.start[2], quad.start[3]};
        if (quad.is_short) {
            cq_store_short(sums, quad.factor, requant->zero_point, out + first);
        } else {
            cq_finish_slowly(&quad, sums, out + first);
        }
    }
}

static enum cq_status cq_linear_dsp(const struct cq_row_reader *reader, uint32_t bits,
                                    const struct cq_linear_params *params, const int8_t *in,
                                    int8_t *out, void *scratch)
{
    const int32_t length = params->in_features;
    const struct cq_rows rows = {reader, &params->weights, bits, length};
    uint32_t *const x = scratch;
    int8_t *const decoded = (int8_t *)(x + (length + 3) / 4 * 2);
    for (int32_t r = 0; r < params->rows; ++r) {
        cq_linear_widen(in + r * length, length, x);
        cq_linear_vector(&rows, &params->requant, x, params->out_features, decoded,
                         out + r * params->out_features);
    }
    cq_clamp_dsp(out, params->rows * params->out_features, params->requant.clamp_min,
                 params->requant.clamp_max);
    return CQ_OK;
}

#define CQ_LINEAR_DSP(width, packing)                                                              \
    enum cq_status cq_linear_s8_w##width##_##packing##_dsp(                                        \
        const struct cq_linear_params *params, const int8_t *in, int8_t *out, void *scratch)       \
    {                                                                                              \
        return cq_linear_dsp(&cq_##packing##_rows, width, params, in, out, scratch);               \
    }

CQ_LINEAR_DSP(1, dense)
CQ_LINEAR_DSP(2, dense)
CQ_LINEAR_DSP(3, dense)
CQ_LINEAR_DSP(4, dense)
CQ_LINEAR_DSP(5, dense)
CQ_LINEAR_DSP(6, dense)
CQ_LINEAR_DSP(7, dense)
CQ_LINEAR_DSP(8, dense)
CQ_LINEAR_DSP(2, ternary)
