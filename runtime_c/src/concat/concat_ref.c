/* SPDX-License-Identifier: Apache-2.0 */
/* Interleaving of blocks in portable C99. */
#include <codeq/concat.h>

#include "../bytes.h"

enum cq_status cq_concat_s8_ref(const struct cq_concat_params *params, const int8_t *const *in,
                                int8_t *out, void *scratch)
{
    (void)scratch;
    for (int32_t block = 0; block < params->outer; ++block) {
        for (int32_t i = 0; i < params->count; ++i) {
            out = cq_copy(out, in[i] + block * params->inner[i], params->inner[i]);
        }
    }
    return CQ_OK;
}
