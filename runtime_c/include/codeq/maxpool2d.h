/* SPDX-License-Identifier: Apache-2.0 */
/* Largest value of each window.  Spec: NUMERICS.md §maxpool2d. */
#ifndef CODEQ_MAXPOOL2D_H
#define CODEQ_MAXPOOL2D_H

#include <codeq/types.h>

struct cq_maxpool2d_params {
    struct cq_shape in, out;
    struct cq_pair kernel, stride, dilation;
    struct cq_pair pad; /* rows above, columns left */
    int8_t clamp_min, clamp_max;
};

typedef enum cq_status cq_maxpool2d_fn(const struct cq_maxpool2d_params *params, const int8_t *in, int8_t *out, void *scratch);

#endif
