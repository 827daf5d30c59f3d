/* SPDX-License-Identifier: Apache-2.0 */
/* Mean over all pixels with Helium. */
#include <codeq/mean.h>

#include "../mve.h"

#ifdef CQ_HAS_MVE

#include "../scale_mve.h"
#include "../window_mve.h"

enum cq_status cq_mean_s8_mve(const struct cq_mean_params *params, const int8_t *in, int8_t *out,
                              void *scratch)
{
    const struct cq_pixels all = {1, params->pixels, 0, params->channels};
    const int32_t zeros = params->in_zero * params->pixels;
    (void)scratch;
    for (int32_t c = 0; c < params->channels; c += 4) {
        const mve_pred16_t lanes = vctp32q((uint32_t)(params->channels - c));
        const int32x4_t sum = vsubq_n_s32(cq_sum_pixels(in + c, all, lanes), zeros);
        vstrbq_p_s32(out + c,
                     cq_scale_to_int8(sum, params->scale, params->out_zero, params->clamp_min,
                                      params->clamp_max),
                     lanes);
    }
    return CQ_OK;
}

#endif
