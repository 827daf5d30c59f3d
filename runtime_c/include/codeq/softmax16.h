/* SPDX-License-Identifier: Apache-2.0 */
/* Softmax in steps of 2^-16.  Spec: NUMERICS.md §softmax16. */
#ifndef CODEQ_SOFTMAX16_H
#define CODEQ_SOFTMAX16_H

#include <codeq/types.h>

struct cq_softmax16_params {
    int32_t rows, depth;
    struct cq_scale scale; /**< of x - max(x), to a fixed-point number with 26 fraction bits */
    int32_t diff_min;      /**< smallest x - max(x) that counts, <= 0 */
};

/**
 * @brief Softmax of each row, at output scale 2^-16 and zero point -32768. [softmax16-C1]
 *
 * @param params   sizes and factor
 * @param in       rows * depth values
 * @param out      rows * depth values; must not overlap `in`
 * @param scratch  not used
 */
typedef enum cq_status cq_softmax16_fn(const struct cq_softmax16_params *params, const int8_t *in,
                                       int16_t *out, void *scratch);

#define CQ_DECLARE_softmax16
#include <codeq/kernels.inc>

#endif
