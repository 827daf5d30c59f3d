/* SPDX-License-Identifier: Apache-2.0 */
/* A table of 256 values in portable C99. */
#include <codeq/lut.h>

enum cq_status cq_lut_s8_ref(const struct cq_lut_params *params, const int8_t *in, int8_t *out,
                             void *scratch)
{
    (void)scratch;
    for (int32_t i = 0; i < params->size; ++i) {
        out[i] = params->table[in[i] + 128];
    }
    return CQ_OK;
}
