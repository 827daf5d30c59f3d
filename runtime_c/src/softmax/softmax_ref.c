/* SPDX-License-Identifier: Apache-2.0 */
/* Softmax in portable C99. [softmax-C1] */
#include <codeq/softmax.h>

#include "body.h"

enum cq_status cq_softmax_s8_ref(const struct cq_softmax_params *params, const int8_t *in,
                                 int8_t *out, void *scratch)
{
    (void)scratch;
    for (int32_t i = 0; i < params->rows; ++i, in += params->depth) {
        const struct cq_softmax_row row =
            cq_softmax_start(in, params->depth, params->scale, params->diff_min);
        for (int32_t c = 0; c < params->depth; ++c) {
            *out++ = cq_clamp_to_int8(cq_softmax_probability(&row, c, 8u) - 128, -128, 127);
        }
    }
    return CQ_OK;
}
