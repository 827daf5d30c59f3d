/* SPDX-License-Identifier: Apache-2.0 */
/* Fully connected layer.  Spec: NUMERICS.md §linear. */
#ifndef CODEQ_LINEAR_H
#define CODEQ_LINEAR_H

#include <codeq/types.h>

struct cq_linear_params {
    int32_t rows; /**< vectors, each transformed alike, >= 1 */
    int32_t in_features, out_features;
    struct cq_weights weights; /**< out_features rows of in_features */
    struct cq_requant requant; /**< out_features channels [N4.1] */
};

/**
 * @brief out[r][o] is the product of vector r with weight row o. [linear-C1]
 *
 * @param params   sizes, weights and requantization
 * @param in       rows * in_features values
 * @param out      rows * out_features values; must not overlap `in`
 * @param scratch  one decoded chunk: min(in_features, CQ_CHUNK) weights of one byte (dense,
 *                 ternary) or two (bitmask, rle), rounded up to 4; none for 8-bit dense with gap 0.
 *                 For dsp kernels [linear-C6]: a widened vector, then four decoded chunks
 *                 unless weights are used where they stand.
 *                 For mve kernels: a panel instead of a chunk [F3].
 *                 For swar kernels [linear-C7]: vectors as pairs, and what multiplies them
 */
typedef enum cq_status cq_linear_fn(const struct cq_linear_params *params, const int8_t *in,
                                    int8_t *out, void *scratch);

/** @brief The same from weights that are used where they stand: no scratch, but a vector and minus
 * it where these are places with signs [linear-C9]. */
typedef cq_linear_fn cq_linear_sparse_fn;

#define CQ_DECLARE_linear
#include <codeq/kernels.inc>

#endif
