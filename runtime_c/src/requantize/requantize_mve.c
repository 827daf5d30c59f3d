/* SPDX-License-Identifier: Apache-2.0 */
/* Change of grid with Helium, four elements at a time. */
#include <codeq/requantize.h>

#include "../mve.h"

#ifdef CQ_HAS_MVE

#include "../scale_mve.h"

CQ_INLINE int32x4_t cq_requantize4(const struct cq_requantize_params *params, int32x4_t x)
{
    return cq_scale_to_int8(vsubq_n_s32(x, params->in_zero), params->scale, params->out_zero,
                            params->clamp_min, params->clamp_max);
}

enum cq_status cq_requantize_s8_mve(const struct cq_requantize_params *source, const int8_t *in,
                                    int8_t *out, void *scratch)
{
    const struct cq_requantize_params params = *source;
    int32_t left = params.size;
    (void)scratch;
    for (; left >= 4; left -= 4, in += 4, out += 4) {
        vstrbq_s32(out, cq_requantize4(&params, vldrbq_s32(in)));
    }
    if (left > 0) {
        const mve_pred16_t lanes = vctp32q((uint32_t)left);
        vstrbq_p_s32(out, cq_requantize4(&params, vldrbq_z_s32(in, lanes)), lanes);
    }
    return CQ_OK;
}

#endif
