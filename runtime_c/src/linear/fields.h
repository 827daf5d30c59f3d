/* SPDX-License-Identifier: Apache-2.0 */
/* Weights of less than a byte that are multiplied with straight from their stream: how they stand
 * there, and what they are of their codes. */
#ifndef CODEQ_SRC_LINEAR_FIELDS_H
#define CODEQ_SRC_LINEAR_FIELDS_H

#include <codeq/types.h>

#include "../rows.h"

/*
 * Fields 16 bits apart are in both halves of a word at one place: one shift and one mask make two
 * 16-bit lanes of them.
 *
 * A step is 16 weights, or 32 of one bit.  Of the widths that do not divide 16 it is two groups of
 * eight, which are as many bytes as a field has bits; their halves come from two loads.
 */
#define CQ_FIELD_APART(bits) (16 % (bits) == 0 ? 16 / (bits) : 8)
#define CQ_FIELD_STEP(bits)  ((bits) == 1 ? 32 : 16)
#define CQ_FIELD_BYTES(bits) (CQ_FIELD_STEP(bits) * (bits) / 8)

/* Of all widths. */
#define CQ_FIELD_MAX_BYTES 14

/* Of the widths that do not divide 16: the first of two bytes that hold the field at a bit of its
 * group, and none behind the group. */
#define CQ_FIELD_BYTE(bits, bit) ((bit) / 8 < (bits) - 2 ? (bit) / 8 : (bits) - 2)

/* Two bytes from any address. */
static inline uint32_t cq_load2(const int8_t *from)
{
#if defined(__GNUC__) && defined(__ARM_FEATURE_UNALIGNED)
    uint16_t half;
    __builtin_memcpy(&half, from, sizeof half); /* one load even in a freestanding build */
    return half;
#else
    return (uint32_t)(uint8_t)from[0] | (uint32_t)(uint8_t)from[1] << 8;
#endif
}

/* The bytes there of both groups of a step, one in each half. */
static inline uint32_t cq_field_halves(const int8_t *at, int32_t bits)
{
    return cq_load2(at) | cq_load2(at + bits) << 16;
}

/* A layer's weights as fields. */
struct cq_fields {
    const int8_t *stream_end;
    int32_t bits;
    uint32_t step;  /* weights, a power of two */
    int32_t apart;  /* weights of a pair */
    uint32_t whole; /* weights of a row in whole steps */
    uint32_t rest;  /* and behind them */
    int32_t unit;   /* a weight is unit * code + offset */
    int32_t offset;
};

/*
 * False where these weights are no such fields: every row begins at a byte, and a weight is linear
 * in its code.  The code of one bit is its sign, 0 or -1.
 */
static int cq_fields_open(struct cq_fields *fields, const struct cq_rows *rows)
{
    const struct cq_weights *const weights = rows->weights;
    const int32_t bits = (int32_t)rows->bits;
    fields->stream_end = (const int8_t *)weights->data + weights->bytes;
    fields->bits = bits;
    fields->step = CQ_FIELD_STEP(bits);
    fields->apart = CQ_FIELD_APART(bits);
    fields->whole = (uint32_t)rows->length & ~(fields->step - 1u);
    fields->rest = (uint32_t)rows->length - fields->whole;
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

/* Words of a vector. */
static inline uint32_t cq_fields_words(const struct cq_fields *fields)
{
    return (fields->whole + (fields->rest != 0u ? fields->step : 0u)) / 2u;
}

/* A vector in such pairs as the weights are, the last step filled up with zeros.  Returns what the
 * offset of the weights adds to every sum.  `pair` makes a word of two values. */
static inline int32_t cq_fields_widen(const struct cq_fields *fields, const int8_t *x,
                                      int32_t length, uint32_t (*pair)(int32_t, int32_t),
                                      uint32_t *to)
{
    const uint32_t *const end = to + cq_fields_words(fields);
    const int32_t apart = fields->apart;
    int32_t sum = 0;
    int32_t i = 0;
    for (; length - i >= 2 * apart; i += apart) {
        for (const int32_t group_end = i + apart; i < group_end; ++i) {
            *to++ = pair(x[i], x[i + apart]);
            sum += x[i] + x[i + apart];
        }
    }
    for (; to != end; i += apart) {
        for (const int32_t group_end = i + apart; i < group_end; ++i) {
            const int32_t first = i < length ? x[i] : 0;
            const int32_t second = i + apart < length ? x[i + apart] : 0;
            *to++ = pair(first, second);
            sum += first + second;
        }
    }
    return sum * fields->offset;
}

#endif
