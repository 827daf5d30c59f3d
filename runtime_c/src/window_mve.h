/* SPDX-License-Identifier: Apache-2.0 */
/* Sums of the pixels of a window with Helium, four channels at a time. */
#ifndef CODEQ_SRC_WINDOW_MVE_H
#define CODEQ_SRC_WINDOW_MVE_H

#include "mve.h"

/* Pixels of an image, `row_step` and `pixel_step` bytes apart. */
struct cq_pixels {
    int32_t rows, columns;
    int32_t row_step, pixel_step;
};

/** @brief Sums of four channels from `first` on, of which `lanes` are read. */
CQ_INLINE int32x4_t cq_sum_pixels(const int8_t *first, struct cq_pixels pixels, mve_pred16_t lanes)
{
    int32x4_t sum = vdupq_n_s32(0);
    for (int32_t row = 0; row < pixels.rows; ++row, first += pixels.row_step) {
        const int8_t *x = first;
        for (int32_t column = 0; column < pixels.columns; ++column, x += pixels.pixel_step) {
            sum = vaddq_s32(sum, vldrbq_z_s32(x, lanes));
        }
    }
    return sum;
}

#endif
