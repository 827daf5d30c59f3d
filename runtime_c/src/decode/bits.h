/* SPDX-License-Identifier: Apache-2.0 */
/* Fields of 1 to 8 bits, least significant bit first.  Spec: FORMATS.md [F1]. */
#ifndef CODEQ_SRC_DECODE_BITS_H
#define CODEQ_SRC_DECODE_BITS_H

#include <stdint.h>

struct cq_bits {
    const uint8_t *at; /* first byte that has not been read */
    uint32_t buffer;   /* bits that have been read and not taken; zero above `count` */
    uint32_t count;
};

static inline struct cq_bits cq_bits_at(const uint8_t *at)
{
    const struct cq_bits bits = {at, 0u, 0u};
    return bits;
}

/**
 * @brief The next `width` (1..8) bits as an unsigned number.
 *
 * A byte is read when its first bit is needed and not before, so that a stream may end anywhere.
 */
static inline uint32_t cq_bits_take(struct cq_bits *bits, uint32_t width)
{
    if (bits->count < width) {
        bits->buffer |= (uint32_t)*bits->at << bits->count;
        bits->at += 1;
        bits->count += 8u;
    }
    const uint32_t field = bits->buffer & ((1u << width) - 1u);
    bits->buffer >>= width;
    bits->count -= width;
    return field;
}

/** @brief A field of `width` bits read as two's complement. */
static inline int32_t cq_sign_extend(uint32_t field, uint32_t width)
{
    const uint32_t sign = 1u << (width - 1u);
    return (int32_t)(field ^ sign) - (int32_t)sign;
}

#endif
