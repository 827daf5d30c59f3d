/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of places without SIMD instructions. */
#ifndef CODEQ_SRC_LINEAR_SPARSE_CSR_SWAR_H
#define CODEQ_SRC_LINEAR_SPARSE_CSR_SWAR_H

#include "../decode/csr.h"
#include "../swar.h"

/* A vector for signs: a record is the place of a value, or of minus it. */
static void cq_csr_widen(const int8_t *in, int32_t length, int16_t *to)
{
    for (const int8_t *const end = in + length; in != end; ++in, to += 2) {
        to[0] = *in;
        to[1] = (int16_t)-*in;
    }
}

/* The list of a block of signs: four instructions a record on Armv6-M. */
CQ_FAST_CODE CQ_ALONE static int32_t cq_csr_signs(struct cq_bits *stream, const int16_t *x,
                                                  int32_t length)
{
    CQ_ASSERT(cq_csr_has_list(stream, 2u));
    const uint8_t *at = stream->at + 1;
    const uint8_t *const end = at + *stream->at;
    int32_t sum = 0;
    stream->at = end;
    (void)length;
    for (; end - at >= 4; at += 4) {
        CQ_ASSERT(at[0] / 2 < length && at[1] / 2 < length && at[2] / 2 < length &&
                  at[3] / 2 < length);
        sum += x[at[0]];
        sum += x[at[1]];
        sum += x[at[2]];
        sum += x[at[3]];
    }
    for (; at != end; ++at) {
        CQ_ASSERT(*at / 2 < length);
        sum += x[*at];
    }
    return sum;
}

/* The last `pairs` of a group of codes, from their places. */
static CQ_MERGED int32_t cq_csr_group(int32_t sum, uint32_t bits, uint32_t word, uint32_t pairs,
                                      const int8_t *x, int32_t length, const uint8_t *at)
{
    (void)length;
    for (; pairs > 0u; --pairs, at += 2) {
        /* its second code at the top of a word, its first one 16 bits below */
        const int32_t both = cq_to_signed(word << (16u - bits * pairs));
        CQ_ASSERT(at[0] < length && at[1] < length);
        sum = cq_add_product(sum, x[at[0]], cq_shift_right(cq_shift_left(both, 16u), 32u - bits));
        sum = cq_add_product(sum, x[at[1]], cq_shift_right(both, 32u - bits));
    }
    return sum;
}

/* The list of a block of codes. */
CQ_FAST_CODE CQ_ALONE static int32_t cq_csr_codes(struct cq_bits *stream, uint32_t bits,
                                                  const int8_t *x, int32_t length)
{
    const uint32_t group = CQ_CSR_GROUP(bits);
    CQ_ASSERT(cq_csr_has_list(stream, bits));
    uint32_t left = *stream->at;
    const uint8_t *at = stream->at + 1;
    int32_t sum = 0;
    stream->at = at + cq_csr_bytes(bits, left);
    while (left > 0u) {
        const uint32_t pairs = (left - 1u) % group + 1u;
        sum = cq_csr_group(sum, bits, cq_bits_word(at), pairs, x, length, at + 4);
        at += 4u + 2u * pairs;
        left -= pairs;
    }
    return sum;
}

#endif
