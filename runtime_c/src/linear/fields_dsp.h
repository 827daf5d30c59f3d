/* SPDX-License-Identifier: Apache-2.0 */
/* Products with weights of less than a byte, straight from their stream, with SMLAD. */
#ifndef CODEQ_SRC_LINEAR_FIELDS_DSP_H
#define CODEQ_SRC_LINEAR_FIELDS_DSP_H

#include "../dsp.h"
#include "fields.h"

/*
 * Shifted to the top of 16 bits lanes hold 2^(16 - bits) times their codes, sign included: nothing
 * is extended, and the shift of a mask is free.
 */
/* Upper `bits` bits of two lanes. */
#define CQ_FIELD_MASK(bits) ((0xffffu << (16 - (bits)) & 0xffffu) * 0x00010001u)

/* Pair i of a step as lanes: from its word, or from where the step begins. */
CQ_STEP_OF_LOOP static inline uint32_t cq_field_lanes(uint32_t word, const int8_t *at, int bits,
                                                      int i, uint32_t mask)
{
    const int bit = i % CQ_FIELD_APART(bits) * bits;
    if (16 % bits == 0) {
        return word << (16 - bits - bit) & mask;
    }
    const int byte = CQ_FIELD_BYTE(bits, bit);
    return cq_field_halves(at + byte, bits) << (16 - bits - (bit - 8 * byte)) & mask;
}

/* Four pairs of a row, from pair i of a step on. */
CQ_STEP_OF_LOOP static inline int32_t cq_field_four(struct cq_words x, uint32_t word,
                                                    const int8_t *at, int bits, int i,
                                                    uint32_t mask, int32_t sum)
{
    sum = cq_smlad(x.w0, cq_field_lanes(word, at, bits, i, mask), sum);
    sum = cq_smlad(x.w1, cq_field_lanes(word, at, bits, i + 1, mask), sum);
    sum = cq_smlad(x.w2, cq_field_lanes(word, at, bits, i + 2, mask), sum);
    return cq_smlad(x.w3, cq_field_lanes(word, at, bits, i + 3, mask), sum);
}

/* Four pairs of two rows, which move on with their words or with the step. */
#define CQ_FIELD_FOURS(bits, i)                                                                    \
    do {                                                                                           \
        const struct cq_words values = cq_next_words(&x);                                          \
        if (16 % (bits) == 0 && (i) % CQ_FIELD_APART(bits) == 0) {                                 \
            word0 = cq_next4(&row0);                                                               \
            word1 = cq_next4(&row1);                                                               \
        }                                                                                          \
        dot0 = cq_field_four(values, word0, row0, bits, i, mask, dot0);                            \
        dot1 = cq_field_four(values, word1, row1, bits, i, mask, dot1);                            \
    } while (0)

/* Adds `unit` times the dots of a vector with four rows to sums: rows that are `row_step` bytes
 * apart, `count` weights of each, which are whole steps and CQ_CHUNK at most. */
typedef void cq_fields_fn(const uint32_t *x, uint32_t count, const int8_t *rows, int32_t row_step,
                          int32_t unit, int32_t *sums);

/*
 * Two rows at a time: of 4 bits 40 instructions for 32 products, of 2 bits 39 (Cortex-M4, gcc 12).
 * All that depends on the width is known when this is compiled.  Products are of 22 bits, and
 * brought down to where codes are units before they could overflow.
 */
CQ_STEP_OF_LOOP static inline void cq_fields_dot(int bits, const uint32_t *first, uint32_t count,
                                                 const int8_t *rows, int32_t row_step, int32_t unit,
                                                 int32_t *sums)
{
    const uint32_t mask = cq_in_register(CQ_FIELD_MASK(bits));
    const uint32_t *const end = first + count / 2u;
    const int32_t *const sums_end = sums + 4;
    do {
        const uint32_t *x = first;
        const int8_t *row0 = rows;
        const int8_t *row1 = rows + row_step;
        int32_t dot0 = 0;
        int32_t dot1 = 0;
        uint32_t word0 = 0u;
        uint32_t word1 = 0u;
        do {
            CQ_FIELD_FOURS(bits, 0);
            CQ_FIELD_FOURS(bits, 4);
            if (CQ_FIELD_STEP(bits) > 16) {
                CQ_FIELD_FOURS(bits, 8);
                CQ_FIELD_FOURS(bits, 12);
            }
            if (16 % bits != 0) {
                row0 += CQ_FIELD_BYTES(bits);
                row1 += CQ_FIELD_BYTES(bits);
            }
        } while (x != end);
        sums[0] += cq_shift_right(dot0, 16u - (uint32_t)bits) * unit;
        sums[1] += cq_shift_right(dot1, 16u - (uint32_t)bits) * unit;
        sums += 2;
        rows += 2 * row_step;
    } while (sums != sums_end);
}

/* Two values as lanes. */
static inline uint32_t cq_fields_pair(int32_t first, int32_t second)
{
    return cq_pkhbt((uint32_t)first, (uint32_t)second);
}

/* The same for less than a step, from a copy with zeros behind. */
CQ_SELDOM static void cq_fields_end(const struct cq_fields *fields, cq_fields_fn *dot,
                                    const uint32_t *x, const int8_t *rows, int32_t row_step,
                                    int32_t *sums)
{
    int8_t ends[4][CQ_FIELD_MAX_BYTES] = {{0}};
    for (int32_t i = 0; i < 4; ++i) {
        memcpy(ends[i], rows + i * row_step, fields->rest * (uint32_t)fields->bits / 8u);
    }
    dot(x, fields->step, ends[0], CQ_FIELD_MAX_BYTES, fields->unit, sums);
}

/*
 * Adds the products of a vector with four rows, the last step filled up: what stands behind a row
 * meets zeros.  Where the stream ends before that step does, it is not read.
 */
static inline void cq_fields_rows(const struct cq_fields *fields, cq_fields_fn *dot,
                                  const uint32_t *x, const int8_t *rows, int32_t row_step,
                                  int32_t *sums)
{
    const uint32_t bits = (uint32_t)fields->bits;
    const uint32_t filled = fields->whole + fields->step;
    const int32_t reach = 3 * row_step + (int32_t)(filled * bits / 8u);
    const int ends_early = fields->rest != 0u && reach > fields->stream_end - rows;
    const uint32_t direct = fields->rest == 0u || ends_early ? fields->whole : filled;
    for (uint32_t first = 0u; first < direct; first += CQ_CHUNK) {
        const uint32_t count = direct - first < CQ_CHUNK ? direct - first : CQ_CHUNK;
        dot(x + first / 2u, count, rows + first / 8u * bits, row_step, fields->unit, sums);
    }
    if (ends_early) {
        cq_fields_end(fields, dot, x + direct / 2u, rows + direct / 8u * bits, row_step, sums);
    }
}

#endif
