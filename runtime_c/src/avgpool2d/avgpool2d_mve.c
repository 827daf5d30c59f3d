/* SPDX-License-Identifier: Apache-2.0 */
/* Average pooling with Helium; it has no division, which stays scalar [N2.7]. */
#include <codeq/avgpool2d.h>

#include "../mve.h"

#ifdef CQ_HAS_MVE

#include "../numerics.h"
#include "../window.h"
#include "../window_mve.h"

/* All channels of one window. */
CQ_FAST_CODE static void cq_avgpool2d_window(const struct cq_avgpool2d_params *params,
                                             const int8_t *first, struct cq_pixels pixels,
                                             int8_t *out)
{
    const int32_t count = pixels.rows * pixels.columns;
    const int32_t channels = params->in.c;
    CQ_ASSERT(count > 0);
    for (int32_t c = 0; c < channels; c += 4) {
        const mve_pred16_t lanes = vctp32q((uint32_t)(channels - c));
        int32_t sums[4];
        vstrwq_s32(sums, cq_sum_pixels(first + c, pixels, lanes));
        for (int32_t lane = 0; lane < 4 && c + lane < channels; ++lane) {
            const int32_t half = sums[lane] > 0 ? count / 2 : -(count / 2);
            *out++ =
                cq_clamp_to_int8((sums[lane] + half) / count, params->clamp_min, params->clamp_max);
        }
    }
}

enum cq_status cq_avgpool2d_s8_mve(const struct cq_avgpool2d_params *params, const int8_t *in,
                                   int8_t *out, void *scratch)
{
    const int32_t row_step = params->in.w * params->in.c;
    (void)scratch;
    for (int32_t oy = 0; oy < params->out.h; ++oy) {
        const struct cq_window rows =
            cq_window_at(oy, params->stride.h, params->pad.h, params->kernel.h, 1, params->in.h);
        for (int32_t ox = 0; ox < params->out.w; ++ox) {
            const struct cq_window columns = cq_window_at(ox, params->stride.w, params->pad.w,
                                                          params->kernel.w, 1, params->in.w);
            const struct cq_pixels pixels = {rows.end - rows.first, columns.end - columns.first,
                                             row_step, params->in.c};
            cq_avgpool2d_window(params,
                                in + (rows.start + rows.first) * row_step +
                                    (columns.start + columns.first) * params->in.c,
                                pixels, out);
            out += params->in.c;
        }
    }
    return CQ_OK;
}

#endif
