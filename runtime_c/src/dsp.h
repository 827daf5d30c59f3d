/* SPDX-License-Identifier: Apache-2.0 */
/* The packed 16-bit arithmetic of Armv7E-M and Armv8-M with DSP, one instruction a function; other
 * machines run the C twin, so that dsp kernels are tested on the host. */
#ifndef CODEQ_SRC_DSP_H
#define CODEQ_SRC_DSP_H

#include <stdint.h>

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

/** @brief acc plus the products of both pairs of 16-bit lanes. */
static inline int32_t cq_smlad(uint32_t a, uint32_t b, int32_t acc)
{
    int32_t sum;
    __asm__("smlad %0, %1, %2, %3" : "=r"(sum) : "r"(a), "r"(b), "r"(acc));
    return sum;
}

#else

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

static inline int32_t cq_smlad(uint32_t a, uint32_t b, int32_t acc)
{
    const int32_t low = ((int32_t)((a & 0xffffu) ^ 0x8000u) - 0x8000) *
                        ((int32_t)((b & 0xffffu) ^ 0x8000u) - 0x8000);
    const int32_t high =
        ((int32_t)(a >> 16 ^ 0x8000u) - 0x8000) * ((int32_t)(b >> 16 ^ 0x8000u) - 0x8000);
    return acc + low + high;
}

#endif

#endif
