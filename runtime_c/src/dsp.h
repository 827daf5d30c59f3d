/* SPDX-License-Identifier: Apache-2.0 */
/* The instructions of Armv7E-M and Armv8-M with DSP that C cannot name, one a function; other
 * machines run the C twin, so that dsp kernels are tested on the host. */
#ifndef CODEQ_SRC_DSP_H
#define CODEQ_SRC_DSP_H

#include <stdint.h>

#include "attributes.h"
#include "bytes.h"
#include "numerics.h"

/* Steps of loops, whose sums and pointers would be in memory if they were called. */
#ifdef __GNUC__
#define CQ_STEP_OF_LOOP __attribute__((always_inline))
#else
#define CQ_STEP_OF_LOOP
#endif

/** @brief A constant that stays in a register: an AND with an immediate has no shift. */
static inline uint32_t cq_in_register(uint32_t constant)
{
#ifdef __GNUC__
    __asm__("" : "+r"(constant));
#endif
    return constant;
}

/* Four words that one LDM loads. */
struct cq_words {
    uint32_t w0, w1, w2, w3;
};

/* Five words, likewise. */
struct cq_five_words {
    uint32_t w0, w1, w2, w3, w4;
};

/* Three words, likewise. */
struct cq_three_words {
    uint32_t w0, w1, w2;
};

/* Two words that one LDRD loads. */
struct cq_pair_of_words {
    uint32_t w0, w1;
};

#if defined(__GNUC__) && defined(__ARM_FEATURE_SIMD32)

/** @brief Bytes 0 and 2, each sign-extended to a 16-bit lane. */
static inline uint32_t cq_sxtb16(uint32_t x)
{
    uint32_t lanes;
    __asm__("sxtb16 %0, %1" : "=r"(lanes) : "r"(x));
    return lanes;
}

/** @brief Bytes 1 and 3, each sign-extended to a 16-bit lane. */
static inline uint32_t cq_sxtb16_ror8(uint32_t x)
{
    uint32_t lanes;
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(lanes) : "r"(x));
    return lanes;
}

/** @brief Lanes of acc plus bytes 0 and 2 of x. */
static inline uint32_t cq_sxtab16(uint32_t acc, uint32_t x)
{
    uint32_t lanes;
    __asm__("sxtab16 %0, %1, %2" : "=r"(lanes) : "r"(acc), "r"(x));
    return lanes;
}

/** @brief Lanes of acc plus bytes 1 and 3 of x. */
static inline uint32_t cq_sxtab16_ror8(uint32_t acc, uint32_t x)
{
    uint32_t lanes;
    __asm__("sxtab16 %0, %1, %2, ror #8" : "=r"(lanes) : "r"(acc), "r"(x));
    return lanes;
}

/** @brief Lower lane of low, lower lane of high above it. */
static inline uint32_t cq_pkhbt(uint32_t low, uint32_t high)
{
    uint32_t lanes;
    __asm__("pkhbt %0, %1, %2, lsl #16" : "=r"(lanes) : "r"(low), "r"(high));
    return lanes;
}

/** @brief Upper lane of low, upper lane of high above it. */
static inline uint32_t cq_pkhtb(uint32_t low, uint32_t high)
{
    uint32_t lanes;
    __asm__("pkhtb %0, %1, %2, asr #16" : "=r"(lanes) : "r"(high), "r"(low));
    return lanes;
}

/** @brief acc plus the products of both pairs of 16-bit lanes. */
static inline int32_t cq_smlad(uint32_t a, uint32_t b, int32_t acc)
{
    __asm__("smlad %0, %1, %2, %0" : "+r"(acc) : "r"(a), "r"(b));
    return acc;
}

/** @brief The same of an accumulator that is still needed. */
static inline int32_t cq_smlad_from(uint32_t a, uint32_t b, int32_t acc)
{
    int32_t sum;
    __asm__("smlad %0, %1, %2, %3" : "=r"(sum) : "r"(a), "r"(b), "r"(acc));
    return sum;
}

/** @brief acc plus lower lane of a times upper lane of b. */
static inline int32_t cq_smlabt(uint32_t a, uint32_t b, int32_t acc)
{
    __asm__("smlabt %0, %1, %2, %0" : "+r"(acc) : "r"(a), "r"(b));
    return acc;
}

/** @brief acc plus upper lane of a times lower lane of b. */
static inline int32_t cq_smlatb(uint32_t a, uint32_t b, int32_t acc)
{
    int32_t sum;
    __asm__("smlatb %0, %1, %2, %3" : "=r"(sum) : "r"(a), "r"(b), "r"(acc));
    return sum;
}

/** @brief (a * b + 2^31) >> 32. */
static inline int32_t cq_smmulr(int32_t a, int32_t b)
{
    int32_t high;
    __asm__("smmulr %0, %1, %2" : "=r"(high) : "r"(a), "r"(b));
    return high;
}

/** @brief acc + ((a * b + 2^31) >> 32). */
static inline int32_t cq_smmlar(int32_t a, int32_t b, int32_t acc)
{
    int32_t high;
    __asm__("smmlar %0, %1, %2, %3" : "=r"(high) : "r"(a), "r"(b), "r"(acc));
    return high;
}

/** @brief The larger of each two signed bytes.  Two instructions, which flags connect. */
static inline uint32_t cq_max_s8x4(uint32_t a, uint32_t b)
{
    uint32_t larger;
    __asm__("ssub8 %0, %1, %2\n\tsel %0, %1, %2" : "=&r"(larger) : "r"(a), "r"(b) : "cc");
    return larger;
}

/** @brief The smaller of each two signed bytes. */
static inline uint32_t cq_min_s8x4(uint32_t a, uint32_t b)
{
    uint32_t smaller;
    __asm__("ssub8 %0, %1, %2\n\tsel %0, %2, %1" : "=&r"(smaller) : "r"(a), "r"(b) : "cc");
    return smaller;
}

/** @brief x limited to int8. */
static inline int32_t cq_ssat8(int32_t x)
{
    int32_t limited;
    __asm__("ssat %0, #8, %1" : "=r"(limited) : "r"(x));
    return limited;
}

/** @brief x limited to int16. */
static inline int32_t cq_ssat16(int32_t x)
{
    int32_t limited;
    __asm__("ssat %0, #16, %1" : "=r"(limited) : "r"(x));
    return limited;
}

/** @brief The four words at *from, which moves behind them.  One LDM wants ascending registers, so
 * that they have names. */
static inline struct cq_words cq_next_words(const uint32_t **from)
{
    const uint32_t *at = *from;
    register uint32_t w0 __asm__("r4");
    register uint32_t w1 __asm__("r5");
    register uint32_t w2 __asm__("r6");
    register uint32_t w3 __asm__("r8");
    __asm__ volatile("ldmia %0!, {%1, %2, %3, %4}"
                     : "+r"(at), "=r"(w0), "=r"(w1), "=r"(w2), "=r"(w3)
                     : "m"(*(const struct cq_words *)at));
    *from = at;
    const struct cq_words words = {w0, w1, w2, w3};
    return words;
}

/** @brief The five words at *from, likewise. */
static inline struct cq_five_words cq_next_five(const uint32_t **from)
{
    const uint32_t *at = *from;
    register uint32_t w0 __asm__("r4");
    register uint32_t w1 __asm__("r5");
    register uint32_t w2 __asm__("r6");
    register uint32_t w3 __asm__("r8");
    register uint32_t w4 __asm__("r9");
    __asm__ volatile("ldmia %0!, {%1, %2, %3, %4, %5}"
                     : "+r"(at), "=r"(w0), "=r"(w1), "=r"(w2), "=r"(w3), "=r"(w4)
                     : "m"(*(const struct cq_five_words *)at));
    *from = at;
    const struct cq_five_words words = {w0, w1, w2, w3, w4};
    return words;
}

/** @brief The three words from `from` on. */
static inline struct cq_three_words cq_load_three(const uint32_t *from)
{
    register uint32_t w0 __asm__("r4");
    register uint32_t w1 __asm__("r5");
    register uint32_t w2 __asm__("r6");
    __asm__ volatile("ldmia %3, {%0, %1, %2}"
                     : "=r"(w0), "=r"(w1), "=r"(w2)
                     : "r"(from), "m"(*(const struct cq_three_words *)from));
    const struct cq_three_words words = {w0, w1, w2};
    return words;
}

/** @brief The three words at *from, which moves behind them, into other registers, so that both
 * threes can be at hand. */
static inline struct cq_three_words cq_next_three(const uint32_t **from)
{
    const uint32_t *at = *from;
    register uint32_t w0 __asm__("r8");
    register uint32_t w1 __asm__("r9");
    register uint32_t w2 __asm__("r10");
    __asm__ volatile("ldmia %0!, {%1, %2, %3}"
                     : "+r"(at), "=r"(w0), "=r"(w1), "=r"(w2)
                     : "m"(*(const struct cq_three_words *)at));
    *from = at;
    const struct cq_three_words words = {w0, w1, w2};
    return words;
}

/** @brief A sum is complete before the next load: what it is made of need not be kept. */
static inline void cq_complete(int32_t *acc)
{
    __asm__ volatile("" : "+r"(*acc));
}

/** @brief Write two words. */
static inline void cq_put_two(uint32_t *to, uint32_t w0, uint32_t w1)
{
    __asm__("strd %1, %2, %0" : "=m"(*(struct cq_pair_of_words *)to) : "r"(w0), "r"(w1));
}

/** @brief The word at *from, which moves behind it, and the next one. */
static inline struct cq_pair_of_words cq_next_of_two(const uint32_t **from)
{
    const uint32_t *at = *from;
    struct cq_pair_of_words pair;
    __asm__ volatile("ldrd %1, %2, [%0], #4"
                     : "+r"(at), "=r"(pair.w0), "=r"(pair.w1)
                     : "m"(*(const struct cq_pair_of_words *)at));
    *from = at;
    return pair;
}

/** @brief The two words at *from, which moves behind them. */
static inline struct cq_pair_of_words cq_next_two(const uint32_t **from)
{
    const uint32_t *at = *from;
    struct cq_pair_of_words pair;
    __asm__ volatile("ldrd %1, %2, [%0], #8"
                     : "+r"(at), "=r"(pair.w0), "=r"(pair.w1)
                     : "m"(*(const struct cq_pair_of_words *)at));
    *from = at;
    return pair;
}

/** @brief Bytes 0 and 2, each zero-extended to a 16-bit lane. */
static inline uint32_t cq_uxtb16(uint32_t x)
{
    uint32_t lanes;
    __asm__("uxtb16 %0, %1" : "=r"(lanes) : "r"(x));
    return lanes;
}

/** @brief Bytes 1 and 3, each zero-extended to a 16-bit lane. */
static inline uint32_t cq_uxtb16_ror8(uint32_t x)
{
    uint32_t lanes;
    __asm__("uxtb16 %0, %1, ror #8" : "=r"(lanes) : "r"(x));
    return lanes;
}

/** @brief acc plus byte 0 of x. */
static inline uint32_t cq_uxtab(uint32_t acc, uint32_t x)
{
    uint32_t sum;
    __asm__("uxtab %0, %1, %2" : "=r"(sum) : "r"(acc), "r"(x));
    return sum;
}

/** @brief acc plus byte 1 of x. */
static inline uint32_t cq_uxtab_ror8(uint32_t acc, uint32_t x)
{
    uint32_t sum;
    __asm__("uxtab %0, %1, %2, ror #8" : "=r"(sum) : "r"(acc), "r"(x));
    return sum;
}

/** @brief acc plus byte 2 of x. */
static inline uint32_t cq_uxtab_ror16(uint32_t acc, uint32_t x)
{
    uint32_t sum;
    __asm__("uxtab %0, %1, %2, ror #16" : "=r"(sum) : "r"(acc), "r"(x));
    return sum;
}

/** @brief acc plus byte 3 of x. */
static inline uint32_t cq_uxtab_ror24(uint32_t acc, uint32_t x)
{
    uint32_t sum;
    __asm__("uxtab %0, %1, %2, ror #24" : "=r"(sum) : "r"(acc), "r"(x));
    return sum;
}

/** @brief Both 16-bit lanes of acc plus bytes 0 and 2, each modulo 2^16. */
static inline uint32_t cq_uxtab16(uint32_t acc, uint32_t x)
{
    uint32_t lanes;
    __asm__("uxtab16 %0, %1, %2" : "=r"(lanes) : "r"(acc), "r"(x));
    return lanes;
}

/** @brief Both 16-bit lanes of acc plus bytes 1 and 3, each modulo 2^16. */
static inline uint32_t cq_uxtab16_ror8(uint32_t acc, uint32_t x)
{
    uint32_t lanes;
    __asm__("uxtab16 %0, %1, %2, ror #8" : "=r"(lanes) : "r"(acc), "r"(x));
    return lanes;
}

/** @brief Both 16-bit lanes of a minus those of b, each modulo 2^16. */
static inline uint32_t cq_ssub16(uint32_t a, uint32_t b)
{
    uint32_t lanes;
    __asm__("ssub16 %0, %1, %2" : "=r"(lanes) : "r"(a), "r"(b) : "cc");
    return lanes;
}

/** @brief acc plus the product of the lower 16-bit lanes. */
static inline int32_t cq_smlabb(uint32_t a, uint32_t b, int32_t acc)
{
    int32_t sum;
    __asm__("smlabb %0, %1, %2, %3" : "=r"(sum) : "r"(a), "r"(b), "r"(acc));
    return sum;
}

/** @brief acc plus the product of the upper 16-bit lanes. */
static inline int32_t cq_smlatt(uint32_t a, uint32_t b, int32_t acc)
{
    int32_t sum;
    __asm__("smlatt %0, %1, %2, %3" : "=r"(sum) : "r"(a), "r"(b), "r"(acc));
    return sum;
}

/** @brief acc plus the upper half of a * b, rounded down; nothing overflows. */
static inline int32_t cq_smmla(int32_t a, int32_t b, int32_t acc)
{
    int32_t sum;
    __asm__("smmla %0, %1, %2, %3" : "=r"(sum) : "r"(a), "r"(b), "r"(acc));
    return sum;
}

/** @brief x / 2^12, down, limited to -128..127. */
static inline int32_t cq_ssat8_asr12(int32_t x)
{
    int32_t limited;
    __asm__("ssat %0, #8, %1, asr #12" : "=r"(limited) : "r"(x));
    return limited;
}

/** @brief Words 0 and 1 from `from` on, in one instruction, which stays where it is: registers are
 * scarce where it is used. */
static inline void cq_load_words01(const uint32_t *from, uint32_t *first, uint32_t *second)
{
    __asm__ volatile("ldrd %0, %1, [%2]" : "=r"(*first), "=r"(*second) : "r"(from) : "memory");
}

/** @brief Words 2 and 3. */
static inline void cq_load_words23(const uint32_t *from, uint32_t *first, uint32_t *second)
{
    __asm__ volatile("ldrd %0, %1, [%2, #8]" : "=r"(*first), "=r"(*second) : "r"(from) : "memory");
}

/** @brief Words 4 and 5. */
static inline void cq_load_words45(const uint32_t *from, uint32_t *first, uint32_t *second)
{
    __asm__ volatile("ldrd %0, %1, [%2, #16]" : "=r"(*first), "=r"(*second) : "r"(from) : "memory");
}

#else

static inline int32_t cq_low_lane(uint32_t lanes)
{
    return (int32_t)((lanes & 0xffffu) ^ 0x8000u) - 0x8000;
}

static inline int32_t cq_high_lane(uint32_t lanes)
{
    return cq_low_lane(lanes >> 16);
}

static inline uint32_t cq_add_lanes(uint32_t a, uint32_t b)
{
    return ((a + b) & 0xffffu) | ((a & 0xffff0000u) + (b & 0xffff0000u));
}

static inline uint32_t cq_sxtb16(uint32_t x)
{
    const uint32_t low = ((x & 0xffu) ^ 0x80u) - 0x80u;
    const uint32_t high = ((x >> 16 & 0xffu) ^ 0x80u) - 0x80u;
    return (low & 0xffffu) | high << 16;
}

static inline uint32_t cq_sxtb16_ror8(uint32_t x)
{
    return cq_sxtb16(x >> 8);
}

static inline uint32_t cq_sxtab16(uint32_t acc, uint32_t x)
{
    return cq_add_lanes(acc, cq_sxtb16(x));
}

static inline uint32_t cq_sxtab16_ror8(uint32_t acc, uint32_t x)
{
    return cq_add_lanes(acc, cq_sxtb16_ror8(x));
}

static inline uint32_t cq_pkhbt(uint32_t low, uint32_t high)
{
    return (low & 0xffffu) | high << 16;
}

static inline uint32_t cq_pkhtb(uint32_t low, uint32_t high)
{
    return low >> 16 | (high & 0xffff0000u);
}

static inline int32_t cq_smlad(uint32_t a, uint32_t b, int32_t acc)
{
    return acc + cq_low_lane(a) * cq_low_lane(b) + cq_high_lane(a) * cq_high_lane(b);
}

static inline int32_t cq_smlad_from(uint32_t a, uint32_t b, int32_t acc)
{
    return cq_smlad(a, b, acc);
}

static inline int32_t cq_smlabt(uint32_t a, uint32_t b, int32_t acc)
{
    return acc + cq_low_lane(a) * cq_high_lane(b);
}

static inline int32_t cq_smlatb(uint32_t a, uint32_t b, int32_t acc)
{
    return acc + cq_high_lane(a) * cq_low_lane(b);
}

static inline int32_t cq_smmulr(int32_t a, int32_t b)
{
    /* 2^62 lifts every product above zero, and leaves as 2^30 after the shift */
    const uint64_t product = (uint64_t)((int64_t)a * b);
    const uint64_t lifted = product + (UINT64_C(1) << 31) + (UINT64_C(1) << 62);
    return cq_to_signed((uint32_t)(lifted >> 32) - (UINT32_C(1) << 30));
}

static inline int32_t cq_smmlar(int32_t a, int32_t b, int32_t acc)
{
    return cq_to_signed((uint32_t)acc + (uint32_t)cq_smmulr(a, b));
}

static inline uint32_t cq_max_s8x4(uint32_t a, uint32_t b)
{
    uint32_t larger = 0u;
    for (uint32_t bit = 0u; bit < 32u; bit += 8u) {
        /* signed order is unsigned order with the other sign bit */
        const uint32_t x = (a >> bit & 0xffu) ^ 0x80u;
        const uint32_t y = (b >> bit & 0xffu) ^ 0x80u;
        larger |= ((x > y ? x : y) ^ 0x80u) << bit;
    }
    return larger;
}

static inline uint32_t cq_min_s8x4(uint32_t a, uint32_t b)
{
    return ~cq_max_s8x4(~a, ~b);
}

static inline int32_t cq_ssat8(int32_t x)
{
    return cq_limit(x, INT8_MIN, INT8_MAX);
}

static inline struct cq_words cq_next_words(const uint32_t **from)
{
    const uint32_t *const at = *from;
    const struct cq_words words = {at[0], at[1], at[2], at[3]};
    *from = at + 4;
    return words;
}

static inline struct cq_five_words cq_next_five(const uint32_t **from)
{
    const uint32_t *const at = *from;
    const struct cq_five_words words = {at[0], at[1], at[2], at[3], at[4]};
    *from = at + 5;
    return words;
}

static inline struct cq_three_words cq_load_three(const uint32_t *from)
{
    const struct cq_three_words words = {from[0], from[1], from[2]};
    return words;
}

static inline void cq_complete(int32_t *acc)
{
    (void)acc;
}

static inline struct cq_three_words cq_next_three(const uint32_t **from)
{
    const struct cq_three_words words = cq_load_three(*from);
    *from += 3;
    return words;
}

static inline void cq_put_two(uint32_t *to, uint32_t w0, uint32_t w1)
{
    to[0] = w0;
    to[1] = w1;
}

static inline struct cq_pair_of_words cq_next_of_two(const uint32_t **from)
{
    const uint32_t *const at = *from;
    const struct cq_pair_of_words pair = {at[0], at[1]};
    *from = at + 1;
    return pair;
}

static inline struct cq_pair_of_words cq_next_two(const uint32_t **from)
{
    const uint32_t *const at = *from;
    const struct cq_pair_of_words pair = {at[0], at[1]};
    *from = at + 2;
    return pair;
}

static inline uint32_t cq_uxtb16(uint32_t x)
{
    return x & 0x00ff00ffu;
}

static inline uint32_t cq_uxtb16_ror8(uint32_t x)
{
    return x >> 8 & 0x00ff00ffu;
}

static inline uint32_t cq_ssub16(uint32_t a, uint32_t b)
{
    return ((a - b) & 0xffffu) | ((a & 0xffff0000u) - (b & 0xffff0000u));
}

static inline uint32_t cq_uxtab(uint32_t acc, uint32_t x)
{
    return acc + (x & 0xffu);
}

static inline uint32_t cq_uxtab_ror8(uint32_t acc, uint32_t x)
{
    return acc + (x >> 8u & 0xffu);
}

static inline uint32_t cq_uxtab_ror16(uint32_t acc, uint32_t x)
{
    return acc + (x >> 16u & 0xffu);
}

static inline uint32_t cq_uxtab_ror24(uint32_t acc, uint32_t x)
{
    return acc + (x >> 24u & 0xffu);
}

static inline uint32_t cq_uxtab16(uint32_t acc, uint32_t x)
{
    const uint32_t low = (acc + (x & 0xffu)) & 0xffffu;
    const uint32_t high = (acc & 0xffff0000u) + (x & 0x00ff0000u);
    return high | low;
}

static inline uint32_t cq_uxtab16_ror8(uint32_t acc, uint32_t x)
{
    return cq_uxtab16(acc, x >> 8);
}

static inline int32_t cq_smlabb(uint32_t a, uint32_t b, int32_t acc)
{
    return cq_smlad(a & 0xffffu, b & 0xffffu, acc);
}

static inline int32_t cq_smlatt(uint32_t a, uint32_t b, int32_t acc)
{
    return cq_smlad(a >> 16, b >> 16, acc);
}

static inline int32_t cq_smmla(int32_t a, int32_t b, int32_t acc)
{
    const int64_t lifted = (int64_t)a * b + (INT64_C(1) << 62);
    return acc + ((int32_t)((uint64_t)lifted >> 32) - (INT32_C(1) << 30));
}

static inline int32_t cq_ssat16(int32_t x)
{
    return cq_limit(x, INT16_MIN, INT16_MAX);
}

static inline int32_t cq_ssat8_asr12(int32_t x)
{
    return cq_ssat8(cq_shift_right(x, 12u));
}

static inline void cq_load_words01(const uint32_t *from, uint32_t *first, uint32_t *second)
{
    *first = from[0];
    *second = from[1];
}

static inline void cq_load_words23(const uint32_t *from, uint32_t *first, uint32_t *second)
{
    *first = from[2];
    *second = from[3];
}

static inline void cq_load_words45(const uint32_t *from, uint32_t *first, uint32_t *second)
{
    *first = from[4];
    *second = from[5];
}

#endif

#if defined(__GNUC__) && defined(__ARM_FEATURE_SIMD32) && defined(__ARM_FEATURE_UNALIGNED)

/** @brief The four bytes at *from, at any address, which moves behind them. */
static inline uint32_t cq_next4(const int8_t **from)
{
    const int8_t *at = *from;
    uint32_t word;
    __asm__ volatile("ldr %1, [%0], #4"
                     : "+r"(at), "=r"(word)
                     : "m"(*(const uint32_t *)(const void *)at));
    *from = at;
    return word;
}

/** @brief The byte at *from, which moves behind it. */
static inline uint32_t cq_next1(const int8_t **from)
{
    const int8_t *at = *from;
    uint32_t byte;
    __asm__ volatile("ldrb %1, [%0], #1" : "+r"(at), "=r"(byte) : "m"(*at));
    *from = at;
    return byte;
}

#else

static inline uint32_t cq_next4(const int8_t **from)
{
    const uint32_t word = cq_load4(*from);
    *from += 4;
    return word;
}

static inline uint32_t cq_next1(const int8_t **from)
{
    const uint32_t byte = (uint8_t)**from;
    *from += 1;
    return byte;
}

#endif

/** @brief Write four bytes to any address. */
static inline void cq_store4(int8_t *to, uint32_t word)
{
#ifdef __GNUC__
    __builtin_memcpy(to, &word, sizeof word);
#else
    memcpy(to, &word, sizeof word);
#endif
}

#endif
