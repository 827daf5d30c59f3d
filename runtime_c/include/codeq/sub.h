/* SPDX-License-Identifier: Apache-2.0 */
/* Element-wise difference.  Spec: NUMERICS.md §sub. */
#ifndef CODEQ_SUB_H
#define CODEQ_SUB_H

#include <codeq/types.h>

struct cq_sub_params {
    int32_t size;   /**< elements of a and out */
    int32_t b_size; /**< elements of b: size, or a period that repeats [sub-C2] */
    int8_t a_zero, b_zero, out_zero, clamp_min, clamp_max;
    struct cq_scale a_scale, b_scale; /**< exponent <= 0: applied to (value - zero) * 2^20 */
    struct cq_scale out_scale;
};

/**
 * @brief Difference of two tensors on grids of their own. [sub-C1]
 *
 * @param params   sizes, zero points and factors
 * @param a        size values
 * @param b        b_size values
 * @param out      size values; may be `a`, and `b` where b_size equals size
 * @param scratch  not used
 */
typedef enum cq_status cq_sub_fn(const struct cq_sub_params *params, const int8_t *a,
                                 const int8_t *b, int8_t *out, void *scratch);

#define CQ_DECLARE_sub
#include <codeq/kernels.inc>

#endif
