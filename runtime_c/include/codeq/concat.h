/* SPDX-License-Identifier: Apache-2.0 */
/* Join tensors along one axis.  Spec: NUMERICS.md §concat. */
#ifndef CODEQ_CONCAT_H
#define CODEQ_CONCAT_H

#include <codeq/types.h>

struct cq_concat_params {
    int32_t count;        /**< inputs */
    int32_t outer;        /**< blocks that interleave */
    const int32_t *inner; /**< bytes that each input gives to a block: count values */
};

/**
 * @brief Interleave blocks of several tensors on one grid. [concat-C1]
 *
 * @param params   sizes
 * @param in       count pointers; input i has outer * inner[i] values
 * @param out      outer * (sum of inner) values; must not overlap any input
 * @param scratch  not used
 */
typedef enum cq_status cq_concat_fn(const struct cq_concat_params *params, const int8_t *const *in,
                                    int8_t *out, void *scratch);

#define CQ_DECLARE_concat
#include <codeq/kernels.inc>

#endif
