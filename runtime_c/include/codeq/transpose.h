/* SPDX-License-Identifier: Apache-2.0 */
/* Axes in another order.  Spec: NUMERICS.md §transpose. */
#ifndef CODEQ_TRANSPOSE_H
#define CODEQ_TRANSPOSE_H

#include <codeq/types.h>

struct cq_transpose_params {
    struct cq_walk walk; /**< the elements of the input in the order of the output */
};

/**
 * @brief Copy the elements that a walk meets. [transpose-C1]
 *
 * @param params   the walk
 * @param in       every element that the walk meets
 * @param out      product of the walk's extents; must not overlap `in`
 * @param scratch  not used
 */
typedef enum cq_status cq_transpose_fn(const struct cq_transpose_params *params, const int8_t *in,
                                       int8_t *out, void *scratch);

#define CQ_DECLARE_transpose
#include <codeq/kernels.inc>

#endif
