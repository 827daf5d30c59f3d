/* SPDX-License-Identifier: Apache-2.0 */
/* Products with weights of less than a byte, straight from their stream, two a multiplication. */
#ifndef CODEQ_SRC_LINEAR_FIELDS_SWAR_H
#define CODEQ_SRC_LINEAR_FIELDS_SWAR_H

#include "../swar.h"
#include "fields.h"

/*
 * With its sign bit inverted a code is a number from 0 on, code + 2^(bits - 1), and a word of two
 * fields a pair as swar.h has it without another instruction.  Times the pair of their inputs,
 * crosswise, it is a sum of two products above one product, which are small: sums of several such
 * words are exact as long as the upper one is below 2^15.
 */
#define CQ_FIELD_MASK(bits) (((1u << (bits)) - 1u) * 0x00010001u)

/* Sign bits: of all fields of a word where a word is a step or half of one, else of two lanes. */
#define CQ_FIELD_SIGNS(bits)                                                                       \
    ((bits) == 1   ? 0xffffffffu                                                                   \
     : (bits) == 2 ? 0xaaaaaaaau                                                                   \
     : (bits) == 4 ? 0x88888888u                                                                   \
                   : (1u << ((bits) - 1)) * 0x00010001u)

/* A pair of inputs, crosswise to the weights. */
static inline uint32_t cq_fields_pair(int32_t first, int32_t second)
{
    return ((uint32_t)first << 16) + (uint32_t)second;
}

/* acc + *x * w.  gcc loads inputs early, for which it has no registers; clang does not. */
static inline uint32_t cq_add_product_of(uint32_t acc, const uint32_t *x, uint32_t w)
{
#if CQ_HAS_EIGHT_REGISTERS && !defined(__clang__)
    uint32_t product;
    __asm__ volatile(".syntax unified\n\tldr %1, %3\n\tmuls %1, %2, %1\n\tadds %0, %0, %1"
                     : "+l"(acc), "=&l"(product)
                     : "l"(w), "m"(*x)
                     : "cc");
    return acc;
#else
    return acc + *x * w;
#endif
}

/* What all steps need in registers. */
struct cq_field_masks {
    uint32_t codes, signs;
};

/* sum plus pair i of a step times its inputs. */
static CQ_MERGED uint32_t cq_field_add(int bits, uint32_t sum, const uint32_t *x, const int8_t *at,
                                       int i, struct cq_field_masks masks)
{
    const int bit = i % CQ_FIELD_APART(bits) * bits;
    uint32_t codes;
    if (16 % bits == 0) {
        /* compilers would invert the signs of each pair on its own */
        codes = cq_kept(cq_load_word(at + i * bits / 16 * 4) ^ masks.signs) >> bit & masks.codes;
    } else {
        const int byte = CQ_FIELD_BYTE(bits, bit);
        codes = (cq_field_halves(at + byte, bits) >> (bit - 8 * byte) & masks.codes) ^ masks.signs;
    }
    return cq_add_product_of(sum, x + i, codes);
}

/* Pairs i and i + 1.  No more than 2^15 is added up: 8 pairs of 4 bits, 4 of 5, 2 of 6, 1 of 7. */
static CQ_MERGED uint32_t cq_field_two(int bits, uint32_t pair, int32_t *sum, const uint32_t *x,
                                       const int8_t *at, int i, struct cq_field_masks masks)
{
    pair = cq_field_add(bits, pair, x, at, i, masks);
    if (bits == 7) {
        *sum = cq_add_upper(*sum, pair);
        pair = 0u;
    }
    pair = cq_field_add(bits, pair, x, at, i + 1, masks);
    if (bits >= 6 || (bits == 5 && i % 4 == 2) || i % 8 == 6) {
        *sum = cq_add_upper(*sum, pair);
        pair = 0u;
    }
    return pair;
}

/* Eight pairs. */
static CQ_MERGED int32_t cq_field_eight(int bits, int32_t sum, const uint32_t *x, const int8_t *at,
                                        int i, struct cq_field_masks masks)
{
    uint32_t pair = cq_field_two(bits, 0u, &sum, x, at, i, masks);
    pair = cq_field_two(bits, pair, &sum, x, at, i + 2, masks);
    pair = cq_field_two(bits, pair, &sum, x, at, i + 4, masks);
    (void)cq_field_two(bits, pair, &sum, x, at, i + 6, masks);
    return sum;
}

/* The dot of a vector with `count` weights, which are whole steps, from a word on. */
typedef int32_t cq_fields_fn(const uint32_t *x, int32_t count, const int8_t *at);

static CQ_MERGED int32_t cq_fields_dot(int bits, const uint32_t *x, int32_t count, const int8_t *at)
{
    const uint32_t *const end = x + count / 2;
    const struct cq_field_masks masks = {cq_kept(CQ_FIELD_MASK(bits)),
                                         cq_kept(CQ_FIELD_SIGNS(bits))};
    int32_t sum = 0;
    for (; x != end; x += CQ_FIELD_STEP(bits) / 2, at += CQ_FIELD_BYTES(bits)) {
        sum = cq_field_eight(bits, sum, x, at, 0, masks);
        if (CQ_FIELD_STEP(bits) > 16) {
            sum = cq_field_eight(bits, sum, x, at, 8, masks);
        }
    }
    return sum;
}

/* A row: whole steps where they stand if that is at words, what is left, or what is not, copied
 * first.  Returns its products. */
static int32_t cq_fields_row(const struct cq_fields *fields, cq_fields_fn *dot, const uint32_t *x,
                             int32_t length, const int8_t *row, int8_t *copy)
{
    int32_t done = cq_is_word(row) ? (int32_t)fields->whole : 0;
    int32_t sum = done > 0 ? dot(x, done, row) : 0;
    while (done < length) {
        const int32_t count = cq_limit(length - done, 1, CQ_CHUNK);
        const int32_t step = (int32_t)fields->step;
        const int32_t filled = (count + step - 1) / step * step;
        int8_t *const end = cq_copy(copy, row + done * fields->bits / 8, count * fields->bits / 8);
        (void)cq_fill(end, 0, (filled - count) * fields->bits / 8);
        sum += dot(x + done / 2, filled, copy);
        done += count;
    }
    return sum * fields->unit;
}

#endif
