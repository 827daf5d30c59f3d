/* SPDX-License-Identifier: Apache-2.0 */
/* Maximum pooling with Helium, 16 channels at a time. */
#include <codeq/maxpool2d.h>

#include "../mve.h"

#ifdef CQ_HAS_MVE

#include "../window.h"

/* Channels first..first + 15 of one window. */
CQ_INLINE int8x16_t cq_maxpool2d_largest(const struct cq_maxpool2d_params *params, const int8_t *in,
                                         struct cq_window rows, struct cq_window columns,
                                         mve_pred16_t lanes)
{
    const int32_t step = params->dilation.w * params->in.c;
    int8x16_t largest = vdupq_n_s8(params->clamp_min);
    for (int32_t ky = rows.first; ky < rows.end; ++ky) {
        const int32_t y = rows.start + ky * params->dilation.h;
        const int32_t x = columns.start + columns.first * params->dilation.w;
        const int8_t *from = in + (y * params->in.w + x) * params->in.c;
        for (int32_t kx = columns.first; kx < columns.end; ++kx, from += step) {
            largest = vmaxq_s8(largest, vldrbq_z_s8(from, lanes));
        }
    }
    return vminq_s8(largest, vdupq_n_s8(params->clamp_max));
}

enum cq_status cq_maxpool2d_s8_mve(const struct cq_maxpool2d_params *params, const int8_t *in,
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
            for (int32_t c = 0; c < params->in.c; c += 16) {
                const mve_pred16_t lanes = cq_first_lanes(params->in.c - c);
                vstrbq_p_s8(out + c, cq_maxpool2d_largest(params, in + c, rows, columns, lanes),
                            lanes);
            }
            out += params->in.c;
        }
    }
    return CQ_OK;
}

#endif
