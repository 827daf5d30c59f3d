/* SPDX-License-Identifier: Apache-2.0 */
/* memcpy and memset: from <string.h>, or declared here for freestanding compilers without one. */
#ifndef CODEQ_SRC_BYTES_H
#define CODEQ_SRC_BYTES_H

#include <stddef.h>
#include <stdint.h>

#ifdef __has_include
#if !__has_include(<string.h>)
#define CQ_NO_STRING_H
#endif
#endif

#ifdef CQ_NO_STRING_H
void *memcpy(void *restrict to, const void *restrict from, size_t size);
void *memset(void *to, int value, size_t size);
#else
#include <string.h>
#endif

/** @brief Four neighbours as one word, at any address. */
static inline uint32_t cq_load4(const int8_t *from)
{
    uint32_t word;
#ifdef __GNUC__
    __builtin_memcpy(&word, from, sizeof word); /* one load even in a freestanding build */
#else
    memcpy(&word, from, sizeof word);
#endif
    return word;
}

/** @brief Set `count` >= 0 bytes from `to` on to `value`; returns the byte behind them. */
static inline int8_t *cq_fill(int8_t *to, int8_t value, int32_t count)
{
    memset(to, (uint8_t)value, (size_t)count);
    return to + count;
}

/** @brief Copy `count` >= 0 bytes; returns the byte behind them. */
static inline int8_t *cq_copy(int8_t *restrict to, const int8_t *restrict from, int32_t count)
{
    memcpy(to, from, (size_t)count);
    return to + count;
}

#endif
