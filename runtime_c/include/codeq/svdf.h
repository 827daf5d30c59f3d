/* SPDX-License-Identifier: Apache-2.0 */
/* Filters over features and time.  Spec: NUMERICS.md §svdf. */
#ifndef CODEQ_SVDF_H
#define CODEQ_SVDF_H

#include <codeq/types.h>

struct cq_svdf_params {
    int32_t inputs, filters;
    int32_t rank;       /**< filters that are summed to one output */
    int32_t memory;     /**< features that a filter remembers, the newest included */
    int32_t state_bits; /**< of a feature and of a time weight: 8 or 16 */
    int32_t state_zero; /**< zero point of the features */
    struct cq_weights weights;
    const int32_t *start; /**< of each feature's accumulator: filters values */
    const int32_t *bias;  /**< filters / rank values */
    struct cq_scale feature_scale, out_scale;
    int8_t out_zero;
};

/**
 * @brief One inference: a new feature a filter, then sums over all that is remembered. [svdf-C1]
 *
 * @param params   sizes, weights and factors
 * @param in       inputs values
 * @param time     filters * memory values of state_bits, the oldest first
 * @param state    filters * memory values of state_bits, kept between calls
 * @param out      filters / rank values; must not overlap `in`
 * @param scratch  one decoded chunk of a row of weights [F3]
 */
typedef enum cq_status cq_svdf_fn(const struct cq_svdf_params *params, const int8_t *in,
                                  const void *time, void *state, int8_t *out, void *scratch);

#define CQ_DECLARE_svdf
#include <codeq/kernels.inc>

#endif
