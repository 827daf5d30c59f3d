/* SPDX-License-Identifier: Apache-2.0 */
/* Element-wise product with a factor in the short form. */
#include "../requant_dsp.h"
#include "body.h"

/* Shorter periods are not worth a call. */
#define CQ_MUL_MIN_PERIOD 8

/* 12 instructions an element (Cortex-M4, gcc 12). */
CQ_FAST_CODE static void cq_mul_run(const struct cq_mul_params *params, struct cq_factor factor,
                                    const int8_t *a, const int8_t *b, int8_t *out)
{
    const int32_t a_zero = params->a_zero;
    const int32_t b_zero = params->b_zero;
    const int32_t out_zero = params->out_zero;
    for (const int8_t *const end = out + params->b_size; out != end;) {
        const int32_t product = (*a++ - a_zero) * (*b++ - b_zero);
        *out++ = (int8_t)cq_requantize_short(product, factor.multiplier, factor.scale, out_zero);
    }
}

enum cq_status cq_mul_s8_dsp(const struct cq_mul_params *params, const int8_t *a, const int8_t *b,
                             int8_t *out, void *scratch)
{
    struct cq_factor factor;
    (void)scratch;
    if (params->b_size < CQ_MUL_MIN_PERIOD ||
        !cq_short_factor(params->scale.multiplier, params->scale.exponent, &factor)) {
        cq_mul_any(params, a, b, out);
        return CQ_OK;
    }
    for (int32_t i = 0; i < params->size; i += params->b_size) {
        cq_mul_run(params, factor, a + i, b, out + i);
    }
    cq_clamp_dsp(out, params->size, params->clamp_min, params->clamp_max);
    return CQ_OK;
}
