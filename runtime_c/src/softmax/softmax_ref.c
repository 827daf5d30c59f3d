/* SPDX-License-Identifier: Apache-2.0 */
/* Softmax in portable C99. [softmax-C1] */
#include <codeq/softmax.h>

#include "body.h"

enum cq_status cq_softmax_s8_ref(const struct cq_softmax_params *params, const int8_t *in,
                                 int8_t *out, void *scratch)
{
    (void)scratch;
    struct cq_softmax_row row = {
        .in = in, .depth = params->depth, .scale = params->scale, .diff_min = params->diff_min};
    for (int32_t i = 0; i < params->rows; ++i, row.in += row.depth) {
        cq_softmax_open(&row);
        for (int32_t c = 0; c < row.depth; ++c) {
            const int32_t probability = cq_softmax_probability(&row, c, 8u) - 128;
            *out++ = (int8_t)(probability > INT8_MAX ? INT8_MAX : probability);
        }
    }
    return CQ_OK;
}
