/* SPDX-License-Identifier: Apache-2.0 */
/* Depthwise convolution with channel multiplier.  Spec: NUMERICS.md §dwconv2d. */
#ifndef CODEQ_DWCONV2D_H
#define CODEQ_DWCONV2D_H

#include <codeq/types.h>

struct cq_dwconv2d_params {
    struct cq_shape in, out;                 /**< out.c is a multiple m of in.c */
    struct cq_pair kernel, stride, dilation; /**< >= 1 */
    struct cq_pair pad;                      /**< rows above, columns left; in_zero is read there */
    int8_t in_zero;                          /**< zero point of the input: the value of padding */
    struct cq_weights weights;               /**< out.c rows of kernel.h * kernel.w */
    struct cq_requant requant; /**< out.c channels; bias holds -in_zero * sum of weights [N4.1] */
};

/**
 * @brief Output channel o is the correlation of input channel o / m with row o. [dwconv2d-C1]
 *
 * @param params   geometry, weights and requantization
 * @param in       in.h * in.w * in.c values
 * @param out      out.h * out.w * out.c values; must not overlap `in`, apart from [dwconv2d-C10]
 * @param scratch  one decoded row: kernel.h * kernel.w bytes rounded up to 4; none for
 *                 8-bit dense with gap 0.
 *                 For mve kernels [dwconv2d-C8]: weights of 16 channels, and the rows of a window.
 *                 For swar kernels [dwconv2d-C9]: rows, sums and weights as words, a decoded row
 */
typedef enum cq_status cq_dwconv2d_fn(const struct cq_dwconv2d_params *params, const int8_t *in,
                                      int8_t *out, void *scratch);

/** @brief The same, with a band of widened rows in scratch [dwconv2d-C7], for kernel 3x3, dilation
 * 1, columns of stride 1 or 2, in.c == out.c >= 4. */
typedef cq_dwconv2d_fn cq_dwconv2d_3x3_fn;

#define CQ_DECLARE_dwconv2d
#include <codeq/kernels.inc>

#endif
