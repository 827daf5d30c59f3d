/* SPDX-License-Identifier: Apache-2.0 */
/* Element-wise sum.  Spec: NUMERICS.md §add. */
#ifndef CODEQ_ADD_H
#define CODEQ_ADD_H

#include <codeq/types.h>

struct cq_add_params {
    int32_t size;   /**< elements of a and out */
    int32_t b_size; /**< elements of b: size, or a period that repeats [add-C2] */
    int8_t a_zero, b_zero, out_zero, clamp_min, clamp_max;
    struct cq_scale a_scale, b_scale; /**< exponent <= 0: applied to (value - zero) * 2^20 */
    struct cq_scale out_scale;
};

/**
 * @brief Sum of two tensors on grids of their own. [add-C1]
 *
 * @param params   sizes, zero points and factors
 * @param a        size values
 * @param b        b_size values
 * @param out      size values; may be `a`, and `b` where b_size equals size
 * @param scratch  for dsp kernels 1024 bytes, or NULL: slower [add-C5]; not used by others
 */
typedef enum cq_status cq_add_fn(const struct cq_add_params *params, const int8_t *a,
                                 const int8_t *b, int8_t *out, void *scratch);

#define CQ_DECLARE_add
#include <codeq/kernels.inc>

#endif
