/* SPDX-License-Identifier: Apache-2.0 */
/* A place in a packed weight stream, and what the four packings have in common.  Spec: FORMATS.md.
 */
#ifndef CODEQ_SRC_DECODE_CURSOR_H
#define CODEQ_SRC_DECODE_CURSOR_H

#include <codeq/types.h>

#include "../numerics.h"
#include "bits.h"

/* From stored codes to weights. [N3.4] */
struct cq_code_map {
    const int8_t *levels; /* the weight of each code; NULL: codes are on a grid */
    int32_t gap;          /* added to the magnitude of every code on a grid that is not zero */
    uint32_t width;       /* bits of a code */
};

/*
 * A cursor is a plain value: a copy is a bookmark.  Widths are run-time numbers on purpose: a shift
 * by a register costs what a shift by a constant costs, and all widths of a model share one
 * decoder.
 */
struct cq_cursor {
    struct cq_bits codes;          /* value fields; in rle the run fields too; in gap records */
    struct cq_bits mask;           /* bitmask */
    struct cq_code_map map;        /* what codes stand for */
    uint32_t run_width;            /* rle: bits of a run field */
    int32_t zeros;                 /* rle: zeros left in the run */
    uint32_t value_follows;        /* rle: 1 if a value field stands behind the run */
    uint32_t digits;               /* ternary: base-3 number that is left of the byte */
    uint32_t digits_left;          /* ternary: and how many digits that is */
    const uint8_t *prefix_counts;  /* huffman: number of prefix codes of each length */
    const uint8_t *prefix_symbols; /* huffman: the upper bits that each stands for */
    uint32_t low_width;            /* huffman: bits behind a prefix code */
};

/* A weight that is not zero, at weight `offset` of its chunk. */
struct cq_nonzero {
    uint8_t offset;
    int8_t weight;
};

/* Decoded weights: `count` of int8_t (dense, ternary, huffman) or of struct cq_nonzero (bitmask,
 * rle). */
struct cq_chunk {
    const void *data;
    int32_t count;
};

/* What every packing offers. */
struct cq_decoder {
    /* Set the cursor to the first of `count` weights of `bits` bits. */
    void (*init)(struct cq_cursor *cursor, const struct cq_weights *weights, uint32_t bits,
                 int32_t count);
    /* Decode the following `count` (>= 1) weights, into scratch or where they are; bitmask and rle
     * at most CQ_CHUNK, because the offset in a chunk is a uint8_t. */
    struct cq_chunk (*next)(struct cq_cursor *cursor, int32_t count, void *scratch);
};

/** @brief To the beginning of a stream; all that most decoders need. */
void cq_cursor_init(struct cq_cursor *cursor, const struct cq_weights *weights, uint32_t bits,
                    int32_t count);

/** @brief True where a code is not the weight itself. */
static inline int cq_maps_codes(struct cq_code_map map)
{
    return map.levels != NULL || map.gap != 0;
}

/**
 * @brief The weight that a code stands for. [N3.4]
 *
 * A position in the table of levels arrives sign-extended like any code; its low bits were stored.
 */
static inline int8_t cq_map_code(struct cq_code_map map, int32_t code)
{
    if (map.levels != NULL) {
        return map.levels[(uint32_t)code & ((1u << map.width) - 1u)];
    }
    return (int8_t)(code + map.gap * ((code > 0) - (code < 0)));
}

/** @brief The code of the next value field. [F2] */
static inline int32_t cq_take_code(struct cq_bits *codes, struct cq_code_map map)
{
    return cq_sign_extend(cq_bits_take(codes, map.width), map.width);
}

#endif
