/* SPDX-License-Identifier: Apache-2.0 */
/* Sums of sixteen pixels in the 16-bit lanes of eight registers.  Spec: NUMERICS.md [conv2d-C7]. */
#ifndef CODEQ_SRC_CONV2D_SPARSE_LANES_H
#define CODEQ_SRC_CONV2D_SPARSE_LANES_H

#include <stdint.h>

#include "../dsp.h"

#define CQ_LANES       4   /* pixels a word */
#define CQ_GROUP       4   /* words that are computed together */
#define CQ_REGISTERS   8   /* of a group, two pixels each */
#define CQ_RUN         8   /* groups side by side, at most, */
#define CQ_RUN_WORDS   32  /* and their words */
#define CQ_LANE_BUDGET 255 /* sum |w| that a lane holds: (2^15 - 1) / 128 */
#define CQ_LANE_START  256 /* for each unit that may be taken from a lane: even, above any input */

#define CQ_DIRECT_WORDS 3  /* that are computed together without lists, */
#define CQ_DIRECT_MOST  15 /* and of an image at most */

/*
 * Word i of a group becomes registers 2 i (its pixels 0 and 2) and 2 i + 1 (pixels 1 and 3).
 * Inputs are bytes, x + 128.  First come the negated products of all weights but 1, from a number
 * on that they cannot take below 0: with sum |w| <= CQ_LANE_BUDGET no lane rises above 2^16 - 1
 * either, so that plain 32-bit products do to both lanes what they should.  They are subtracted
 * from what leaves sum w x in signed lanes when the weights of 1 have been added; these two steps
 * are modulo 2^16.
 */
struct cq_lanes {
    uint32_t r0, r1, r2, r3, r4, r5, r6, r7;
};

/* The same in both lanes. */
static inline uint32_t cq_in_lanes(uint32_t lane)
{
    return lane | lane << 16;
}

static inline struct cq_lanes cq_lanes_same(uint32_t both)
{
    const struct cq_lanes lanes = {both, both, both, both, both, both, both, both};
    return lanes;
}

/* 13 instructions for 16 products by 1, those of the list included (Cortex-M4, gcc 12). */
static inline struct cq_lanes cq_lanes_add(struct cq_lanes sum, const uint32_t *x)
{
    uint32_t first;
    uint32_t second;
    cq_load_words23(x, &first, &second);
    sum.r4 = cq_uxtab16(sum.r4, first);
    sum.r5 = cq_uxtab16_ror8(sum.r5, first);
    sum.r6 = cq_uxtab16(sum.r6, second);
    sum.r7 = cq_uxtab16_ror8(sum.r7, second);
    cq_load_words01(x, &first, &second);
    sum.r0 = cq_uxtab16(sum.r0, first);
    sum.r1 = cq_uxtab16_ror8(sum.r1, first);
    sum.r2 = cq_uxtab16(sum.r2, second);
    sum.r3 = cq_uxtab16_ror8(sum.r3, second);
    return sum;
}

/* The first of a list: the same, from equal lanes on. */
static inline struct cq_lanes cq_lanes_first(uint32_t start, const uint32_t *x)
{
    struct cq_lanes sum;
    uint32_t first;
    uint32_t second;
    cq_load_words23(x, &first, &second);
    sum.r4 = cq_uxtab16(start, first);
    sum.r5 = cq_uxtab16_ror8(start, first);
    sum.r6 = cq_uxtab16(start, second);
    sum.r7 = cq_uxtab16_ror8(start, second);
    cq_load_words01(x, &first, &second);
    sum.r0 = cq_uxtab16(start, first);
    sum.r1 = cq_uxtab16_ror8(start, first);
    sum.r2 = cq_uxtab16(start, second);
    sum.r3 = cq_uxtab16_ror8(start, second);
    return sum;
}

/* 25 instructions for 16 products by any weight. */
static inline struct cq_lanes cq_lanes_multiply_add(struct cq_lanes sum, const uint32_t *x,
                                                    uint32_t weight)
{
    uint32_t first;
    uint32_t second;
    cq_load_words23(x, &first, &second);
    sum.r4 += cq_uxtb16(first) * weight;
    sum.r5 += cq_uxtb16_ror8(first) * weight;
    sum.r6 += cq_uxtb16(second) * weight;
    sum.r7 += cq_uxtb16_ror8(second) * weight;
    cq_load_words01(x, &first, &second);
    sum.r0 += cq_uxtb16(first) * weight;
    sum.r1 += cq_uxtb16_ror8(first) * weight;
    sum.r2 += cq_uxtb16(second) * weight;
    sum.r3 += cq_uxtb16_ror8(second) * weight;
    return sum;
}

static inline struct cq_lanes cq_lanes_subtract_from(uint32_t start, struct cq_lanes sum)
{
    const struct cq_lanes lanes = {cq_ssub16(start, sum.r0), cq_ssub16(start, sum.r1),
                                   cq_ssub16(start, sum.r2), cq_ssub16(start, sum.r3),
                                   cq_ssub16(start, sum.r4), cq_ssub16(start, sum.r5),
                                   cq_ssub16(start, sum.r6), cq_ssub16(start, sum.r7)};
    return lanes;
}

static inline struct cq_lanes cq_lanes_double(struct cq_lanes sum)
{
    const struct cq_lanes lanes = {sum.r0 + sum.r0, sum.r1 + sum.r1, sum.r2 + sum.r2,
                                   sum.r3 + sum.r3, sum.r4 + sum.r4, sum.r5 + sum.r5,
                                   sum.r6 + sum.r6, sum.r7 + sum.r7};
    return lanes;
}

static inline void cq_lanes_store(uint32_t *registers, struct cq_lanes sum)
{
    registers[0] = sum.r0;
    registers[1] = sum.r1;
    registers[2] = sum.r2;
    registers[3] = sum.r3;
    registers[4] = sum.r4;
    registers[5] = sum.r5;
    registers[6] = sum.r6;
    registers[7] = sum.r7;
}

#endif
