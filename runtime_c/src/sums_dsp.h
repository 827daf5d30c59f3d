/* SPDX-License-Identifier: Apache-2.0 */
/* Sums of channels over pixels, two channels a register. */
#ifndef CODEQ_SRC_SUMS_DSP_H
#define CODEQ_SRC_SUMS_DSP_H

#include "attributes.h"
#include "dsp.h"

#define CQ_LANE_PIXELS 256 /* int8 values whose sum is an int16, whatever they are */

/* Pixels of a rectangle, four neighbouring channels of which are added up. */
struct cq_rectangle {
    int32_t rows, columns;
    int32_t row_step, pixel; /* bytes from one to the next */
};

/* The first `count` <= CQ_LANE_PIXELS pixels of a row: 6 instructions for four channels (Cortex-M4,
 * gcc 12). */
static inline void cq_add_pixels(const int8_t *at, int32_t pixel, int32_t count, int32_t *sums)
{
    uint32_t even = 0u;
    uint32_t odd = 0u;
    for (const int8_t *const end = at + count * pixel; at != end; at += pixel) {
        const uint32_t word = cq_load4(at);
        even = cq_sxtab16(even, word);
        odd = cq_sxtab16_ror8(odd, word);
    }
    sums[0] += (int16_t)(uint16_t)even;
    sums[1] += (int16_t)(uint16_t)odd;
    sums[2] += (int16_t)(uint16_t)(even >> 16);
    sums[3] += (int16_t)(uint16_t)(odd >> 16);
}

/** @brief Add the pixels from `at` on to the sums of four channels. */
CQ_FAST_CODE CQ_NOINLINE static void cq_add_rectangle(const int8_t *at, struct cq_rectangle size,
                                                      int32_t *sums)
{
    for (; size.rows > 0; --size.rows, at += size.row_step) {
        for (int32_t first = 0; first < size.columns; first += CQ_LANE_PIXELS) {
            cq_add_pixels(at + first * size.pixel, size.pixel,
                          cq_limit(size.columns - first, 1, CQ_LANE_PIXELS), sums);
        }
    }
}

/** @brief The same for one channel: where there are not four. */
CQ_SELDOM static int32_t cq_sum_rectangle(const int8_t *at, struct cq_rectangle size)
{
    int32_t sum = 0;
    for (; size.rows > 0; --size.rows, at += size.row_step) {
        for (int32_t column = 0; column < size.columns; ++column) {
            sum += at[column * size.pixel];
        }
    }
    return sum;
}

/** @brief Sums of up to four channels from channel `c` of `channels` on; returns their number. */
static int32_t cq_sum_channels(const int8_t *at, struct cq_rectangle size, int32_t channels,
                               int32_t c, int32_t *sums)
{
    const int32_t count = cq_limit(channels - c, 1, 4);
    if (count == 4) {
        sums[0] = sums[1] = sums[2] = sums[3] = 0;
        cq_add_rectangle(at + c, size, sums);
        return count;
    }
    for (int32_t i = 0; i < count; ++i) {
        sums[i] = cq_sum_rectangle(at + c + i, size);
    }
    return count;
}

#endif
