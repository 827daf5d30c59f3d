/* SPDX-License-Identifier: Apache-2.0 */
/* Average pooling in portable C99. */
#include "body.h"

enum cq_status cq_avgpool2d_s8_ref(const struct cq_avgpool2d_params *params, const int8_t *in,
                                   int8_t *out, void *scratch)
{
    const int8_t *const end = out + params->out.h * params->out.w * params->out.c;
    (void)scratch;
    cq_avgpool2d_any(params, in, out, NULL);
    if (params->clamp_min > INT8_MIN || params->clamp_max < INT8_MAX) {
        for (; out != end; ++out) {
            *out = cq_clamp_to_int8(*out, params->clamp_min, params->clamp_max);
        }
    }
    return CQ_OK;
}
