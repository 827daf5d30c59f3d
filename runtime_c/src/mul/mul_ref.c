/* SPDX-License-Identifier: Apache-2.0 */
/* Element-wise product in portable C99. */
#include <codeq/mul.h>

#include "../requant.h"

enum cq_status cq_mul_s8_ref(const struct cq_mul_params *params, const int8_t *a, const int8_t *b,
                             int8_t *out, void *scratch)
{
    (void)scratch;
    int32_t j = 0;
    for (int32_t i = 0; i < params->size; ++i) {
        const int32_t product = (a[i] - params->a_zero) * (b[j] - params->b_zero);
        out[i] = cq_rescale(product, params->scale, params->out_zero, params->clamp_min,
                            params->clamp_max);
        j = j + 1 < params->b_size ? j + 1 : 0;
    }
    return CQ_OK;
}
