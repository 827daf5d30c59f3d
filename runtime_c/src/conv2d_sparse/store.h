/* SPDX-License-Identifier: Apache-2.0 */
/* From the lanes of one output channel to int8.  Spec: NUMERICS.md §4. */
#ifndef CODEQ_SRC_CONV2D_SPARSE_STORE_H
#define CODEQ_SRC_CONV2D_SPARSE_STORE_H

#include "../attributes.h"
#include "../dsp.h"
#include "../rectify_dsp.h"
#include "../requant.h"
#include "lanes.h"

/* How a channel is requantized; every form gives [N4.2]. */
enum cq_output_form {
    CQ_ANY,       /* as numerics.h writes it */
    CQ_SHORT,     /* right shift, nothing overflows on the way */
    CQ_RECTIFYING /* limits of int8, and the lower one is the zero point: nothing is seen of
                     negative values */
};

/* What the sums of a channel become. */
struct cq_output {
    uint32_t factor;    /* of a lane in t, or of a sum in an accumulator, */
    int32_t start;      /* added to it: the bias; */
    int32_t multiplier; /* of t, */
    int32_t rounding;   /* added to the product, or the zero point, */
    int8_t right;       /* and the shift to the right */
    int8_t clamp_min, clamp_max;
    uint8_t form;
};

/*
 * Short: t is twice the accumulator, so that the upper half of t m, rounded, is [N2.4].  Ties
 * go away from zero [N2.5] because results below zero lose 1.  Only for t = -2 the sign of t may
 * not be that of the result: then the result is 0, and the 1 is lost in the shift.
 *
 * Rectifying: rectify_dsp.h.
 */

/* True where 2^left times any sum of a lane is an int32, its bias included, and 2^left times a unit
 * an int16. */
static inline int cq_output_fits(int32_t bias, int32_t unit, int32_t left)
{
    const int32_t room = (INT32_MAX >> left) - (unit << 16);
    return bias < room && bias > -room;
}

/**
 * @brief What follows from the constants of a channel.
 *
 * @param unit      sums count multiples of it
 * @param is_split  sums do not come from lanes
 */
static inline struct cq_output cq_output_of(struct cq_channel channel, int32_t unit, int is_split)
{
    const int32_t right = -channel.exponent;
    const int32_t left = cq_rectify_left(right);
    struct cq_output output = {(uint32_t)unit,
                               channel.bias,
                               channel.multiplier,
                               channel.zero_point,
                               (int8_t)right,
                               (int8_t)channel.clamp_min,
                               (int8_t)channel.clamp_max,
                               CQ_ANY};
    int32_t shift;
    if (is_split) {
        return output;
    }
    if (channel.clamp_min == -128 && channel.clamp_max == 127 && channel.zero_point == -128 &&
        left >= 2 && left <= 14 && cq_output_fits(channel.bias, unit, left)) {
        output.form = CQ_RECTIFYING;
        output.rounding = cq_rectify_rounding(right, channel.zero_point);
        shift = left;
    } else if (right >= 1 && right <= 20 && cq_output_fits(channel.bias, unit, 2)) {
        output.form = CQ_SHORT;
        output.rounding = (INT32_C(1) << (right - 1)) + channel.zero_point * (INT32_C(1) << right);
        shift = 1;
    } else {
        return output;
    }
    output.factor = (uint32_t)unit << shift;
    output.start = cq_to_signed((uint32_t)channel.bias << shift);
    return output;
}

/* Where the pixels of a run of words go, from its first one on: neighbours in each of the four
 * parts of the output. */
struct cq_place {
    int32_t step;      /* from a pixel to its neighbour */
    int32_t next;      /* to the next part */
    int32_t widths[4]; /* pixels of each part: no more than of the part before it */
    int32_t groups;    /* of words */
};

static CQ_INLINE int8_t cq_scale(int32_t t, const struct cq_output *output, int is_rectifying)
{
    if (is_rectifying) {
        return (int8_t)cq_rectify(t, output->multiplier, output->rounding);
    }
    const int32_t rounded = cq_smmlar(t, output->multiplier, output->rounding) - (t < 0);
    return cq_clamp_to_int8(cq_shift_right(rounded, (uint32_t)output->right), output->clamp_min,
                            output->clamp_max);
}

/*
 * All pixels of a run from its lanes: 5 instructions a pixel that is in every part where the form
 * is rectifying, twice as many where it is short (Cortex-M4, gcc 12).  Where the last parts have no
 * pixel any more, what their lanes hold goes to the last part that has one, before that part's own.
 */
static CQ_INLINE void cq_store_lanes(const struct cq_output *output, const uint32_t *registers,
                                     const struct cq_place *place, int8_t *out, int is_rectifying)
{
    const struct cq_output local = *output; /* what is stored may alias nothing of it */
    const int32_t step = place->step;
    const uint32_t *const begin = registers;
    const uint32_t *const all = begin + 2 * place->widths[0];
    int32_t to1 = place->next;
    int32_t to2 = 2 * to1;
    int32_t to3 = 3 * to1;
    for (const int32_t *width = place->widths + CQ_LANES - 1;; --width) {
        const uint32_t *const end = begin + 2 * *width;
        for (; registers != end; out += step) {
            const struct cq_pair_of_words lanes = cq_next_two(&registers);
            const uint32_t even = lanes.w0;
            const uint32_t odd = lanes.w1;
            out[to3] = cq_scale(cq_smlatb(odd, local.factor, local.start), &local, is_rectifying);
            out[to2] = cq_scale(cq_smlatb(even, local.factor, local.start), &local, is_rectifying);
            out[to1] = cq_scale(cq_smlabb(odd, local.factor, local.start), &local, is_rectifying);
            out[0] = cq_scale(cq_smlabb(even, local.factor, local.start), &local, is_rectifying);
        }
        if (registers == all) {
            return;
        }
        to3 -= place->next;
        to2 = to2 < to3 ? to2 : to3;
        to1 = to1 < to3 ? to1 : to3;
    }
}

CQ_FAST_CODE CQ_HOT_LOOP static void cq_store_rectified(const struct cq_output *output,
                                                        const uint32_t *registers,
                                                        const struct cq_place *place, int8_t *out)
{
    cq_store_lanes(output, registers, place, out, 1);
}

CQ_FAST_CODE CQ_HOT_LOOP static void cq_store_rounded(const struct cq_output *output,
                                                      const uint32_t *registers,
                                                      const struct cq_place *place, int8_t *out)
{
    cq_store_lanes(output, registers, place, out, 0);
}

/* Whichever of the two it is. */
static inline void cq_store(const struct cq_output *output, const uint32_t *registers,
                            const struct cq_place *place, int8_t *out)
{
    if (output->form == CQ_RECTIFYING) {
        cq_store_rectified(output, registers, place, out);
    } else {
        cq_store_rounded(output, registers, place, out);
    }
}

/* Any requantization of sums: those of the lower lanes of a group, register by register, then those
 * of the upper ones. */
CQ_NOINLINE static void cq_store_sums(const struct cq_output *output, const int32_t *sums,
                                      const struct cq_place *place, int8_t *out)
{
    for (int32_t part = 0; part < CQ_LANES; ++part, out += place->next) {
        const int32_t *const sum = sums + (part >> 1) * CQ_REGISTERS + (part & 1);
        for (int32_t i = 0; i < place->widths[part]; ++i) {
            const int32_t at = i / CQ_GROUP * 2 * CQ_REGISTERS + i % CQ_GROUP * 2;
            const int32_t acc =
                cq_to_signed((uint32_t)sum[at] * output->factor + (uint32_t)output->start);
            const int32_t scaled = cq_requantize(acc, output->multiplier, -output->right);
            out[i * place->step] =
                cq_offset_to_int8(scaled, output->rounding, output->clamp_min, output->clamp_max);
        }
    }
}

#endif
