/* SPDX-License-Identifier: Apache-2.0 */
/* Packing `rle`: a run of zeros, then a value field.  Spec: FORMATS.md [F8]. */
#include "rle.h"

/* A record is read when a weight that it covers is wanted, and not before. */
CQ_FAST_CODE static struct cq_chunk cq_rle_next(struct cq_cursor *cursor, int32_t count,
                                                void *scratch)
{
    const struct cq_nonzero_field field = cq_nonzero_field_of(cursor->map);
    const uint32_t run_width = cursor->run_width;
    const uint32_t escape = (1u << run_width) - 1u;
    struct cq_nonzero *nonzero = scratch;
    struct cq_bits codes = cursor->codes;
    int32_t offset = cursor->zeros;
    if (cursor->value_follows != 0u && offset < count) {
        if (codes.count < 8u) {
            cq_bits_refill(&codes);
        }
        nonzero = cq_nonzero_write(nonzero, offset, &codes, field);
        offset += 1;
        cursor->value_follows = 0u;
    }
    while (offset < count) {
        if (codes.count < 16u) { /* both fields of a record */
            cq_bits_refill(&codes);
        }
        const uint32_t run = cq_bits_next(&codes, run_width);
        offset += (int32_t)run;
        if (run == escape) {
            continue;
        }
        if (offset >= count) {
            cursor->value_follows = 1u;
            break;
        }
        nonzero = cq_nonzero_write(nonzero, offset, &codes, field);
        offset += 1;
    }
    cursor->codes = codes;
    cursor->zeros = offset - count;
    return cq_nonzero_chunk(cursor->map, scratch, nonzero);
}

const struct cq_decoder cq_rle = {cq_cursor_init, cq_rle_next};
