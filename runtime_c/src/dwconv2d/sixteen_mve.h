/* SPDX-License-Identifier: Apache-2.0 */
/* Sixteen lanes of products: channels, or channels of neighbouring pixels. */
#ifndef CODEQ_SRC_DWCONV2D_SIXTEEN_MVE_H
#define CODEQ_SRC_DWCONV2D_SIXTEEN_MVE_H

#include "../decode/cursor.h"
#include "../requant_mve.h"

#define CQ_LANES 16

/*
 * What the lanes stand for.  Long products split even from odd lanes, and widening splits them
 * again: tables of four by four hold the numbers of lane 4 * i + j at [j][i].
 */
struct cq_sixteen {
    int8_t *weights;  /* 16 a tap */
    int32_t channels; /* 1..16 */
    int32_t pixels;   /* that the lanes hold: 16 / channels or 1 */
    int32_t bias[4][4], multiplier[4][4], exponent[4][4];
    int32_t zero_point;
    int32_t clamp_min, clamp_max;
    int rounds_up; /* as cq_rounds_up() */
    int pairs_fit; /* no weight is -128, so that the sum of two products fits 16 bits */
};

/* Accumulators of lanes 4 * i, 4 * i + 1, 4 * i + 2, 4 * i + 3. */
struct cq_acc16 {
    int32x4_t lane0, lane1, lane2, lane3;
};

/* Rows of weights into columns, 16 a tap; returns the smallest weight. */
static int32_t cq_transpose(int8_t *to, const int8_t *rows, int32_t taps, int32_t channels)
{
    int32x4_t smallest = vdupq_n_s32(INT8_MAX);
    for (int32_t first = 0; first < CQ_LANES; first += 4) {
        uint32_t row[4]; /* of each lane; lanes that no one reads repeat rows */
        for (int32_t lane = 0; lane < 4; ++lane) {
            row[lane] = (uint32_t)((first + lane) % channels * taps);
        }
        const uint32x4_t starts = vldrwq_u32(row);
        for (int32_t tap = 0; tap < taps; ++tap) {
            const int32x4_t weights = vldrbq_gather_offset_s32(rows + tap, starts);
            vstrbq_s32(to + tap * CQ_LANES + first, weights);
            smallest = vminq_s32(smallest, weights);
        }
    }
    return vminvq_s32(INT8_MAX, smallest);
}

/**
 * @brief Tables and weights of the next channels.
 *
 * @param cache  room for their weights, decoded
 */
static void cq_load_sixteen(struct cq_sixteen *sixteen, const struct cq_requant *requant,
                            int32_t first, const struct cq_decoder *decoder,
                            struct cq_cursor *cursor, int32_t taps, int8_t *cache)
{
    const int32_t channels = sixteen->channels;
    const int8_t *const rows = decoder->next(cursor, channels * taps, cache).data;
    sixteen->pairs_fit = cq_transpose(sixteen->weights, rows, taps, channels) != INT8_MIN;
    sixteen->zero_point = requant->zero_point;
    sixteen->clamp_min = requant->clamp_min;
    sixteen->clamp_max = requant->clamp_max;
    sixteen->rounds_up = requant->clamp_min >= requant->zero_point;
    for (int32_t c = 0; c < channels; ++c) {
        const struct cq_channel channel = cq_load_channel(requant, first + c);
        sixteen->rounds_up &= channel.exponent <= 0;
        for (uint32_t lane = (uint32_t)c; lane < CQ_LANES; lane += (uint32_t)channels) {
            sixteen->bias[lane % 4u][lane / 4u] = channel.bias;
            sixteen->multiplier[lane % 4u][lane / 4u] = channel.multiplier;
            sixteen->exponent[lane % 4u][lane / 4u] = channel.exponent;
        }
    }
}

/** @brief Add the products of one tap to four accumulators. */
CQ_INLINE struct cq_acc16 cq_add16(struct cq_acc16 acc, const int8_t *x, const int8_t *weight)
{
    const int8x16_t x0 = vldrbq_s8(x);
    const int8x16_t w0 = vldrbq_s8(weight);
    const int16x8_t even = vmullbq_int_s8(x0, w0);
    const int16x8_t odd = vmulltq_int_s8(x0, w0);
    acc.lane0 = vaddq_s32(acc.lane0, vmovlbq_s16(even));
    acc.lane1 = vaddq_s32(acc.lane1, vmovlbq_s16(odd));
    acc.lane2 = vaddq_s32(acc.lane2, vmovltq_s16(even));
    acc.lane3 = vaddq_s32(acc.lane3, vmovltq_s16(odd));
    return acc;
}

/** @brief Where the accumulators start. */
static inline struct cq_acc16 cq_start16(const struct cq_sixteen *sixteen)
{
    const struct cq_acc16 acc = {vldrwq_s32(sixteen->bias[0]), vldrwq_s32(sixteen->bias[1]),
                                 vldrwq_s32(sixteen->bias[2]), vldrwq_s32(sixteen->bias[3])};
    return acc;
}

/* 16-bit sums of even lanes in q6, of odd ones in q7. */
#define CQ_TAP_BEGIN(x, weight)                                                                    \
    "vldrb.8    q4, [%[" x "]]\n\t"                                                                \
    "vldrb.8    q5, [%[w], #" weight "]\n\t"                                                       \
    "vmullb.s8  q6, q4, q5\n\t"                                                                    \
    "vmullt.s8  q7, q4, q5\n\t"
#define CQ_TAP_ADD(x, weight)                                                                      \
    "vldrb.8    q4, [%[" x "]]\n\t"                                                                \
    "vldrb.8    q5, [%[w], #" weight "]\n\t"                                                       \
    "vmullb.s8  q4, q4, q5\n\t"                                                                    \
    "vadd.i16   q6, q6, q4\n\t"                                                                    \
    "vldrb.8    q4, [%[" x "]]\n\t"                                                                \
    "vmullt.s8  q4, q4, q5\n\t"                                                                    \
    "vadd.i16   q7, q7, q4\n\t"
#define CQ_TAPS_END                                                                                \
    "vmovlb.s16 q4, q6\n\t"                                                                        \
    "vadd.i32   %q[lane0], %q[lane0], q4\n\t"                                                      \
    "vmovlt.s16 q6, q6\n\t"                                                                        \
    "vadd.i32   %q[lane2], %q[lane2], q6\n\t"                                                      \
    "vmovlb.s16 q4, q7\n\t"                                                                        \
    "vadd.i32   %q[lane1], %q[lane1], q4\n\t"                                                      \
    "vmovlt.s16 q7, q7\n\t"                                                                        \
    "vadd.i32   %q[lane3], %q[lane3], q7\n\t"
#define CQ_TAP_NEXT(x) "add        %[" x "], %[" x "], %[column]\n\t"

/**
 * @brief Nine taps from three rows, `column` bytes apart: 144 products in 94 instructions.
 *
 * Two products are added in 16 bits before they are widened.  Four accumulators, two sums, an input
 * and its weights are all eight registers: the second input is loaded twice instead of spilling
 * one, which cost gcc 12 another 180 instructions and clang 26.
 */
CQ_INLINE struct cq_acc16 cq_taps_3x3(struct cq_acc16 acc, const int8_t *x0, const int8_t *x1,
                                      const int8_t *x2, int32_t column, const int8_t *weights)
{
    const int8_t *const middle = weights + 4 * CQ_LANES;          /* offsets reach 127 bytes */
    __asm__(CQ_TAP_BEGIN("x0", "-64") CQ_TAP_NEXT("x0")           /* */
            CQ_TAP_ADD("x0", "-48") CQ_TAP_NEXT("x0") CQ_TAPS_END /* */
                CQ_TAP_BEGIN("x0", "-32")                         /* */
            CQ_TAP_ADD("x1", "-16") CQ_TAP_NEXT("x1") CQ_TAPS_END /* */
                CQ_TAP_BEGIN("x1", "0") CQ_TAP_NEXT("x1")         /* */
            CQ_TAP_ADD("x1", "16") CQ_TAPS_END                    /* */
                CQ_TAP_BEGIN("x2", "32") CQ_TAP_NEXT("x2")        /* */
            CQ_TAP_ADD("x2", "48") CQ_TAP_NEXT("x2") CQ_TAPS_END  /* */
                CQ_TAP_BEGIN("x2", "64") CQ_TAPS_END
            : [lane0] "+w"(acc.lane0), [lane1] "+w"(acc.lane1), [lane2] "+w"(acc.lane2),
              [lane3] "+w"(acc.lane3), [x0] "+r"(x0), [x1] "+r"(x1), [x2] "+r"(x2)
            : [w] "r"(middle), [column] "r"(column)
            : "q4", "q5", "q6", "q7", "memory");
    return acc;
}

CQ_INLINE int32x4_t cq_scale4(int32x4_t acc, const struct cq_sixteen *sixteen, int j, int rounds_up)
{
    const struct cq_factors factors = {vldrwq_s32(sixteen->multiplier[j]),
                                       vldrwq_s32(sixteen->exponent[j])};
    return rounds_up ? cq_requantize_up(acc, factors) : cq_requantize_lanes(acc, factors);
}

/* 16-bit outputs of two accumulators, alternating: what saturates here is clamped anyway. */
CQ_INLINE int16x8_t cq_alternate(int32x4_t first, int32x4_t second, int16_t zero_point)
{
    const int16x8_t narrow = vqmovnbq_s32(vreinterpretq_s16_s32(first), first);
    return vqaddq_n_s16(vqmovntq_s32(narrow, second), zero_point);
}

/** @brief Requantize all lanes and store the first `count`. */
CQ_INLINE void cq_finish16(struct cq_acc16 acc, const struct cq_sixteen *sixteen, int rounds_up,
                           int8_t *out, int32_t count)
{
    const int16_t zero_point = (int16_t)sixteen->zero_point;
    const int16x8_t even = cq_alternate(cq_scale4(acc.lane0, sixteen, 0, rounds_up),
                                        cq_scale4(acc.lane2, sixteen, 2, rounds_up), zero_point);
    const int16x8_t odd = cq_alternate(cq_scale4(acc.lane1, sixteen, 1, rounds_up),
                                       cq_scale4(acc.lane3, sixteen, 3, rounds_up), zero_point);
    int8x16_t y = vqmovntq_s16(vqmovnbq_s16(vreinterpretq_s8_s16(even), even), odd);
    y = vmaxq_s8(y, vdupq_n_s8((int8_t)sixteen->clamp_min));
    y = vminq_s8(y, vdupq_n_s8((int8_t)sixteen->clamp_max));
    if (count >= CQ_LANES) {
        vstrbq_s8(out, y);
    } else {
        vstrbq_p_s8(out, y, cq_first_lanes(count));
    }
}

#endif
