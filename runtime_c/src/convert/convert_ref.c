/* SPDX-License-Identifier: Apache-2.0 */
/* Change of grid and width in portable C99. */
#include <codeq/convert.h>

#include "../numerics.h"

static int32_t cq_limited(int32_t value, int32_t bits)
{
    const int32_t high = bits == 32 ? INT32_MAX : (INT32_C(1) << (bits - 1)) - 1;
    const int32_t low = -high - 1;
    return value < low ? low : value > high ? high : value;
}

static void cq_convert(const struct cq_convert_params *params, int32_t value, void *out, int32_t i)
{
    const int32_t scaled =
        cq_requantize(value - params->in_zero, params->scale.multiplier, params->scale.exponent);
    const int32_t y = cq_limited(scaled + params->out_zero, params->out_bits);
    if (params->out_bits == 8) {
        ((int8_t *)out)[i] = (int8_t)y;
    } else if (params->out_bits == 16) {
        ((int16_t *)out)[i] = (int16_t)y;
    } else {
        ((int32_t *)out)[i] = y;
    }
}

enum cq_status cq_convert_s8_ref(const struct cq_convert_params *params, const void *in, void *out,
                                 void *scratch)
{
    const int8_t *const x = (const int8_t *)in;
    (void)scratch;
    for (int32_t i = 0; i < params->size; ++i) {
        cq_convert(params, x[i], out, i);
    }
    return CQ_OK;
}

enum cq_status cq_convert_s16_ref(const struct cq_convert_params *params, const void *in, void *out,
                                  void *scratch)
{
    const int16_t *const x = (const int16_t *)in;
    (void)scratch;
    for (int32_t i = 0; i < params->size; ++i) {
        cq_convert(params, x[i], out, i);
    }
    return CQ_OK;
}
