/* SPDX-License-Identifier: Apache-2.0 */
/* Maximum pooling in portable C99: the output is the largest of the taps so far. */
#include <codeq/maxpool2d.h>

#include "../bytes.h"
#include "../numerics.h"
#include "../window.h"

/* 7 instructions a channel (Cortex-M3, gcc 12). */
CQ_FAST_CODE static void cq_maxpool2d_tap(const int8_t *tap, int32_t channels, int8_t *out)
{
    for (int32_t c = 0; c < channels; ++c) {
        if (tap[c] > out[c]) {
            out[c] = tap[c];
        }
    }
}

enum cq_status cq_maxpool2d_s8_ref(const struct cq_maxpool2d_params *params, const int8_t *in,
                                   int8_t *out, void *scratch)
{
    const int32_t pixel = params->in.c;
    int8_t *at = out;
    (void)scratch;
    for (int32_t oy = 0; oy < params->out.h; ++oy) {
        const struct cq_window rows =
            cq_window_at(oy, params->stride.h, params->pad.h, params->kernel.h, params->dilation.h,
                         params->in.h);
        for (int32_t ox = 0; ox < params->out.w; ++ox, at += pixel) {
            const struct cq_window columns =
                cq_window_at(ox, params->stride.w, params->pad.w, params->kernel.w,
                             params->dilation.w, params->in.w);
            cq_fill(at, params->clamp_min, pixel);
            for (int32_t ky = rows.first; ky < rows.end; ++ky) {
                const int32_t y = rows.start + ky * params->dilation.h;
                for (int32_t kx = columns.first; kx < columns.end; ++kx) {
                    const int32_t x = columns.start + kx * params->dilation.w;
                    cq_maxpool2d_tap(in + (y * params->in.w + x) * pixel, pixel, at);
                }
            }
        }
    }
    if (params->clamp_max < INT8_MAX) {
        for (; out != at; ++out) {
            *out = cq_clamp_to_int8(*out, INT8_MIN, params->clamp_max);
        }
    }
    return CQ_OK;
}
