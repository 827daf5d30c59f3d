/* SPDX-License-Identifier: Apache-2.0 */
/* Element-wise product for any factor: what every mul kernel falls back to. */
#ifndef CODEQ_SRC_MUL_BODY_H
#define CODEQ_SRC_MUL_BODY_H

#include <codeq/mul.h>

#include "../requant.h"

static void cq_mul_any(const struct cq_mul_params *source, const int8_t *a, const int8_t *b,
                       int8_t *out)
{
    const struct cq_mul_params params = *source; /* stores of int8 do not alias a copy */
    int32_t j = 0;
    for (int32_t i = 0; i < params.size; ++i) {
        const int32_t product = (a[i] - params.a_zero) * (b[j] - params.b_zero);
        out[i] =
            cq_rescale(product, params.scale, params.out_zero, params.clamp_min, params.clamp_max);
        j = j + 1 < params.b_size ? j + 1 : 0;
    }
}

#endif
