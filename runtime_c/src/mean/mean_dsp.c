/* SPDX-License-Identifier: Apache-2.0 */
/* Mean over all pixels, four channels at a time. */
#include <codeq/mean.h>

#include "../requant.h"
#include "../sums_dsp.h"

enum cq_status cq_mean_s8_dsp(const struct cq_mean_params *params, const int8_t *in, int8_t *out,
                              void *scratch)
{
    const struct cq_rectangle image = {1, params->pixels, 0, params->channels};
    const int32_t zeros = params->in_zero * params->pixels;
    (void)scratch;
    for (int32_t c = 0; c < params->channels; c += 4) {
        int32_t sums[4];
        const int32_t channels = cq_sum_channels(in, image, params->channels, c, sums);
        for (int32_t i = 0; i < channels; ++i) {
            *out++ = cq_rescale(sums[i] - zeros, params->scale, params->out_zero, params->clamp_min,
                                params->clamp_max);
        }
    }
    return CQ_OK;
}
