/* SPDX-License-Identifier: Apache-2.0 */
/* Average pooling, four channels at a time.  C rounds a quotient toward zero [N2.7], which half
 * prepares. */
#include <codeq/avgpool2d.h>

#include "../sums_dsp.h"
#include "../window.h"

/* One pixel of the output, of all channels. */
static int8_t *cq_avgpool2d_pixel(const struct cq_avgpool2d_params *params, const int8_t *at,
                                  struct cq_rectangle size, int8_t *out)
{
    const int32_t count = size.rows * size.columns;
    CQ_ASSERT(count > 0);
    for (int32_t c = 0; c < params->in.c; c += 4) {
        int32_t sums[4];
        const int32_t channels = cq_sum_channels(at, size, params->in.c, c, sums);
        for (int32_t i = 0; i < channels; ++i) {
            const int32_t half = sums[i] > 0 ? count / 2 : -(count / 2);
            *out++ =
                cq_clamp_to_int8((sums[i] + half) / count, params->clamp_min, params->clamp_max);
        }
    }
    return out;
}

enum cq_status cq_avgpool2d_s8_dsp(const struct cq_avgpool2d_params *params, const int8_t *in,
                                   int8_t *out, void *scratch)
{
    const int32_t pixel = params->in.c;
    const int32_t row_step = params->in.w * pixel;
    (void)scratch;
    for (int32_t oy = 0; oy < params->out.h; ++oy) {
        const struct cq_window rows =
            cq_window_at(oy, params->stride.h, params->pad.h, params->kernel.h, 1, params->in.h);
        for (int32_t ox = 0; ox < params->out.w; ++ox) {
            const struct cq_window columns = cq_window_at(ox, params->stride.w, params->pad.w,
                                                          params->kernel.w, 1, params->in.w);
            const struct cq_rectangle size = {rows.end - rows.first, columns.end - columns.first,
                                              row_step, pixel};
            out = cq_avgpool2d_pixel(params,
                                     in + (rows.start + rows.first) * row_step +
                                         (columns.start + columns.first) * pixel,
                                     size, out);
        }
    }
    return CQ_OK;
}
