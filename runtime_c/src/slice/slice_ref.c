/* SPDX-License-Identifier: Apache-2.0 */
/* A regular part of a tensor in portable C99: a walk, element by element. [slice-C1] */
#include <codeq/slice.h>

#include "../walk.h"

enum cq_status cq_slice_s8_ref(const struct cq_slice_params *params, const int8_t *in, int8_t *out,
                               void *scratch)
{
    (void)scratch;
    cq_walk_copy(&params->walk, in, out);
    return CQ_OK;
}
