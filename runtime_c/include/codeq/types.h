/* SPDX-License-Identifier: Apache-2.0 */
/* Structures that several ops share. */
#ifndef CODEQ_TYPES_H
#define CODEQ_TYPES_H

#include <stddef.h>
#include <stdint.h>

#include <codeq/status.h>

/* Version of the interface between generated C and this runtime. */
#define CODEQ_RUNTIME_ABI 1

/* Weights that a kernel decodes at a time. [F3] */
#define CQ_CHUNK 256

/* An image in memory order: row by row, channels innermost. */
struct cq_shape {
    int32_t h, w, c;
};

struct cq_pair {
    int32_t h, w;
};

/**
 * Packed weights. [F2]
 *
 * data      the stream of the kernel's packing
 * levels    table applied to every code, or NULL: codes are indices on a grid
 * gap       added to the magnitude of every non-zero index
 * run_bits  rle: width of a zero-run field
 */
struct cq_weights {
    const uint8_t *data;
    const int8_t *levels;
    uint8_t gap;
    uint8_t run_bits;
};

/**
 * Requantization of int32 accumulators to int8. [N4.2] [N4.4]
 *
 * bias              start of each accumulator: int8_t, int16_t or int32_t by bias_bytes
 * multiplier        int32_t, or uint16_t holding the top 16 bits, by multiplier_bytes
 * exponent          power of two, positive to the left
 * per_channel       0: one multiplier and exponent for all channels
 */
struct cq_requant {
    const void *bias;
    const void *multiplier;
    const int8_t *exponent;
    uint8_t bias_bytes;
    uint8_t multiplier_bytes;
    uint8_t per_channel;
    int8_t zero_point;
    int8_t clamp_min;
    int8_t clamp_max;
};

/* One multiplier for a whole tensor. [N2.6] */
struct cq_scale {
    int32_t multiplier;
    int32_t exponent;
};

#endif
