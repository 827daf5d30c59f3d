/* SPDX-License-Identifier: Apache-2.0 */
/* The loop nest of pooling kernels: calls of what reduces many windows. */
#ifndef CODEQ_SRC_POOL_H
#define CODEQ_SRC_POOL_H

#include <codeq/types.h>

#include "attributes.h"
#include "window.h"

/* Windows along one axis of an image. */
struct cq_pool_axis {
    int32_t in, out, kernel, stride, dilation, pad;
    int32_t pixel; /* bytes from one pixel to the next */
};

/* Windows side by side of which the same taps lie inside the image. */
struct cq_pool_run {
    const int8_t *in;        /* first tap of the first window */
    int8_t *out;             /* its output */
    int32_t windows, step;   /* how many; bytes from one to the next */
    int32_t rows, columns;   /* taps of each, columns >= 1, rows may be 0 */
    int32_t row_step, pixel; /* bytes from one tap to the next */
    int32_t channels;
};

/* Channels c..end - 1, one by one. */
typedef void cq_pool_each_fn(const struct cq_pool_run *run, int32_t c, int32_t end);

/*
 * Four channels from channel c on and four from c + second on.  Where there are at least four they
 * are taken so: the first eight may overlap the next ones, and the halves of fewer than eight
 * overlap; what is computed twice is the same.
 */
typedef void cq_pool_eight_fn(const struct cq_pool_run *run, int32_t c, int32_t second);

static CQ_INLINE void cq_pool_channels(const struct cq_pool_run *run, cq_pool_each_fn *each,
                                       cq_pool_eight_fn *eight)
{
    const int32_t channels = run->channels;
    if (eight == NULL || channels < 4) {
        each(run, 0, channels);
        return;
    }
    const int32_t second = channels < 8 ? channels - 4 : 4;
    int32_t count = (channels - 1) % 8 + 1;
    for (int32_t c = 0; c < channels; c += count, count = 8) {
        eight(run, c, second);
    }
}

/* Seldom computed: a call is shorter. */
CQ_NOINLINE static struct cq_window cq_pool_window(const struct cq_pool_axis *axis, int32_t out)
{
    return cq_window_at(out, axis->stride, axis->pad, axis->kernel, axis->dilation, axis->in);
}

/**
 * @brief Reduce the part of each window that lies inside the image.
 *
 * @param each   always
 * @param eight  NULL where all channels are taken one by one
 */
static CQ_INLINE void cq_pool_windows(const struct cq_pool_axis *y, const struct cq_pool_axis *x,
                                      int32_t channels, const int8_t *in, int8_t *out,
                                      cq_pool_each_fn *each, cq_pool_eight_fn *eight)
{
    if (x->out == 1) { /* a series: what is below each other becomes side by side */
        const struct cq_pool_axis *const only = y;
        y = x;
        x = only;
    }
    struct cq_pool_run run;
    run.step = x->stride * x->pixel;
    run.row_step = y->dilation * y->pixel;
    run.pixel = x->dilation * x->pixel;
    run.channels = channels;
    for (int32_t oy = 0; oy < y->out; ++oy) {
        const struct cq_window rows = cq_pool_window(y, oy);
        for (int32_t ox = 0; ox < x->out; ox += run.windows) {
            const struct cq_window columns = cq_pool_window(x, ox);
            run.in = in;
            run.windows = 1;
            run.rows = 0;
            run.columns = 1;
            if (rows.first < rows.end && columns.first < columns.end) {
                run.in += (rows.start + rows.first * y->dilation) * y->pixel +
                          (columns.start + columns.first * x->dilation) * x->pixel;
                run.rows = rows.end - rows.first;
                run.columns = columns.end - columns.first;
            }
            if (run.rows > 0 && run.columns == x->kernel) {
                const int32_t last = columns.start + (x->kernel - 1) * x->dilation;
                run.windows += (x->in - 1 - last) / x->stride;
                CQ_ASSERT(ox + run.windows <= x->out);
            }
            run.out = out;
            cq_pool_channels(&run, each, eight);
            out += run.windows * channels;
        }
    }
}

#endif
