/* SPDX-License-Identifier: Apache-2.0 */
/* Softmax with 16 bits of each probability, in portable C99. [softmax16-C1] */
#include <codeq/softmax16.h>

#include "../softmax/body.h"

enum cq_status cq_softmax16_s8_ref(const struct cq_softmax16_params *params, const int8_t *in,
                                   int16_t *out, void *scratch)
{
    (void)scratch;
    struct cq_softmax_row row = {
        .in = in, .depth = params->depth, .scale = params->scale, .diff_min = params->diff_min};
    for (int32_t i = 0; i < params->rows; ++i, row.in += row.depth) {
        cq_softmax_open(&row);
        for (int32_t c = 0; c < row.depth; ++c) {
            const int32_t probability = cq_softmax_probability(&row, c, 16u) - 32768;
            *out++ = (int16_t)(probability > INT16_MAX ? INT16_MAX : probability);
        }
    }
    return CQ_OK;
}
