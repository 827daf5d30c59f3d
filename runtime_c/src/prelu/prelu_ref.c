/* SPDX-License-Identifier: Apache-2.0 */
/* ReLU with a slope for each channel, in portable C99. [prelu-C1] */
#include <codeq/prelu.h>

#include "../requant.h"

enum cq_status cq_prelu_s8_ref(const struct cq_prelu_params *source, const int8_t *in,
                               const int8_t *slope, int8_t *out, void *scratch)
{
    const struct cq_prelu_params params = *source; /* stores of int8 do not alias a copy */
    (void)scratch;
    int32_t j = 0;
    for (int32_t i = 0; i < params.size; ++i) {
        const int32_t x = in[i] - params.in_zero;
        const int32_t acc = x >= 0 ? x : x * (slope[j] - params.slope_zero);
        const struct cq_scale scale = x >= 0 ? params.above : params.below;
        out[i] = cq_rescale(acc, scale, params.out_zero, -128, 127);
        j = j + 1 < params.slope_size ? j + 1 : 0;
    }
    return CQ_OK;
}
