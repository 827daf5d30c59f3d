/* SPDX-License-Identifier: Apache-2.0 */
/* Outputs of one vector without SIMD instructions: a factor that serves all of them is prepared
 * once. */
#ifndef CODEQ_SRC_LINEAR_OUTPUTS_SWAR_H
#define CODEQ_SRC_LINEAR_OUTPUTS_SWAR_H

#include "../requant_swar.h"

/* Sums that are collected before they are requantized. */
#define CQ_LINEAR_BLOCK 16

/** @brief Prepare for the outputs of a vector, `features` of them. */
static void cq_linear_open(struct cq_outputs *outputs, const struct cq_requant *requant,
                           int32_t features)
{
    outputs->channel = cq_load_channel(requant, 0);
    outputs->channel.bias = 0; /* it is in the sums */
    cq_prepare_outputs(outputs, requant->per_channel == 0u ? features : 1);
}

/** @brief Outputs of `count` features from `first` on, from minus their sums of products. */
static void cq_linear_store(struct cq_outputs *outputs, const struct cq_requant *requant,
                            int32_t first, int32_t count, int32_t *sums, int8_t *out)
{
    for (int32_t i = 0; i < count; ++i) {
        sums[i] -= cq_load_bias(requant, first + i);
    }
    if (requant->per_channel == 0u) {
        cq_store_outputs(outputs, sums, 1, count, out + first, 1);
        return;
    }
    for (int32_t i = 0; i < count; ++i) {
        cq_load_factor(requant, first + i, &outputs->channel);
        out[first + i] = (int8_t)cq_requantize_slowly(-sums[i], &outputs->channel);
    }
}

#endif
