/* SPDX-License-Identifier: Apache-2.0 */
/* Element-wise product.  Spec: NUMERICS.md §mul. */
#ifndef CODEQ_MUL_H
#define CODEQ_MUL_H

#include <codeq/types.h>

struct cq_mul_params {
    int32_t size;   /**< elements of a and out */
    int32_t b_size; /**< elements of b: size, or a period that repeats [add-C2] */
    int8_t a_zero, b_zero, out_zero, clamp_min, clamp_max;
    struct cq_scale scale;
};

/**
 * @brief Product of two tensors on grids of their own. [mul-C1]
 *
 * @param params   sizes, zero points and factor
 * @param a        size values
 * @param b        b_size values
 * @param out      size values; may be `a`, and `b` where b_size equals size
 * @param scratch  not used
 */
typedef enum cq_status cq_mul_fn(const struct cq_mul_params *params, const int8_t *a,
                                 const int8_t *b, int8_t *out, void *scratch);

#define CQ_DECLARE_mul
#include <codeq/kernels.inc>

#endif
