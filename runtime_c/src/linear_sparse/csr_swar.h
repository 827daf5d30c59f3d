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

/* A field of a word of codes. */
static CQ_MERGED int32_t cq_csr_code(uint32_t word, uint32_t bits, uint32_t field)
{
    return cq_shift_right(cq_to_signed(word << (32u - bits - bits * field)), 32u - bits);
}

/* Pair `left` of a group, from the last one, 0, on. */
static CQ_MERGED int32_t cq_csr_pair(int32_t sum, uint32_t bits, uint32_t word, uint32_t left,
                                     const int8_t *x, int32_t length, const uint8_t *at)
{
    CQ_ASSERT(at[0] < length && at[1] < length);
    (void)length;
    sum = cq_add_product(sum, x[at[0]], cq_csr_code(word, bits, left));
    return cq_add_product(sum, x[at[1]], cq_csr_code(word, bits, left + CQ_CSR_GROUP(bits)));
}

/* The list of a block of codes: its first group, then full ones. */
static CQ_MERGED int32_t cq_csr_list(struct cq_bits *stream, uint32_t bits, const int8_t *x,
                                     int32_t length)
{
    CQ_ASSERT(cq_csr_has_list(stream, bits));
    const uint32_t pairs = *stream->at;
    const uint8_t *at = stream->at + 1;
    const uint8_t *const end = at + cq_csr_bytes(bits, pairs);
    uint32_t left = pairs % CQ_CSR_GROUP(bits);
    int32_t sum = 0;
    stream->at = end;
    if (left != 0u || pairs == 0u) {
        const uint32_t word = cq_bits_word(at);
        for (at += 4; left > 0u; at += 2) {
            left -= 1u;
            sum = cq_csr_pair(sum, bits, word, left, x, length, at);
        }
    }
    while (at != end) {
        const uint32_t word = cq_bits_word(at);
        at += 4;
        if (bits == 4u) {
            sum = cq_csr_pair(sum, bits, word, 3u, x, length, at);
            sum = cq_csr_pair(sum, bits, word, 2u, x, length, at + 2);
            at += 4;
        }
        sum = cq_csr_pair(sum, bits, word, 1u, x, length, at);
        sum = cq_csr_pair(sum, bits, word, 0u, x, length, at + 2);
        at += 4;
    }
    return sum;
}

CQ_FAST_CODE CQ_ALONE static int32_t cq_csr_nibbles(struct cq_bits *stream, const int8_t *x,
                                                    int32_t length)
{
    return cq_csr_list(stream, 4u, x, length);
}

CQ_FAST_CODE CQ_ALONE static int32_t cq_csr_octets(struct cq_bits *stream, const int8_t *x,
                                                   int32_t length)
{
    return cq_csr_list(stream, 8u, x, length);
}

#endif
