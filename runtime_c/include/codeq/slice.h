/* SPDX-License-Identifier: Apache-2.0 */
/* A regular part of a tensor.  Spec: NUMERICS.md §slice. */
#ifndef CODEQ_SLICE_H
#define CODEQ_SLICE_H

#include <codeq/types.h>

struct cq_slice_params {
    struct cq_walk walk; /**< the elements of the input in the order of the output */
};

/**
 * @brief Copy the elements that a walk meets. [slice-C1]
 *
 * @param params   the walk
 * @param in       every element that the walk meets
 * @param out      product of the walk's extents; must not overlap `in`
 * @param scratch  not used
 */
typedef enum cq_status cq_slice_fn(const struct cq_slice_params *params, const int8_t *in,
                                   int8_t *out, void *scratch);

#define CQ_DECLARE_slice
#include <codeq/kernels.inc>

#endif
