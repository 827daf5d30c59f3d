/* SPDX-License-Identifier: Apache-2.0 */
/* Mean of each window; input and output share a grid.  Spec: NUMERICS.md §avgpool2d. */
#ifndef CODEQ_AVGPOOL2D_H
#define CODEQ_AVGPOOL2D_H

#include <codeq/types.h>

struct cq_avgpool2d_params {
    struct cq_shape in, out; /**< in.c equals out.c */
    struct cq_pair kernel, stride;
    struct cq_pair pad; /**< rows above, columns left; padding is not counted */
    int8_t clamp_min, clamp_max;
};

/**
 * @brief Mean of the pixels of each window that lie inside the image. [avgpool2d-C1]
 *
 * @param params   geometry; every window holds at least one pixel
 * @param in       in.h * in.w * in.c values
 * @param out      out.h * out.w * out.c values; must not overlap `in`
 * @param scratch  not used
 */
typedef enum cq_status cq_avgpool2d_fn(const struct cq_avgpool2d_params *params, const int8_t *in,
                                       int8_t *out, void *scratch);

#define CQ_DECLARE_avgpool2d
#include <codeq/kernels.inc>

#endif
