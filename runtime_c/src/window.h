/* SPDX-License-Identifier: Apache-2.0 */
/* The part of a sliding window that lies inside the image, along one axis. */
#ifndef CODEQ_SRC_WINDOW_H
#define CODEQ_SRC_WINDOW_H

#include <stdint.h>

/* Taps [first, end) of a window; tap k is at pixel start + k * dilation. */
struct cq_window {
    int32_t start, first, end;
};

static inline struct cq_window cq_window_at(int32_t out, int32_t stride, int32_t pad,
                                            int32_t kernel, int32_t dilation, int32_t size)
{
    struct cq_window window = {out * stride - pad, 0, kernel};
    while (window.first < kernel && window.start + window.first * dilation < 0) {
        ++window.first;
    }
    while (window.end > window.first && window.start + (window.end - 1) * dilation >= size) {
        --window.end;
    }
    return window;
}

#endif
