/* SPDX-License-Identifier: Apache-2.0 */
/* Mean over all pixels in portable C99. */
#include <codeq/mean.h>

#include "../requant.h"

enum cq_status cq_mean_s8_ref(const struct cq_mean_params *params, const int8_t *in, int8_t *out,
                              void *scratch)
{
    (void)scratch;
    for (int32_t c = 0; c < params->channels; ++c) {
        int32_t sum = -params->in_zero * params->pixels;
        for (int32_t pixel = 0; pixel < params->pixels; ++pixel) {
            sum += in[pixel * params->channels + c];
        }
        out[c] =
            cq_rescale(sum, params->scale, params->out_zero, params->clamp_min, params->clamp_max);
    }
    return CQ_OK;
}
