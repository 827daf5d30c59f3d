/* SPDX-License-Identifier: Apache-2.0 */
/* 2-D convolution with groups; conv1d is its case of height 1.  Spec: NUMERICS.md §conv2d. */
#ifndef CODEQ_CONV2D_H
#define CODEQ_CONV2D_H

#include <codeq/types.h>

/** @brief How conv2d_sparse is cut into strips, and room for its lists. [conv2d-C7] */
struct cq_sparse {
    int16_t rows, columns;       /**< output words gathered at a time; columns a multiple of 4 */
    int16_t kept;                /**< weight rows kept as lists: all of a group, or 1; or 0: none */
    uint16_t ones, twos, others; /**< entries of the lists of these rows */
    uint8_t is_split;            /**< 1 if some row needs several segments */
};

struct cq_conv2d_params {
    struct cq_shape in, out;
    struct cq_pair kernel, stride, dilation; /**< >= 1 */
    struct cq_pair pad;                      /**< rows above, columns left; in_zero is read there */
    int32_t groups;                          /**< divides in.c and out.c */
    int32_t tile;              /**< output pixels gathered at a time, 1..CQ_MAX_TILE */
    struct cq_sparse sparse;   /**< conv2d_sparse: how the work is cut; else 0 */
    int8_t in_zero;            /**< zero point of the input: the value of padding */
    struct cq_weights weights; /**< out.c rows of kernel.h * kernel.w * (in.c / groups) */
    struct cq_requant requant; /**< out.c channels; bias holds -in_zero * sum of weights [N4.1] */
};

/**
 * @brief Cross-correlation of an int8 image with packed weights. [conv2d-C1]
 *
 * @param params   geometry, weights and requantization
 * @param in       in.h * in.w * in.c values
 * @param out      out.h * out.w * out.c values; must not overlap `in`, apart from [conv2d-C11]
 * @param scratch  the patches of one tile, tile * row bytes rounded up to 4, where they are
 *                 gathered (not for 1x1, stride 1, no padding, one group); then one decoded chunk:
 *                 min(row, CQ_CHUNK) weights of one byte (dense, ternary) or two (bitmask, rle),
 *                 rounded up to 4; none for 8-bit dense with gap 0, which is used where it lies.
 *                 For dsp kernels [conv2d-C8]: sums of the taps or patches, rows, decoded weights.
 *                 For mve kernels [conv2d-C9]: patches, then a panel instead of a chunk [F3].
 *                 For swar kernels [conv2d-C10]: patches as pairs, rows as pairs, sums, a piece
 */
typedef enum cq_status cq_conv2d_fn(const struct cq_conv2d_params *params, const int8_t *in,
                                    int8_t *out, void *scratch);

/** @brief The same for kernel 1x1, stride 1, no padding, one group: pixels are patches. */
typedef cq_conv2d_fn cq_conv2d_1x1_fn;

/**
 * @brief The same for one group without dilation: faster than gathering where input channels are
 * few.
 *
 * @param scratch  the weights of four channels, a decoded row, and rows in 16 bits [conv2d-C12]
 */
typedef cq_conv2d_fn cq_conv2d_stem_fn;

/**
 * @brief The same with few weights that are not zero, each used for sixteen pixels at once.
 *
 * Where conv2d_1x1 would serve, and pixels have as many channels before as after, `out` may be
 * `in`.
 *
 * @param scratch  the strip, a padding pixel, a decoded chunk and the lists of one row [conv2d-C7]
 */
typedef cq_conv2d_fn cq_conv2d_sparse_fn;

#define CQ_DECLARE_conv2d
#include <codeq/kernels.inc>

#endif
