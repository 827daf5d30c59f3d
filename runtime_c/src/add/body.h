/* SPDX-License-Identifier: Apache-2.0 */
/* Element-wise sum for any factors: what every add kernel falls back to. */
#ifndef CODEQ_SRC_ADD_BODY_H
#define CODEQ_SRC_ADD_BODY_H

#include <codeq/add.h>

#include "../requant.h"

/* An input in steps of 2^-20 of twice the larger input scale: room for an exact sum. [add-C1] */
static int32_t cq_add_align(int32_t value, struct cq_scale scale)
{
    return cq_requantize(value * INT32_C(1048576), scale.multiplier, scale.exponent);
}

static void cq_add_any(const struct cq_add_params *params, const int8_t *a, const int8_t *b,
                       int8_t *out)
{
    int32_t j = 0;
    for (int32_t i = 0; i < params->size; ++i) {
        const int32_t sum = cq_add_align(a[i] - params->a_zero, params->a_scale) +
                            cq_add_align(b[j] - params->b_zero, params->b_scale);
        out[i] = cq_rescale(sum, params->out_scale, params->out_zero, params->clamp_min,
                            params->clamp_max);
        j = j + 1 < params->b_size ? j + 1 : 0;
    }
}

#endif
