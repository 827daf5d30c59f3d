/* SPDX-License-Identifier: Apache-2.0 */
/* Products with weights of less than a byte, straight from their stream, with SMLAD. */
#ifndef CODEQ_SRC_LINEAR_FIELDS_DSP_H
#define CODEQ_SRC_LINEAR_FIELDS_DSP_H

#include <codeq/types.h>

#include "../dsp.h"
#include "../rows.h"

/*
 * Fields 16 bits apart are in both halves of a word at one place: shifted to the top and masked,
 * they are 16-bit lanes that hold 2^(16 - bits) times their codes, sign included.  That is one
 * instruction for two weights, because the shift is free, and nothing is extended.
 *
 * A step is 16 weights, or 32 of one bit.  Of the widths that do not divide 16 it is two groups of
 * eight, which are as many bytes as a field has bits; their halves come from two loads.
 */
#define CQ_FIELD_APART(bits) (16 % (bits) == 0 ? 16 / (bits) : 8)
#define CQ_FIELD_STEP(bits)  ((bits) == 1 ? 32 : 16)
#define CQ_FIELD_BYTES(bits) (CQ_FIELD_STEP(bits) * (bits) / 8)

/* Of all widths. */
#define CQ_FIELD_MAX_BYTES 14

/* Upper `bits` bits of two lanes. */
#define CQ_FIELD_MASK(bits) ((0xffffu << (16 - (bits)) & 0xffffu) * 0x00010001u)

/* A constant that stays in a register: an AND with an immediate has no shift. */
static inline uint32_t cq_in_register(uint32_t constant)
{
#ifdef __GNUC__
    __asm__("" : "+r"(constant));
#endif
    return constant;
}

static inline uint32_t cq_load2(const int8_t *from)
{
    uint16_t half;
    memcpy(&half, from, sizeof half);
    return half;
}

/* Pair i of a step as lanes. */
CQ_STEP_OF_LOOP static inline uint32_t cq_field_lanes(const int8_t *at, int bits, int i,
                                                      uint32_t mask)
{
    const int bit = i % CQ_FIELD_APART(bits) * bits;
    if (16 % bits == 0) {
        return cq_load4(at + i * bits / 16 * 4) << (16 - bits - bit) & mask;
    }
    /* two bytes that hold the field, and none behind the group */
    const int byte = bit / 8 < bits - 2 ? bit / 8 : bits - 2;
    const uint32_t halves = cq_load2(at + byte) | cq_load2(at + bits + byte) << 16;
    return halves << (16 - bits - (bit - 8 * byte)) & mask;
}

/* Four pairs of a row, from pair i of a step on. */
CQ_STEP_OF_LOOP static inline int32_t cq_field_four(struct cq_words x, const int8_t *at, int bits,
                                                    int i, uint32_t mask, int32_t sum)
{
    sum = cq_smlad(x.w0, cq_field_lanes(at, bits, i, mask), sum);
    sum = cq_smlad(x.w1, cq_field_lanes(at, bits, i + 1, mask), sum);
    sum = cq_smlad(x.w2, cq_field_lanes(at, bits, i + 2, mask), sum);
    return cq_smlad(x.w3, cq_field_lanes(at, bits, i + 3, mask), sum);
}

/* Four pairs of two rows. */
#define CQ_FIELD_FOURS(bits, i)                                                                    \
    do {                                                                                           \
        const struct cq_words values = cq_next_words(&x);                                          \
        dot0 = cq_field_four(values, row0, bits, i, mask, dot0);                                   \
        dot1 = cq_field_four(values, row1, bits, i, mask, dot1);                                   \
    } while (0)

/* Adds `unit` times the dots of a vector with four rows to sums: rows that are `row_step` bytes
 * apart, `count` weights of each, which are whole steps and CQ_CHUNK at most. */
typedef void cq_fields_fn(const uint32_t *x, int32_t count, const int8_t *rows, int32_t row_step,
                          int32_t unit, int32_t *sums);

/*
 * Two rows at a time: of 4 bits 40 instructions for 32 products, of 2 bits 39 (Cortex-M4, gcc 12).
 * All that depends on the width is known when this is compiled.  Products are of 22 bits, and
 * brought down to where codes are units before they could overflow.
 */
CQ_STEP_OF_LOOP static inline void cq_fields_dot(int bits, const uint32_t *first, int32_t count,
                                                 const int8_t *rows, int32_t row_step, int32_t unit,
                                                 int32_t *sums)
{
    const uint32_t mask = cq_in_register(CQ_FIELD_MASK(bits));
    const uint32_t *const end = first + count / 2;
    const int32_t *const sums_end = sums + 4;
    do {
        const uint32_t *x = first;
        const int8_t *row0 = rows;
        const int8_t *row1 = rows + row_step;
        int32_t dot0 = 0;
        int32_t dot1 = 0;
        do {
            CQ_FIELD_FOURS(bits, 0);
            CQ_FIELD_FOURS(bits, 4);
            if (CQ_FIELD_STEP(bits) > 16) {
                CQ_FIELD_FOURS(bits, 8);
                CQ_FIELD_FOURS(bits, 12);
            }
            row0 += CQ_FIELD_BYTES(bits);
            row1 += CQ_FIELD_BYTES(bits);
        } while (x != end);
        sums[0] += cq_shift_right(dot0, 16u - (uint32_t)bits) * unit;
        sums[1] += cq_shift_right(dot1, 16u - (uint32_t)bits) * unit;
        sums += 2;
        rows += 2 * row_step;
    } while (sums != sums_end);
}

/* Weights that are read as fields. */
struct cq_fields {
    cq_fields_fn *dot;
    int32_t bits;
    int32_t step;  /* weights, a power of two */
    int32_t apart; /* weights of a pair */
    int32_t unit;  /* a weight is unit * code + offset */
    int32_t offset;
};

/*
 * False where these weights are no such fields: every row begins at a byte, and a weight is linear
 * in its code.  The code of one bit is its sign, 0 or -1.
 */
static int cq_fields_open(struct cq_fields *fields, const struct cq_rows *rows, cq_fields_fn *dot)
{
    const struct cq_weights *const weights = rows->weights;
    const int32_t bits = (int32_t)rows->bits;
    fields->dot = dot;
    fields->bits = bits;
    fields->step = CQ_FIELD_STEP(bits);
    fields->apart = CQ_FIELD_APART(bits);
    fields->unit = weights->gap + 1;
    fields->offset = 0;
    if (rows->length * bits % 8 != 0) {
        return 0;
    }
    if (bits == 1 && weights->levels != NULL) {
        fields->unit = weights->levels[0] - weights->levels[1];
        fields->offset = weights->levels[0];
        return 1;
    }
    return weights->levels == NULL && (weights->gap == 0u || bits == 2);
}

/* A vector, 16 bits a value, in such pairs as the weights are; the last step is filled up with
 * zeros.  Returns what the offset of the weights adds to every sum. */
static int32_t cq_fields_widen(const struct cq_fields *fields, const int8_t *x, int32_t length,
                               uint32_t *to)
{
    const uint32_t *const end = to + (length + fields->step - 1) / fields->step * fields->step / 2;
    int32_t sum = 0;
    for (int32_t i = 0; to != end; i += fields->apart) {
        for (int32_t group_end = i + fields->apart; i < group_end; ++i) {
            const int32_t low = i < length ? x[i] : 0;
            const int32_t high = i + fields->apart < length ? x[i + fields->apart] : 0;
            *to++ = cq_pkhbt((uint32_t)low, (uint32_t)high);
            sum += low + high;
        }
    }
    return sum * fields->offset;
}

/* The same as `dot` for less than a step.  The stream may end behind these weights: what is behind
 * them in the step meets zeros. */
CQ_SELDOM static void cq_fields_end(const struct cq_fields *fields, const uint32_t *x,
                                    int32_t count, const int8_t *rows, int32_t row_step,
                                    int32_t *sums)
{
    int8_t ends[4][CQ_FIELD_MAX_BYTES] = {{0}};
    for (int32_t i = 0; i < 4; ++i) {
        memcpy(ends[i], rows + i * row_step, (size_t)(count * fields->bits / 8));
    }
    fields->dot(x, fields->step, ends[0], CQ_FIELD_MAX_BYTES, fields->unit, sums);
}

/* Adds the products of a vector with four rows. */
static inline void cq_fields_rows(const struct cq_fields *fields, const uint32_t *x, int32_t length,
                                  const int8_t *rows, int32_t row_step, int32_t *sums)
{
    while (length >= fields->step) {
        const int32_t count = cq_limit(length, 0, CQ_CHUNK) & -fields->step;
        fields->dot(x, count, rows, row_step, fields->unit, sums);
        x += count / 2;
        rows += count * fields->bits / 8;
        length -= count;
    }
    if (length != 0) {
        cq_fields_end(fields, x, length, rows, row_step, sums);
    }
}

#endif
