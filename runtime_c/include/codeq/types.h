/* SPDX-License-Identifier: Apache-2.0 */
/* Structures that several ops share, and the rules that hold for every kernel. */
#ifndef CODEQ_TYPES_H
#define CODEQ_TYPES_H

#include <stddef.h>
#include <stdint.h>

#include <codeq/config.h>
#include <codeq/status.h>

/** Version of the interface between generated C and this runtime. */
#define CODEQ_RUNTIME_ABI 1

/** Weights that a kernel decodes at a time. [F3] */
#define CQ_CHUNK 256

/** Vectors (pixels, rows) that share one decoding of the weights at most. */
#define CQ_MAX_TILE 8

/** Bytes of a tile of vectors in swar kernels; more where the fewest vectors are longer. */
#define CQ_SWAR_TILE_BYTES 2048
#define CQ_SWAR_MIN_TILE   4
#define CQ_SWAR_MAX_TILE   32

/** Sums that a depthwise swar kernel collects before it writes them, or those of one row. */
#define CQ_SWAR_SUMS 64

/*
 * Sizes of the scratch of dsp kernels.
 */

/** Weights of a row that are decoded at a time: four rows of them, 2 bytes each. [conv2d-C8] */
#define CQ_ROW_CACHE 1152

/** Bytes of gathered patches, unless CQ_MIN_PATCHES are larger. [conv2d-C8] */
#define CQ_PATCHES_BYTES 1024
#define CQ_MIN_PATCHES   4

/** Bytes of widened rows, unless those of one output row are larger. [conv2d-C12] */
#define CQ_STEM_BYTES 4608

/** Bytes of widened rows, unless those of CQ_MIN_BAND output rows are larger. [dwconv2d-C7] */
#define CQ_BAND_BYTES 960
#define CQ_MIN_BAND   8

/*
 * Rules of every kernel `cq_<family>_<act>[_w<bits>_<packing>]_<isa>(params, in..., out, scratch)`
 *
 *   - A kernel that remembers takes `state` before `out`: it is the caller's from one call to the
 *     next, 4-byte aligned, and overlaps nothing.
 *   - No pointer but `scratch` may be NULL, and every pointer is aligned for its element type.
 *   - `params`, and every table it points to, is read only and may lie in flash.
 *   - `in` and `out` do not overlap, unless the op's header says that `out` may be an input.
 *   - `scratch` is 4-byte aligned, of the size that codeq computed for the layer, overlaps nothing,
 *     and holds nothing between calls; it is NULL where that size is 0.
 *   - Nothing is allocated, nothing is kept: kernels are re-entrant and may run in interrupts.
 *   - They return CQ_OK. Ranges were proved when the model was compiled; CQ_ASSERT repeats them.
 */

/** @brief An image in memory order: row by row, channels innermost; every extent >= 1. */
struct cq_shape {
    int32_t h, w, c;
};

/** @brief A vertical and a horizontal quantity in pixels. */
struct cq_pair {
    int32_t h, w;
};

/** @brief Four nested loops over the elements of a tensor, the innermost last. */
struct cq_walk {
    int32_t start;     /**< first element */
    int32_t extent[4]; /**< turns of each loop, >= 1 */
    int32_t stride[4]; /**< elements from one turn to the next; may be negative */
};

/** @brief Packed weights: one row an output channel, in the stream of the kernel's packing. [F2] */
struct cq_weights {
    const uint8_t *data;  /**< the stream; any alignment; never read past its last byte */
    const int8_t *levels; /**< 2^bits values or fewer, indexed by code; NULL: codes are a grid */
    uint32_t bytes;       /**< of the stream */
    uint8_t gap;          /**< grid: added to the magnitude of every non-zero index [N3.4] */
    uint8_t run_bits;     /**< rle: width of a zero-run field, 1..8; 0 elsewhere */
};

/** @brief Requantization of int32 accumulators to int8, in the fewest bytes. [N4.2] [N4.4] */
struct cq_requant {
    const void *bias;         /**< start of each accumulator: int8_t, int16_t or int32_t */
    const void *multiplier;   /**< int32_t, or uint16_t holding its top 16 of 31 bits */
    const int8_t *exponent;   /**< power of two, -31..31, positive to the left; NULL: the upper 4
                                   bits of a uint8_t or uint16_t multiplier, the others are a
                                   fraction: 2^30 * (1 + fraction) */
    uint8_t bias_bytes;       /**< 1, 2 or 4 */
    uint8_t bias_shift;       /**< the start is bias * 2^bias_shift */
    uint8_t multiplier_bytes; /**< 2 or 4; 1 or 2 without `exponent` */
    int8_t exponent_base;     /**< added to exponents of 4 bits */
    uint8_t per_channel;      /**< 0: one multiplier and exponent for all channels */
    int8_t zero_point;        /**< of the output */
    int8_t clamp_min;         /**< limits of the fused activation, clamp_min <= clamp_max */
    int8_t clamp_max;
};

/** @brief One factor for a whole tensor: multiplier * 2^(exponent - 31). [N2.6] */
struct cq_scale {
    int32_t multiplier; /**< 0..2^31 - 1 */
    int32_t exponent;   /**< -31..31, positive to the left */
};

/* A row of kernels.inc as a prototype. */
#define CQ_KERNEL(family, act, isa) cq_##family##_fn cq_##family##_##act##_##isa;
#define CQ_KERNEL_W(family, act, bits, packing, isa)                                               \
    cq_##family##_fn cq_##family##_##act##_##bits##_##packing##_##isa;

#endif
