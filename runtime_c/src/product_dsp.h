/* SPDX-License-Identifier: Apache-2.0 */
/* Vectors times four weight rows with SMLAD: the row cache and the inner loop that convolution and
 * linear layers share. */
#ifndef CODEQ_SRC_PRODUCT_DSP_H
#define CODEQ_SRC_PRODUCT_DSP_H

#include <codeq/types.h>

#include "dsp.h"
#include "quad_dsp.h"
#include "rows.h"

/* Inputs of a loop step: two words of a vector. */
#define CQ_STEP 8

/* Inputs of one step, rounded up: what lies behind a vector's end is multiplied with zeros. */
static inline int32_t cq_steps(int32_t length)
{
    return (length + CQ_STEP - 1) / CQ_STEP;
}

/*
 * Two rows into the cache, 16 bits a weight, where four rows alternate and come in the order that
 * SXTB16 makes of four bytes: w0 w2 of rows 0 to 3, then w1 w3 of rows 0 to 3.  One LDM then loads
 * what a pair of inputs needs.
 */
CQ_FAST_CODE static void cq_widen_rows(const int8_t *row0, const int8_t *row1, int32_t count,
                                       uint32_t *to)
{
    const uint32_t *const end = to + 16 * cq_steps(count);
    for (; count >= CQ_STEP; count -= CQ_STEP, to += 16) {
        uint32_t word0 = cq_next4(&row0);
        uint32_t word1 = cq_next4(&row1);
        cq_put_two(to, cq_sxtb16(word0), cq_sxtb16(word1));
        cq_put_two(to + 4, cq_sxtb16_ror8(word0), cq_sxtb16_ror8(word1));
        word0 = cq_next4(&row0);
        word1 = cq_next4(&row1);
        cq_put_two(to + 8, cq_sxtb16(word0), cq_sxtb16(word1));
        cq_put_two(to + 12, cq_sxtb16_ror8(word0), cq_sxtb16_ror8(word1));
    }
    for (; to != end; to += 8, row0 += 4, row1 += 4, count -= 4) {
        const uint32_t word0 = cq_last_bytes(row0, count);
        const uint32_t word1 = cq_last_bytes(row1, count);
        cq_put_two(to, cq_sxtb16(word0), cq_sxtb16(word1));
        cq_put_two(to + 4, cq_sxtb16_ror8(word0), cq_sxtb16_ror8(word1));
    }
}

/**
 * @brief Fill the cache with weights first..first + count - 1 of four rows from `row` on.
 *
 * @param channels  rows that there are, 1..4; the last one is repeated
 * @param decoded   twice `count` bytes, each filled up to 4; not used where bytes in flash are the
 *                  weights
 * @param cache     16 words for CQ_STEP weights, the last step filled up with zeros
 */
CQ_HOT_LOOP static void cq_cache_rows(const struct cq_rows *rows, int32_t row, int32_t channels,
                                      int32_t first, int32_t count, int8_t *decoded,
                                      uint32_t *cache)
{
    const int32_t last = row + channels - 1;
    int8_t *const other = decoded + (count + 3) / 4 * 4;
    for (int32_t i = 0; i < 4; i += 2) {
        const int32_t row0 = cq_limit(row + i, row, last);
        const int32_t row1 = cq_limit(row + i + 1, row, last);
        const int8_t *const weight0 = cq_read_row(rows, row0, first, count, decoded);
        const int8_t *const weight1 = cq_read_row(rows, row1, first, count, other);
        cq_widen_rows(weight0, weight1, count, cache + i);
    }
}

/* Vectors that meet the same four rows.  Each is `runs` pieces of `steps` steps. */
struct cq_span {
    const int8_t *x;         /* at any address */
    int32_t x_step;          /* from one vector to the next */
    int32_t count;           /* of vectors, >= 1 */
    int32_t runs;            /* >= 1 */
    int32_t run_step;        /* from one piece of a vector to the next */
    int32_t steps;           /* >= 1 */
    const uint32_t *weights; /* in the cache */
    int32_t weights_skip;    /* words between the weights of two pieces */
    const int32_t *start;    /* four accumulators */
    int8_t *out;             /* four outputs a vector */
    int32_t out_step;
};

/* Four inputs times four rows. */
CQ_STEP_OF_LOOP static inline struct cq_sums cq_multiply_word(struct cq_sums sums, const int8_t **x,
                                                              const uint32_t **weights)
{
    const uint32_t word = cq_next4(x);
    const uint32_t even = cq_sxtb16(word);
    const uint32_t odd = cq_sxtb16_ror8(word);
    struct cq_words w = cq_next_words(weights);
    sums.s0 = cq_smlad(even, w.w0, sums.s0);
    sums.s1 = cq_smlad(even, w.w1, sums.s1);
    sums.s2 = cq_smlad(even, w.w2, sums.s2);
    sums.s3 = cq_smlad(even, w.w3, sums.s3);
    w = cq_next_words(weights);
    sums.s0 = cq_smlad(odd, w.w0, sums.s0);
    sums.s1 = cq_smlad(odd, w.w1, sums.s1);
    sums.s2 = cq_smlad(odd, w.w2, sums.s2);
    sums.s3 = cq_smlad(odd, w.w3, sums.s3);
    return sums;
}

/*
 * Four rows and one vector at a time: a step of 32 products is 2 loads of inputs, 4 of weights
 * (LDM), 4 extensions and 16 SMLAD, with the loop 28 instructions (Cortex-M4, gcc 12); nothing is
 * spilled in it.
 */
CQ_STEP_OF_LOOP static inline struct cq_sums cq_multiply_run(struct cq_sums sums, const int8_t **x,
                                                             const uint32_t **weights,
                                                             const uint32_t *end)
{
    do {
        sums = cq_multiply_word(sums, x, weights);
        sums = cq_multiply_word(sums, x, weights);
    } while (*weights != end);
    return sums;
}

/* Vectors in one piece, one behind the other, with short factors: pointwise convolutions. */
#define CQ_MULTIPLY_MATRIX(form)                                                                   \
    CQ_FAST_CODE static void cq_multiply_matrix_##form(const struct cq_span *span,                 \
                                                       const struct cq_quad *quad)                 \
    {                                                                                              \
        const uint32_t *const first = span->weights;                                               \
        const uint32_t *const end = first + 16 * span->steps;                                      \
        const int32_t out_step = span->out_step;                                                   \
        const int32_t *const start = span->start;                                                  \
        const int32_t zero_point = quad->requant->zero_point;                                      \
        const int8_t *x = span->x;                                                                 \
        int8_t *out = span->out;                                                                   \
        const int8_t *const out_end = out + span->count * out_step;                                \
        do {                                                                                       \
            const uint32_t *weights = first;                                                       \
            struct cq_sums sums = {start[0], start[1], start[2], start[3]};                        \
            sums = cq_multiply_run(sums, &x, &weights, end);                                       \
            cq_store_##form(sums, quad->factor, zero_point, out);                                  \
            out += out_step;                                                                       \
        } while (out != out_end);                                                                  \
    }

CQ_MULTIPLY_MATRIX(short)
CQ_MULTIPLY_MATRIX(relu)

/* Any vectors. */
CQ_FAST_CODE static void cq_multiply_pieces(const struct cq_span *span, const struct cq_quad *quad)
{
    const int32_t run_words = 16 * span->steps;
    const int32_t weights_skip = span->weights_skip;
    const uint32_t *const last = span->weights + span->runs * (run_words + weights_skip);
    const int32_t run_skip = span->run_step - CQ_STEP * span->steps;
    const int32_t x_skip = span->x_step - span->runs * span->run_step;
    const int32_t out_step = span->out_step;
    const int32_t *const start = span->start;
    const int32_t zero_point = quad->requant->zero_point;
    const int8_t *x = span->x;
    int8_t *out = span->out;
    const int8_t *const out_end = out + span->count * out_step;
    do {
        const uint32_t *weights = span->weights;
        struct cq_sums sums = {start[0], start[1], start[2], start[3]};
        do {
            sums = cq_multiply_run(sums, &x, &weights, weights + run_words);
            weights += weights_skip;
            x += run_skip;
        } while (weights != last);
        x += x_skip;
        if (quad->is_short) {
            cq_store_short(sums, quad->factor, zero_point, out);
        } else {
            cq_finish_slowly(quad, sums, out);
        }
        out += out_step;
    } while (out != out_end);
}

CQ_HOT_LOOP static void cq_multiply_span(const struct cq_span *span, const struct cq_quad *quad)
{
    CQ_ASSERT(span->count >= 1 && span->runs >= 1 && span->steps >= 1);
    if (!quad->is_short || span->runs > 1 || span->x_step != CQ_STEP * span->steps) {
        cq_multiply_pieces(span, quad);
    } else if (cq_is_relu(quad->requant)) {
        cq_multiply_matrix_relu(span, quad);
    } else {
        cq_multiply_matrix_short(span, quad);
    }
}

#endif
