/* SPDX-License-Identifier: Apache-2.0 */
/* Mean over all pixels of each channel.  Spec: NUMERICS.md §mean. */
#ifndef CODEQ_MEAN_H
#define CODEQ_MEAN_H

#include <codeq/types.h>

struct cq_mean_params {
    int32_t pixels, channels;
    int8_t in_zero, out_zero, clamp_min, clamp_max;
    struct cq_scale scale; /**< the division by pixels included */
};

/**
 * @brief Mean of each channel, requantized. [mean-C1]
 *
 * @param params   sizes, zero points and factor
 * @param in       pixels * channels values
 * @param out      channels values; must not overlap `in`
 * @param scratch  not used
 */
typedef enum cq_status cq_mean_fn(const struct cq_mean_params *params, const int8_t *in,
                                  int8_t *out, void *scratch);

#define CQ_DECLARE_mean
#include <codeq/kernels.inc>

#endif
