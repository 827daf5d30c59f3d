/* SPDX-License-Identifier: Apache-2.0 */
/* Element-wise larger or smaller of two values.  Spec: NUMERICS.md §extremum. */
#ifndef CODEQ_EXTREMUM_H
#define CODEQ_EXTREMUM_H

#include <codeq/types.h>

struct cq_extremum_params {
    int32_t size;    /**< elements of a and out */
    int32_t b_size;  /**< elements of b: size, or a period that repeats [extremum-C2] */
    uint8_t largest; /**< 1: the larger, 0: the smaller */
};

/**
 * @brief The larger or the smaller of two values on one grid. [extremum-C1]
 *
 * @param params   sizes, and which one
 * @param a        size values
 * @param b        b_size values
 * @param out      size values; may be `a`, and `b` where b_size equals size
 * @param scratch  not used
 */
typedef enum cq_status cq_extremum_fn(const struct cq_extremum_params *params, const int8_t *a,
                                      const int8_t *b, int8_t *out, void *scratch);

#define CQ_DECLARE_extremum
#include <codeq/kernels.inc>

#endif
