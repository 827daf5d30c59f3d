/* SPDX-License-Identifier: Apache-2.0 */
/* Maximum pooling in portable C99. */
#include <codeq/maxpool2d.h>

#include "../numerics.h"
#include "../window.h"

static int32_t cq_maxpool2d_largest(const struct cq_maxpool2d_params *params, const int8_t *in,
                                    struct cq_window rows, struct cq_window columns)
{
    int32_t largest = INT8_MIN;
    for (int32_t ky = rows.first; ky < rows.end; ++ky) {
        const int32_t y = rows.start + ky * params->dilation.h;
        const int8_t *const row = in + y * params->in.w * params->in.c;
        for (int32_t kx = columns.first; kx < columns.end; ++kx) {
            const int32_t value = row[(columns.start + kx * params->dilation.w) * params->in.c];
            largest = value > largest ? value : largest;
        }
    }
    return largest;
}

enum cq_status cq_maxpool2d_s8_ref(const struct cq_maxpool2d_params *params, const int8_t *in,
                                   int8_t *out, void *scratch)
{
    (void)scratch;
    for (int32_t oy = 0; oy < params->out.h; ++oy) {
        const struct cq_window rows =
            cq_window_at(oy, params->stride.h, params->pad.h, params->kernel.h, params->dilation.h,
                         params->in.h);
        for (int32_t ox = 0; ox < params->out.w; ++ox) {
            const struct cq_window columns =
                cq_window_at(ox, params->stride.w, params->pad.w, params->kernel.w,
                             params->dilation.w, params->in.w);
            for (int32_t c = 0; c < params->in.c; ++c) {
                *out++ = cq_clamp_to_int8(cq_maxpool2d_largest(params, in + c, rows, columns),
                                          params->clamp_min, params->clamp_max);
            }
        }
    }
    return CQ_OK;
}
