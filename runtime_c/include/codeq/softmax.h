/* SPDX-License-Identifier: Apache-2.0 */
/* Softmax over the last axis.  Spec: NUMERICS.md §softmax. */
#ifndef CODEQ_SOFTMAX_H
#define CODEQ_SOFTMAX_H

#include <codeq/types.h>

struct cq_softmax_params {
    int32_t rows, depth;
    struct cq_scale scale; /**< of x - max(x), to a fixed-point number with 26 fraction bits */
    int32_t diff_min;      /**< smallest x - max(x) that counts, <= 0 */
};

/**
 * @brief Softmax of each row, at output scale 1/256 and zero point -128. [softmax-C1]
 *
 * @param params   sizes and factor
 * @param in       rows * depth values
 * @param out      rows * depth values; may be `in`
 * @param scratch  not used
 */
typedef enum cq_status cq_softmax_fn(const struct cq_softmax_params *params, const int8_t *in,
                                     int8_t *out, void *scratch);

#define CQ_DECLARE_softmax
#include <codeq/kernels.inc>

#endif
