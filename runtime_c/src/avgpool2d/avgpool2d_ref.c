/* SPDX-License-Identifier: Apache-2.0 */
/* Average pooling in portable C99.  C rounds a quotient toward zero [N2.7], which half prepares. */
#include <codeq/avgpool2d.h>

#include "../numerics.h"
#include "../window.h"

static int32_t cq_avgpool2d_sum(const struct cq_avgpool2d_params *params, const int8_t *in,
                                struct cq_window rows, struct cq_window columns)
{
    int32_t sum = 0;
    for (int32_t ky = rows.first; ky < rows.end; ++ky) {
        const int8_t *const row = in + (rows.start + ky) * params->in.w * params->in.c;
        for (int32_t kx = columns.first; kx < columns.end; ++kx) {
            sum += row[(columns.start + kx) * params->in.c];
        }
    }
    return sum;
}

enum cq_status cq_avgpool2d_s8_ref(const struct cq_avgpool2d_params *params, const int8_t *in,
                                   int8_t *out, void *scratch)
{
    (void)scratch;
    for (int32_t oy = 0; oy < params->out.h; ++oy) {
        const struct cq_window rows =
            cq_window_at(oy, params->stride.h, params->pad.h, params->kernel.h, 1, params->in.h);
        for (int32_t ox = 0; ox < params->out.w; ++ox) {
            const struct cq_window columns = cq_window_at(ox, params->stride.w, params->pad.w,
                                                          params->kernel.w, 1, params->in.w);
            const int32_t count = (rows.end - rows.first) * (columns.end - columns.first);
            CQ_ASSERT(count > 0);
            for (int32_t c = 0; c < params->in.c; ++c) {
                const int32_t sum = cq_avgpool2d_sum(params, in + c, rows, columns);
                const int32_t half = sum > 0 ? count / 2 : -(count / 2);
                *out++ =
                    cq_clamp_to_int8((sum + half) / count, params->clamp_min, params->clamp_max);
            }
        }
    }
    return CQ_OK;
}
