/* SPDX-License-Identifier: Apache-2.0 */
/* Position of the largest value along the last axis, the first of equals.  Spec: NUMERICS.md
 * §argmax. */
#ifndef CODEQ_ARGMAX_H
#define CODEQ_ARGMAX_H

#include <codeq/types.h>

struct cq_argmax_params {
    int32_t rows, depth;
};

/**
 * @brief Index of the first largest value of each row. [argmax-C1]
 *
 * @param params   sizes
 * @param in       rows * depth values
 * @param out      rows indices in 0..depth - 1, 4-byte aligned; must not overlap `in`
 * @param scratch  not used
 */
typedef enum cq_status cq_argmax_fn(const struct cq_argmax_params *params, const int8_t *in,
                                    int32_t *out, void *scratch);

#define CQ_DECLARE_argmax
#include <codeq/kernels.inc>

#endif
