/* SPDX-License-Identifier: Apache-2.0 */
/* Position of the first largest value in portable C99. */
#include <codeq/argmax.h>

enum cq_status cq_argmax_s8_ref(const struct cq_argmax_params *params, const int8_t *in,
                                int32_t *out, void *scratch)
{
    (void)scratch;
    for (int32_t row = 0; row < params->rows; ++row, in += params->depth) {
        int32_t best = 0;
        for (int32_t i = 1; i < params->depth; ++i) {
            if (in[i] > in[best]) {
                best = i;
            }
        }
        out[row] = best;
    }
    return CQ_OK;
}
