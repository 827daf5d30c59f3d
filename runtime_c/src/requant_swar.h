/* SPDX-License-Identifier: Apache-2.0 */
/* Requantization with one 32-bit product where that is certain to be exact.  Spec: NUMERICS.md §4.
 */
#ifndef CODEQ_SRC_REQUANT_SWAR_H
#define CODEQ_SRC_REQUANT_SWAR_H

#include "requant.h"
#include "swar.h"

/* The position of the output in an estimate: what lies below it is the fraction. */
#define CQ_WINDOW_FRACTION 23

/* Outputs of a channel from which on a window pays. */
#define CQ_WINDOW_MIN 4

/*
 * Outputs are a rising function of the accumulator: below some `first` it is clamp_min, above
 * first + width clamp_max.  In between, with a right shift r of at least 1 [N2.4] [N2.5],
 *
 *   output - clamp_min = floor(((acc * m + 2^30) / 2^31 + 2^(r-1) - (acc < 0)) / 2^r) - low
 *
 * where the inner floors may be left out, as always.  The estimate is this number times 2^23, from
 * the upper 16 bits of m and of acc - first, and never too large.  Where its fraction is not above
 * `certain`, no missing bit can reach the next integer, and its integer is exact; elsewhere, for
 * one accumulator in about forty, the full product decides.
 */
struct cq_window {
    int32_t first;
    uint32_t width;
    uint32_t shift;   /* of acc - first */
    uint32_t factor;  /* of what remains */
    uint32_t phase;   /* the estimate at `first` */
    uint32_t certain; /* largest such fraction, at the top of a word */
};

/** @brief 2^46 / m to one part in 2^12, for m in [2^30, 2^31): two Newton steps. */
static inline int32_t cq_window_reciprocal(int32_t m)
{
    const uint32_t divisor = (uint32_t)m >> 15;
    /* 48/17 - 32/17 * m is within 1/17 */
    uint32_t inverse = 92522u - (divisor * 61681u >> 16);
    for (int step = 0; step < 2; ++step) {
        const int32_t error = cq_to_signed((UINT32_C(1) << 31) - inverse * divisor);
        inverse += (uint32_t)cq_shift_right((int32_t)inverse * cq_shift_right(error, 17u), 14u);
    }
    return (int32_t)inverse;
}

/** @brief Prepare a channel; false where the estimate does not serve it. */
static int cq_window_open(const struct cq_channel *channel, struct cq_window *window)
{
    const int32_t m = channel->multiplier;
    if (channel->exponent > -1 || channel->exponent < -20 || m < INT32_C(1) << 30) {
        return 0;
    }
    const uint32_t right = (uint32_t)-channel->exponent;
    const uint32_t shift = right > 7u ? right - 7u : 0u;
    const uint32_t dropped = 8u + right - shift; /* bits of m, 9 to 15 */
    const int32_t rest = (int32_t)((uint32_t)m & ((UINT32_C(1) << dropped) - 1u));
    const int32_t factor = (int32_t)((uint32_t)m >> dropped);
    const int32_t inverse = cq_window_reciprocal(m);
    const int32_t low = channel->clamp_min - channel->zero_point;
    const int32_t high = channel->clamp_max - channel->zero_point;
    /* about the middle of the accumulators that give `low` and `high` */
    const int32_t first = cq_shift_right(low * inverse, 23u - dropped);
    const int32_t last = cq_shift_right(high * inverse, 23u - dropped);
    const uint32_t half = UINT32_C(1) << (CQ_WINDOW_FRACTION - 1);
    /* one less before the second rounding where the accumulator is negative [N2.5] */
    const uint32_t sign = first < 0 ? 2u * half >> right : 0u;
    uint32_t missing = 1u + sign;
    missing += shift > 0u ? UINT32_C(1) << 16 : 0u;
    missing += rest > 0 ? UINT32_C(1) << 16 : 0u;
    window->first = cq_shift_left(first, shift);
    window->width = (uint32_t)(last - first) << shift;
    window->shift = shift;
    window->factor = (uint32_t)factor;
    window->phase = (uint32_t)first * (uint32_t)factor +
                    (uint32_t)cq_shift_right(first * rest, dropped) + half + (half >> right) -
                    ((uint32_t)low << CQ_WINDOW_FRACTION) - sign;
    window->certain = (2u * half - 1u - missing) << (32 - CQ_WINDOW_FRACTION);
    return 1;
}

/* Outputs of one channel: its numbers, and a window where one pays. */
struct cq_outputs {
    struct cq_channel channel;
    struct cq_window window;
    int has_window;
};

/** @brief Decide how `count` values of a channel that is set will be written. */
static void cq_prepare_outputs(struct cq_outputs *outputs, int32_t count)
{
    outputs->has_window =
        count >= CQ_WINDOW_MIN && cq_window_open(&outputs->channel, &outputs->window);
}

/** @brief As cq_rounding_divide_by_pot(), for x above INT32_MIN and an exponent of 1 or more. */
static inline int32_t cq_swar_divide_by_pot(int32_t x, uint32_t exponent)
{
    /* half away from zero: one less where x is negative, then half up */
    const int32_t lowered = x - (x < 0 ? 1 : 0);
    return cq_shift_right(cq_shift_right(lowered, exponent - 1u) + 1, 1u);
}

/**
 * @brief Outputs from sums of negated weights. [N4.2]
 *
 * @param sums  `count` of them, `sums_step` apart; the accumulator is the bias minus the sum
 * @param out   outputs, `out_step` apart
 */
CQ_FAST_CODE CQ_ALONE static void cq_store_outputs(const struct cq_outputs *outputs,
                                                   const int32_t *sums, int32_t sums_step,
                                                   int32_t count, int8_t *out, int32_t out_step)
{
    const int32_t bias = outputs->channel.bias;
    if (!outputs->has_window) {
        for (; count > 0; --count, sums += sums_step, out += out_step) {
            *out = (int8_t)cq_requantize_slowly(bias - *sums, &outputs->channel);
        }
        return;
    }
    const struct cq_window window = outputs->window; /* stores of int8 do not alias a copy */
    const int32_t low = outputs->channel.clamp_min;
    const int32_t high = outputs->channel.clamp_max;
    const uint32_t start = (uint32_t)bias - (uint32_t)window.first;
    for (; count > 0; --count, sums += sums_step, out += out_step) {
        const uint32_t inside = start - (uint32_t)*sums;
        int32_t y;
        if (inside > window.width) {
            y = bias - *sums < window.first ? low : high;
        } else {
            const uint32_t estimate = (inside >> window.shift) * window.factor + window.phase;
            y = (int32_t)(estimate >> CQ_WINDOW_FRACTION) + low;
            if (estimate << (32 - CQ_WINDOW_FRACTION) > window.certain) {
                y = cq_requantize_slowly(bias - *sums, &outputs->channel);
            }
        }
        *out = (int8_t)y;
    }
}

#endif
