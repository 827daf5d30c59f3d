/* SPDX-License-Identifier: Apache-2.0 */
/* Constant padding.  Spec: NUMERICS.md §pad. */
#ifndef CODEQ_PAD_H
#define CODEQ_PAD_H

#include <codeq/types.h>

struct cq_pad_params {
    struct cq_shape in, out; /**< out >= before + in in every direction */
    struct cq_shape before;  /**< added above, left and before channel 0; >= 0 */
    int8_t value;
};

/**
 * @brief Copy an image into a larger one and fill the rest with `value`. [pad-C1]
 *
 * @param params   shapes and value
 * @param in       in.h * in.w * in.c values
 * @param out      out.h * out.w * out.c values; must not overlap `in`
 * @param scratch  not used
 */
typedef enum cq_status cq_pad_fn(const struct cq_pad_params *params, const int8_t *in, int8_t *out,
                                 void *scratch);

#define CQ_DECLARE_pad
#include <codeq/kernels.inc>

#endif
