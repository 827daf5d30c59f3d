/* SPDX-License-Identifier: Apache-2.0 */
/* Mean of each window; input and output share a grid.  Spec: NUMERICS.md §avgpool2d. */
#ifndef CODEQ_AVGPOOL2D_H
#define CODEQ_AVGPOOL2D_H

#include <codeq/types.h>

struct cq_avgpool2d_params {
    struct cq_shape in, out;
    struct cq_pair kernel, stride;
    struct cq_pair pad; /* rows above, columns left; padding is not counted */
    int8_t clamp_min, clamp_max;
};

typedef enum cq_status cq_avgpool2d_fn(const struct cq_avgpool2d_params *params, const int8_t *in, int8_t *out, void *scratch);

#endif
