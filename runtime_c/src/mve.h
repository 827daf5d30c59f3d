/* SPDX-License-Identifier: Apache-2.0 */
/* Helium, for kernels whose file is empty on other cores. */
#ifndef CODEQ_SRC_MVE_H
#define CODEQ_SRC_MVE_H

#if defined(__ARM_FEATURE_MVE) && (__ARM_FEATURE_MVE & 1)
#define CQ_HAS_MVE 1

#include <arm_mve.h>
#include <stdint.h>

/*
 * Loops over bytes are the hardware's own: DLSTP sets the number of bytes, LETP takes 16 of them a
 * turn and switches the lanes behind the last one off, so that nothing is read or written there.
 * gcc 12 cannot form such a loop from intrinsics: it moves predicates through core registers and
 * spills sums, 45 instructions a turn of cq_dot_3x4() instead of 12.  Sums have to be in even core
 * registers.  The blocks save what they use beyond r0-r3: with all of it among the clobbers, gcc
 * finds no registers at -O0 and at -O3, and keeps nothing in registers at -O2.
 *
 * Predicates come from VCTP only: gcc 12 turns constant ones into "all lanes" at -O1 and above.
 */

/* Without it gcc 12 shares a function between callers for whose constants it was written. */
#define CQ_INLINE static inline __attribute__((always_inline))

/* With everything in one function it spills what the inner loop needs. */
#define CQ_NO_INLINE static __attribute__((noinline))

/* In a loop, one register for all fields: gcc 12 would hold the address of each, on the stack. */
#define CQ_KEEP_POINTER(pointer) __asm__("" : "+r"(pointer))

/* Operands of three vectors times two rows, as LDM fills registers with them. */
struct cq_dot_pass {
    const int8_t *x[3];
    int32_t count;
    int32_t start00, start01, start10, start11, start20;
    const int8_t *row0;
    int32_t start21;
    const int8_t *row1;
};

/* start + x . row for all six, 96 products in 12 instructions; sums in r0 r2, r4 r6, r8 r10 */
#define CQ_DOT_3X2                                                                                 \
    "ldm         %[pass]!, {r1, r3, r5, lr}\n\t"                                                   \
    "ldm         %[pass]!, {r0, r2, r4, r6, r8-r11}\n\t"                                           \
    "dlstp.8     lr, lr\n"                                                                         \
    "1:\n\t"                                                                                       \
    "vldrb.8     q0, [r9], #16\n\t"                                                                \
    "vldrb.8     q2, [r1], #16\n\t"                                                                \
    "vmladava.s8 r0, q2, q0\n\t"                                                                   \
    "vldrb.8     q1, [r11], #16\n\t"                                                               \
    "vmladava.s8 r2, q2, q1\n\t"                                                                   \
    "vldrb.8     q2, [r3], #16\n\t"                                                                \
    "vmladava.s8 r4, q2, q0\n\t"                                                                   \
    "vmladava.s8 r6, q2, q1\n\t"                                                                   \
    "vldrb.8     q2, [r5], #16\n\t"                                                                \
    "vmladava.s8 r8, q2, q0\n\t"                                                                   \
    "vmladava.s8 r10, q2, q1\n\t"                                                                  \
    "letp        lr, 1b\n\t"

struct cq_sums {
    int32x4_t v0, v1, v2;
};

/** @brief Three vectors times rows 0 and 2, then 1 and 3: lanes are rows. */
CQ_INLINE struct cq_sums cq_dot_3x4(const struct cq_dot_pass passes[2])
{
    struct cq_sums sum;
    register const struct cq_dot_pass *pass __asm__("r12") = passes;
    __asm__("push        {r4-r6, r8-r11}\n\t" CQ_DOT_3X2
            "vmov        %q[v0][2], %q[v0][0], r0, r2\n\t"
            "vmov        %q[v1][2], %q[v1][0], r4, r6\n\t"
            "vmov        %q[v2][2], %q[v2][0], r8, r10\n\t" CQ_DOT_3X2
            "vmov        %q[v0][3], %q[v0][1], r0, r2\n\t"
            "vmov        %q[v1][3], %q[v1][1], r4, r6\n\t"
            "vmov        %q[v2][3], %q[v2][1], r8, r10\n\t"
            "pop         {r4-r6, r8-r11}"
            : [v0] "=&w"(sum.v0), [v1] "=&w"(sum.v1), [v2] "=&w"(sum.v2), [pass] "+r"(pass)
            :
            : "r0", "r1", "r2", "r3", "lr", "q0", "q1", "q2", "memory");
    return sum;
}

/**
 * @brief start + one vector times four, `count` >= 1 bytes each: 64 products in 10 instructions.
 *
 * @param many  the first of the four, which are `step` bytes apart
 */
CQ_INLINE int32x4_t cq_dot_1x4(const int32_t start[4], const int8_t *one, const int8_t *many,
                               int32_t step, int32_t count)
{
    int32x4_t sum;
    register const int32_t *r0 __asm__("r0") = start;
    register const int8_t *r1 __asm__("r1") = one;
    register int32_t r2 __asm__("r2") = step;
    register const int8_t *r3 __asm__("r3") = many;
    register int32_t r12 __asm__("r12") = count;
    __asm__("push        {r4-r6, r8, r9}\n\t"
            "add         r5, r3, r2\n\t"
            "add         r8, r5, r2\n\t"
            "add         r9, r8, r2\n\t"
            "ldm         r0, {r0, r2, r4, r6}\n\t"
            "dlstp.8     lr, r12\n"
            "1:\n\t"
            "vldrb.8     q0, [r1], #16\n\t"
            "vldrb.8     q1, [r3], #16\n\t"
            "vmladava.s8 r0, q0, q1\n\t"
            "vldrb.8     q1, [r5], #16\n\t"
            "vmladava.s8 r2, q0, q1\n\t"
            "vldrb.8     q1, [r8], #16\n\t"
            "vmladava.s8 r4, q0, q1\n\t"
            "vldrb.8     q1, [r9], #16\n\t"
            "vmladava.s8 r6, q0, q1\n\t"
            "letp        lr, 1b\n\t"
            "vmov        %q[sum][2], %q[sum][0], r0, r4\n\t"
            "vmov        %q[sum][3], %q[sum][1], r2, r6\n\t"
            "pop         {r4-r6, r8, r9}"
            : [sum] "=&w"(sum), "+r"(r0), "+r"(r1), "+r"(r2), "+r"(r3)
            : "r"(r12)
            : "lr", "q0", "q1", "memory");
    return sum;
}

/** @brief Copy `count` >= 0 bytes; returns the byte behind them. */
static inline int8_t *cq_copy_lanes(int8_t *to, const int8_t *from, int32_t count)
{
    int8_t *const end = to + count;
    __asm__ volatile("wlstp.8     lr, %[count], 2f\n"
                     "1:\n\t"
                     "vldrb.8     q0, [%[from]], #16\n\t"
                     "vstrb.8     q0, [%[to]], #16\n\t"
                     "letp        lr, 1b\n"
                     "2:"
                     : [to] "+r"(to), [from] "+r"(from)
                     : [count] "r"(count)
                     : "lr", "q0", "memory");
    return end;
}

/** @brief Set `count` >= 0 bytes to `value`; returns the byte behind them. */
static inline int8_t *cq_fill_lanes(int8_t *to, int8_t value, int32_t count)
{
    int8_t *const end = to + count;
    __asm__ volatile("vdup.8      q0, %[value]\n\t"
                     "wlstp.8     lr, %[count], 2f\n"
                     "1:\n\t"
                     "vstrb.8     q0, [%[to]], #16\n\t"
                     "letp        lr, 1b\n"
                     "2:"
                     : [to] "+r"(to)
                     : [value] "r"(value), [count] "r"(count)
                     : "lr", "q0", "memory");
    return end;
}

/** @brief The first `count` >= 1 of 16 bytes, then zeros. */
static inline uint8x16_t cq_load_first(const uint8_t *from, int32_t count)
{
#ifdef __clang__
    return vldrbq_z_u8(from, vctp8q((uint32_t)count));
#else
    uint8x16_t bytes; /* with intrinsics three moves of the predicate, twice the load itself */
    __asm__ volatile("vctp.8      %[count]\n\t"
                     "vpst\n\t"
                     "vldrbt.u8   %q[bytes], [%[from]]"
                     : [bytes] "=w"(bytes)
                     : [from] "r"(from), [count] "r"(count)
                     : "p0", "memory");
    return bytes;
#endif
}

/** @brief Lanes 0..count - 1 of 16 bytes: none below 1, all from 16 on. */
static inline mve_pred16_t cq_first_lanes(int32_t count)
{
    return vctp8q(count > 0 ? (uint32_t)count : 0u);
}

#endif

#endif
