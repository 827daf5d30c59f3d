/* SPDX-License-Identifier: Apache-2.0 */
/* ReLU with a slope for each channel.  Spec: NUMERICS.md §prelu. */
#ifndef CODEQ_PRELU_H
#define CODEQ_PRELU_H

#include <codeq/types.h>

struct cq_prelu_params {
    int32_t size;       /**< elements of in and out */
    int32_t slope_size; /**< elements of slope: size, or a period that repeats [prelu-C2] */
    int8_t in_zero, slope_zero, out_zero;
    struct cq_scale above, below; /**< of a value, and of a value times its slope */
};

/**
 * @brief Values above zero on another grid, values below times their slope. [prelu-C1]
 *
 * @param params   sizes, zero points and factors
 * @param in       size values
 * @param slope    slope_size values
 * @param out      size values; may be `in`
 * @param scratch  not used
 */
typedef enum cq_status cq_prelu_fn(const struct cq_prelu_params *params, const int8_t *in,
                                   const int8_t *slope, int8_t *out, void *scratch);

#define CQ_DECLARE_prelu
#include <codeq/kernels.inc>

#endif
