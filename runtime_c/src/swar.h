/* SPDX-License-Identifier: Apache-2.0 */
/* Two 16-bit lanes in a plain 32-bit register, for cores without SIMD instructions.
 *
 * A pair of signed numbers is the word low + 2^16 * high (mod 2^32): not two bit fields, but a sum,
 * so that words are added and multiplied like numbers.  The product of (a, b) and (c, d) is
 * a*c + 2^16 * (a*d + b*c): one multiplication gives a sum of two products in the upper half.
 *
 * Here the upper number of every pair is negated.  Inputs (x1, -x0) times weights (w0, -w1) give
 * -(x0*w0 + x1*w1) above x1*w0: with int8 the sum reaches -2^15 and never 2^15, and where it is
 * -2^15 all four are -128, so that what lies below does not borrow from it.
 */
#ifndef CODEQ_SRC_SWAR_H
#define CODEQ_SRC_SWAR_H

#include <stdint.h>

#include "bytes.h"
#include "numerics.h"

/* Eight registers are few: an inner loop gets all of them in a function of its own, in which
 * distances are constants. */
#ifdef __GNUC__
#define CQ_ALONE  __attribute__((noinline))
#define CQ_MERGED inline __attribute__((always_inline))
#else
#define CQ_ALONE
#define CQ_MERGED inline
#endif

/* Armv6-M, where two instructions are pinned together: compilers that move them apart, or sort a
 * sum's loads before its products, spill what they have loaded. */
#if defined(__GNUC__) && defined(__ARM_ARCH_ISA_THUMB) && __ARM_ARCH_ISA_THUMB == 1
#define CQ_HAS_EIGHT_REGISTERS 1
#else
#define CQ_HAS_EIGHT_REGISTERS 0
#endif

/* Two words of lanes, of bytes or of pairs: the first and the third of four values, the others. */
struct cq_lanes {
    uint32_t even, odd;
};

/** @brief A constant that compilers keep in a register: they know others that need one more. */
static inline uint32_t cq_kept(uint32_t constant)
{
#ifdef __GNUC__
    __asm__("" : "+r"(constant));
#endif
    return constant;
}

/* Sign bits of bytes in two lanes.  A byte with its sign inverted is x + 128, and with all other
 * bits inverted 127 - x: what is taken off afterwards borrows nothing from the next lane. */
#define CQ_PAIR_SIGNS UINT32_C(0x007f0080)

/** @brief Lanes of bytes as pairs. */
static inline struct cq_lanes cq_pairs(struct cq_lanes bytes, uint32_t signs)
{
    const struct cq_lanes pairs = {(bytes.even ^ signs) - signs, (bytes.odd ^ signs) - signs};
    return pairs;
}

/** @brief Four bytes, the first lowest. */
static inline struct cq_lanes cq_lanes_of_word(uint32_t word)
{
    const uint32_t mask = UINT32_C(0x00ff00ff);
    const struct cq_lanes bytes = {word & mask, word >> 8 & mask};
    return bytes;
}

/** @brief Two bytes and two more, from any address. */
static inline struct cq_lanes cq_lanes_of_bytes(const int8_t *low, const int8_t *high)
{
    const struct cq_lanes bytes = {
        (uint32_t)(uint8_t)high[0] << 16 | (uint8_t)low[0],
        (uint32_t)(uint8_t)high[1] << 16 | (uint8_t)low[1],
    };
    return bytes;
}

/** @brief True if a load of four bytes as a word is one instruction, and the first byte lowest. */
static inline int cq_is_word(const int8_t *from)
{
#if defined(__GNUC__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    return ((uintptr_t)from & 3u) == 0u;
#else
    (void)from;
    return 0;
#endif
}

/** @brief Four bytes, where cq_is_word(). */
static inline uint32_t cq_load_word(const int8_t *from)
{
    uint32_t word;
#ifdef __GNUC__
    __builtin_memcpy(&word, __builtin_assume_aligned(from, 4), sizeof word);
#else
    memcpy(&word, from, sizeof word);
#endif
    return word;
}

/**
 * @brief acc plus the upper number of a pair.
 *
 * Where the lower number is negative it has borrowed one from the upper.  The shift leaves its sign
 * in the carry flag.
 */
static inline int32_t cq_add_upper(int32_t acc, uint32_t pair)
{
#if CQ_HAS_EIGHT_REGISTERS
    __asm__ volatile(".syntax unified\n\tasrs %1, %1, #16\n\tadcs %0, %0, %1"
                     : "+l"(acc), "+l"(pair)
                     :
                     : "cc");
    return acc;
#else
    return acc + cq_shift_right(cq_to_signed(pair + UINT32_C(0x8000)), 16u);
#endif
}

/** @brief acc + x * w. */
static inline int32_t cq_add_product(int32_t acc, int32_t x, int32_t w)
{
#if CQ_HAS_EIGHT_REGISTERS
    __asm__ volatile(".syntax unified\n\tmuls %1, %2, %1\n\tadds %0, %0, %1"
                     : "+l"(acc), "+l"(x)
                     : "l"(w)
                     : "cc");
    return acc;
#else
    return acc + x * w;
#endif
}

#endif
