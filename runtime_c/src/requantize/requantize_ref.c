/* SPDX-License-Identifier: Apache-2.0 */
/* Change of grid in portable C99. */
#include <codeq/requantize.h>

#include "../requant.h"

enum cq_status cq_requantize_s8_ref(const struct cq_requantize_params *params, const int8_t *in,
                                    int8_t *out, void *scratch)
{
    (void)scratch;
    for (int32_t i = 0; i < params->size; ++i) {
        out[i] = cq_rescale(in[i] - params->in_zero, params->scale, params->out_zero,
                            params->clamp_min, params->clamp_max);
    }
    return CQ_OK;
}
