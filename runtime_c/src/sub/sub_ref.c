/* SPDX-License-Identifier: Apache-2.0 */
/* Element-wise difference in portable C99. */
#include <codeq/sub.h>

#include "../requant.h"

/* An input in steps of 2^-20 of twice the larger input scale: room for an exact sum. [sub-C1] */
static int32_t cq_sub_align(int32_t value, struct cq_scale scale)
{
    return cq_requantize(value * INT32_C(1048576), scale.multiplier, scale.exponent);
}

enum cq_status cq_sub_s8_ref(const struct cq_sub_params *source, const int8_t *a, const int8_t *b,
                             int8_t *out, void *scratch)
{
    const struct cq_sub_params params = *source; /* stores of int8 do not alias a copy */
    (void)scratch;
    int32_t j = 0;
    for (int32_t i = 0; i < params.size; ++i) {
        const int32_t difference = cq_sub_align(a[i] - params.a_zero, params.a_scale) -
                                   cq_sub_align(b[j] - params.b_zero, params.b_scale);
        out[i] = cq_rescale(difference, params.out_scale, params.out_zero, params.clamp_min,
                            params.clamp_max);
        j = j + 1 < params.b_size ? j + 1 : 0;
    }
    return CQ_OK;
}
