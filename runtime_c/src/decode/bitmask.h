/* SPDX-License-Identifier: Apache-2.0 */
/* Packing `bitmask`: a mask bit a weight, then the value fields of the non-zeros.
 * Spec: FORMATS.md [F7]. */
#ifndef CODEQ_SRC_DECODE_BITMASK_H
#define CODEQ_SRC_DECODE_BITMASK_H

#include "cursor.h"

static void cq_bitmask_init(struct cq_cursor *cursor, const struct cq_weights *weights,
                            uint32_t bits, int32_t count)
{
    cq_cursor_init(cursor, weights, bits);
    cursor->codes = cq_bits_at(weights->data + ((uint32_t)count + 7u) / 8u);
}

CQ_FAST_CODE static struct cq_chunk cq_bitmask_next(struct cq_cursor *cursor, int32_t count,
                                                    void *scratch)
{
    struct cq_nonzero *const nonzero = scratch;
    int32_t found = 0;
    struct cq_bits mask = cursor->mask;
    struct cq_bits codes = cursor->codes;
    const struct cq_code_map map = cursor->map;
    for (uint32_t offset = 0u; offset < (uint32_t)count;) {
        if (mask.count == 0u) {
            mask.buffer = *mask.at;
            mask.at += 1;
            mask.count = 8u;
        }
        uint32_t step = 1u;
        if ((mask.buffer & 1u) != 0u) {
            nonzero[found].offset = (uint8_t)offset;
            nonzero[found].weight = (int8_t)cq_take_nonzero_code(&codes, map);
            ++found;
        } else if (mask.buffer == 0u) {
            const uint32_t rest = (uint32_t)count - offset; /* one branch for the whole byte */
            step = mask.count < rest ? mask.count : rest;
        }
        mask.buffer >>= step;
        mask.count -= step;
        offset += step;
    }
    cursor->mask = mask;
    cursor->codes = codes;
    return cq_nonzero_chunk(map, nonzero, found);
}

static const struct cq_decoder cq_bitmask = {cq_bitmask_init, cq_bitmask_next};

#endif
