/* SPDX-License-Identifier: Apache-2.0 */
/* Axes in another order in portable C99: a walk, element by element. [transpose-C1] */
#include <codeq/transpose.h>

#include "../walk.h"

enum cq_status cq_transpose_s8_ref(const struct cq_transpose_params *params, const int8_t *in,
                                   int8_t *out, void *scratch)
{
    (void)scratch;
    cq_walk_copy(&params->walk, in, out);
    return CQ_OK;
}
