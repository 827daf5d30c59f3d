/* SPDX-License-Identifier: Apache-2.0 */
/* Fields of 1 to 8 bits, least significant bit first.  Spec: FORMATS.md [F1]. */
#ifndef CODEQ_SRC_DECODE_BITS_H
#define CODEQ_SRC_DECODE_BITS_H

#include <stdint.h>

#include <codeq/config.h>

struct cq_bits {
    const uint8_t *at;  /* first byte whose bits do not count yet */
    const uint8_t *end; /* of the stream */
    uint32_t buffer;    /* bits that have been read and not taken, and above `count` zeros or what
                           the bytes from `at` on hold */
    uint32_t count;
};

static inline struct cq_bits cq_bits_at(const uint8_t *at, const uint8_t *end)
{
    const struct cq_bits bits = {at, end, 0u, 0u};
    return bits;
}

/** @brief The four bytes at `at`. */
static inline uint32_t cq_bits_word(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

/**
 * @brief Read ahead: 24 bits or more, or all that are left.
 *
 * Four bytes at once where the stream has so many; what of them does not count yet is read again.
 */
static inline void cq_bits_refill(struct cq_bits *bits)
{
    const uint8_t *const at = bits->at;
    if (bits->end - at >= 4) {
        bits->buffer |= cq_bits_word(at) << bits->count;
        bits->at = at + (31u - bits->count) / 8u;
        bits->count |= 24u;
        return;
    }
    while (bits->count < 24u && bits->at != bits->end) {
        bits->buffer |= (uint32_t)*bits->at << bits->count;
        bits->at += 1;
        bits->count += 8u;
    }
}

/** @brief Take `width` bits that a refill has read. */
static inline uint32_t cq_bits_next(struct cq_bits *bits, uint32_t width)
{
    const uint32_t field = bits->buffer & ((1u << width) - 1u);
    CQ_ASSERT(bits->count >= width);
    bits->buffer >>= width;
    bits->count -= width;
    return field;
}

/**
 * @brief The next `width` (1..8) bits as an unsigned number.
 *
 * A byte is read when its first bit is needed and not before, so that a stream may end anywhere.
 */
static inline uint32_t cq_bits_take(struct cq_bits *bits, uint32_t width)
{
    if (bits->count < width) {
        CQ_ASSERT(bits->at != bits->end);
        bits->buffer |= (uint32_t)*bits->at << bits->count;
        bits->at += 1;
        bits->count += 8u;
    }
    const uint32_t field = bits->buffer & ((1u << width) - 1u);
    bits->buffer >>= width;
    bits->count -= width;
    return field;
}

/** @brief Zero bits below the lowest one of x, which is not 0. */
static inline uint32_t cq_trailing_zeros(uint32_t x)
{
#ifdef __ARM_FEATURE_CLZ
    return 31u - (uint32_t)__builtin_clz(x & (0u - x));
#else
    uint32_t zeros = 0u;
    for (; (x & 1u) == 0u; x >>= 1) {
        zeros += 1u;
    }
    return zeros;
#endif
}

/** @brief A field of `width` bits read as two's complement. */
static inline int32_t cq_sign_extend(uint32_t field, uint32_t width)
{
    const uint32_t sign = 1u << (width - 1u);
    return (int32_t)(field ^ sign) - (int32_t)sign;
}

#endif
