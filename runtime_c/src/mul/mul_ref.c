/* SPDX-License-Identifier: Apache-2.0 */
/* Element-wise product in portable C99. */
#include "body.h"

enum cq_status cq_mul_s8_ref(const struct cq_mul_params *params, const int8_t *a, const int8_t *b,
                             int8_t *out, void *scratch)
{
    (void)scratch;
    cq_mul_any(params, a, b, out);
    return CQ_OK;
}
