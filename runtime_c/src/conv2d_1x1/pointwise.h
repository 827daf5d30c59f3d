/* SPDX-License-Identifier: Apache-2.0 */
/* Which convolutions are products of a matrix of pixels. */
#ifndef CODEQ_SRC_CONV2D_1X1_POINTWISE_H
#define CODEQ_SRC_CONV2D_1X1_POINTWISE_H

#include <codeq/conv2d.h>

/* True where an output pixel's patch is the input pixel at the same place. */
static inline int cq_conv2d_is_1x1(const struct cq_conv2d_params *params)
{
    /* stride 1 and equal extents leave no room for padding */
    return params->kernel.h == 1 && params->kernel.w == 1 && params->groups == 1 &&
           params->stride.h == 1 && params->stride.w == 1 && params->in.h == params->out.h &&
           params->in.w == params->out.w;
}

#endif
