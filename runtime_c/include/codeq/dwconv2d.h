/* SPDX-License-Identifier: Apache-2.0 */
/* Depthwise convolution with channel multiplier.  Spec: NUMERICS.md §dwconv2d. */
#ifndef CODEQ_DWCONV2D_H
#define CODEQ_DWCONV2D_H

#include <codeq/types.h>

struct cq_dwconv2d_params {
    struct cq_shape in, out; /* out.c = in.c * multiplier */
    struct cq_pair kernel, stride, dilation;
    struct cq_pair pad; /* rows above, columns left */
    int8_t in_zero;
    struct cq_weights weights; /* out.c rows of kernel.h * kernel.w */
    struct cq_requant requant;
};

typedef enum cq_status cq_dwconv2d_fn(const struct cq_dwconv2d_params *params, const int8_t *in, int8_t *out, void *scratch);

#endif
