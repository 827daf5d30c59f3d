/* SPDX-License-Identifier: Apache-2.0 */
/* Packing `bitmask`: a mask bit a weight, then the value fields of the non-zeros.
 * Spec: FORMATS.md [F7]. */
#include "bitmask.h"

static void cq_bitmask_init(struct cq_cursor *cursor, const struct cq_weights *weights,
                            uint32_t bits, int32_t count)
{
    cq_cursor_init(cursor, weights, bits, count);
    cursor->codes = cq_bits_at(weights->data + ((uint32_t)count + 7u) / 8u, cursor->mask.end);
    cursor->mask.end = cursor->codes.at;
}

/* Sixteen mask bits at a time. */
CQ_FAST_CODE static struct cq_chunk cq_bitmask_next(struct cq_cursor *cursor, int32_t count,
                                                    void *scratch)
{
    const struct cq_nonzero_field field = cq_nonzero_field_of(cursor->map);
    struct cq_nonzero *nonzero = scratch;
    struct cq_bits mask = cursor->mask;
    struct cq_bits codes = cursor->codes;
    for (int32_t first = 0; first < count; first += 16) {
        if (mask.count < 16u) {
            cq_bits_refill(&mask);
        }
        const int32_t width = count - first < 16 ? count - first : 16;
        for (uint32_t bits = cq_bits_next(&mask, (uint32_t)width); bits != 0u; bits &= bits - 1u) {
            if (codes.count < 8u) {
                cq_bits_refill(&codes);
            }
            const int32_t offset = first + (int32_t)cq_trailing_zeros(bits);
            nonzero = cq_nonzero_write(nonzero, offset, &codes, field);
        }
    }
    cursor->mask = mask;
    cursor->codes = codes;
    return cq_nonzero_chunk(cursor->map, scratch, nonzero);
}

const struct cq_decoder cq_bitmask = {cq_bitmask_init, cq_bitmask_next};
