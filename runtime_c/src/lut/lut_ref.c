/* SPDX-License-Identifier: Apache-2.0 */
/* A table of 256 values in portable C99. */
#include <codeq/lut.h>

#include "../lookup.h"

enum cq_status cq_lut_s8_ref(const struct cq_lut_params *params, const int8_t *in, int8_t *out,
                             void *scratch)
{
    (void)scratch;
    cq_look_up(params->table, in, out, params->size);
    return CQ_OK;
}
