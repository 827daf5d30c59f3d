/* SPDX-License-Identifier: Apache-2.0 */
/* Nearest-neighbour enlargement; input and output share a grid.  Spec: NUMERICS.md §upsample2d. */
#ifndef CODEQ_UPSAMPLE2D_H
#define CODEQ_UPSAMPLE2D_H

#include <codeq/types.h>

struct cq_upsample2d_params {
    struct cq_shape in;
    struct cq_pair factor; /**< rows and columns that each pixel becomes, 1 or more */
};

/**
 * @brief Each pixel as a block of factor.h * factor.w equal pixels. [upsample2d-C1]
 *
 * @param params   geometry
 * @param in       in.h * in.w * in.c values
 * @param out      in.h * factor.h * in.w * factor.w * in.c values; must not overlap `in`
 * @param scratch  not used
 */
typedef enum cq_status cq_upsample2d_fn(const struct cq_upsample2d_params *params, const int8_t *in,
                                        int8_t *out, void *scratch);

#define CQ_DECLARE_upsample2d
#include <codeq/kernels.inc>

#endif
