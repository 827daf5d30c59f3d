/* SPDX-License-Identifier: Apache-2.0 */
/* 2-D convolution with groups.  Spec: NUMERICS.md §conv2d. */
#ifndef CODEQ_CONV2D_H
#define CODEQ_CONV2D_H

#include <codeq/types.h>

struct cq_conv2d_params {
    struct cq_shape in, out;
    struct cq_pair kernel, stride, dilation;
    struct cq_pair pad; /* rows above, columns left */
    int32_t groups;
    int32_t tile; /* output pixels gathered at a time, 1..CQ_CONV2D_MAX_TILE */
    int8_t in_zero;
    struct cq_weights weights;
    struct cq_requant requant;
};

typedef enum cq_status cq_conv2d_fn(const struct cq_conv2d_params *params, const int8_t *in, int8_t *out, void *scratch);

#endif
