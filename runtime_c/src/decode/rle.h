/* SPDX-License-Identifier: Apache-2.0 */
/* Packing `rle`: a run of zeros, then a value field.  Spec: FORMATS.md [F8]. */
#ifndef CODEQ_SRC_DECODE_RLE_H
#define CODEQ_SRC_DECODE_RLE_H

#include "cursor.h"

static void cq_rle_init(struct cq_cursor *cursor, const struct cq_weights *weights, uint32_t bits,
                        int32_t count)
{
    (void)count;
    cq_cursor_init(cursor, weights, bits);
}

CQ_FAST_CODE static struct cq_chunk cq_rle_next(struct cq_cursor *cursor, int32_t count,
                                                void *scratch)
{
    const uint32_t run_width = cursor->run_width;
    const uint32_t escape = (1u << run_width) - 1u;
    const uint32_t end = (uint32_t)count;
    struct cq_nonzero *const nonzero = scratch;
    int32_t found = 0;
    struct cq_bits codes = cursor->codes;
    const struct cq_code_map map = cursor->map;
    uint32_t zeros = cursor->zeros;
    uint32_t value_follows = cursor->value_follows;
    /* Fields are read when a weight that they cover is wanted: the stream may end with it. */
    for (uint32_t offset = 0u; offset < end;) {
        if (zeros == 0u && value_follows == 0u) {
            zeros = cq_bits_take(&codes, run_width);
            value_follows = zeros != escape ? 1u : 0u;
        }
        const uint32_t skipped = zeros < end - offset ? zeros : end - offset;
        zeros -= skipped;
        offset += skipped;
        if (offset < end && value_follows != 0u) {
            nonzero[found].offset = (uint8_t)offset;
            nonzero[found].weight = (int8_t)cq_take_nonzero_code(&codes, map);
            ++found;
            value_follows = 0u;
            ++offset;
        }
    }
    cursor->codes = codes;
    cursor->zeros = zeros;
    cursor->value_follows = value_follows;
    return cq_nonzero_chunk(map, nonzero, found);
}

static const struct cq_decoder cq_rle = {cq_rle_init, cq_rle_next};

#endif
