/* SPDX-License-Identifier: Apache-2.0 */
/* Element-wise sum with Helium, four elements at a time. */
#include <codeq/add.h>

#include "../mve.h"

#ifdef CQ_HAS_MVE

#include "../bytes.h"
#include "../scale_mve.h"

/* Bytes in which a short second input is repeated. */
#define CQ_REPEATED 64

/* Four values of an input in steps of 2^-20 of twice the larger input scale. [add-C1] */
CQ_INLINE int32x4_t cq_align(int32x4_t value, int32_t zero, struct cq_scale scale)
{
    const int32x4_t shifted = vshlq_n_s32(vsubq_n_s32(value, zero), 20);
    return cq_scale_right(shifted, scale);
}

CQ_INLINE int32x4_t cq_add4(const struct cq_add_params *params, int32x4_t a, int32x4_t b)
{
    const int32x4_t sum = vaddq_s32(cq_align(a, params->a_zero, params->a_scale),
                                    cq_align(b, params->b_zero, params->b_scale));
    return cq_scale_to_int8(sum, params->out_scale, params->out_zero, params->clamp_min,
                            params->clamp_max);
}

/* Elements that follow each other in both inputs. */
CQ_FAST_CODE CQ_NO_INLINE void cq_add_run(const struct cq_add_params *source, const int8_t *a,
                                          const int8_t *b, int8_t *out, int32_t count)
{
    const struct cq_add_params params = *source;
    for (; count >= 4; count -= 4, a += 4, b += 4, out += 4) {
        vstrbq_s32(out, cq_add4(&params, vldrbq_s32(a), vldrbq_s32(b)));
    }
    if (count > 0) {
        const mve_pred16_t lanes = vctp32q((uint32_t)count);
        vstrbq_p_s32(out, cq_add4(&params, vldrbq_z_s32(a, lanes), vldrbq_z_s32(b, lanes)), lanes);
    }
}

enum cq_status cq_add_s8_mve(const struct cq_add_params *params, const int8_t *a, const int8_t *b,
                             int8_t *out, void *scratch)
{
    int8_t repeated[CQ_REPEATED];
    int32_t period = params->b_size;
    (void)scratch;
    if (2 * period <= CQ_REPEATED && period < params->size) {
        int8_t *to = repeated;
        while (to + period <= repeated + CQ_REPEATED) {
            to = cq_copy(to, b, period);
        }
        b = repeated;
        period = (int32_t)(to - repeated);
    }
    for (int32_t done = 0; done < params->size; done += period) {
        const int32_t left = params->size - done;
        cq_add_run(params, a + done, b, out + done, left < period ? left : period);
    }
    return CQ_OK;
}

#endif
