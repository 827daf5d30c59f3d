/* SPDX-License-Identifier: Apache-2.0 */
/* Constant padding in portable C99. */
#include <codeq/pad.h>

#include "../bytes.h"

enum cq_status cq_pad_s8_ref(const struct cq_pad_params *params, const int8_t *in, int8_t *out,
                             void *scratch)
{
    (void)scratch;
    const struct cq_shape before = params->before;
    const struct cq_shape after = {params->out.h - params->in.h - before.h,
                                   params->out.w - params->in.w - before.w,
                                   params->out.c - params->in.c - before.c};
    const int32_t row = params->out.w * params->out.c;
    out = cq_fill(out, params->value, before.h * row);
    for (int32_t y = 0; y < params->in.h; ++y) {
        out = cq_fill(out, params->value, before.w * params->out.c);
        for (int32_t x = 0; x < params->in.w; ++x, in += params->in.c) {
            out = cq_fill(out, params->value, before.c);
            out = cq_copy(out, in, params->in.c);
            out = cq_fill(out, params->value, after.c);
        }
        out = cq_fill(out, params->value, after.w * params->out.c);
    }
    cq_fill(out, params->value, after.h * row);
    return CQ_OK;
}
