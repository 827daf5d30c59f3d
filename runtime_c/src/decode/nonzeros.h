/* SPDX-License-Identifier: Apache-2.0 */
/* Weights that are not zero, as pairs: what bitmask and rle have in common.  Spec: FORMATS.md [F3],
 * [F4]. */
#ifndef CODEQ_SRC_DECODE_NONZEROS_H
#define CODEQ_SRC_DECODE_NONZEROS_H

#include "cursor.h"

/* How a value field becomes a code: the sign is extended from `width` bits; in a 2-bit grid, where
 * the field is the sign alone, 0 and -1 become 1 and -1. */
struct cq_nonzero_field {
    uint32_t width;
    uint32_t set; /* bits that every code has */
};

static inline struct cq_nonzero_field cq_nonzero_field_of(struct cq_code_map map)
{
    const int is_sign = map.width == 2u && map.levels == NULL;
    const struct cq_nonzero_field field = {is_sign ? 1u : map.width, is_sign ? 1u : 0u};
    return field;
}

/** @brief The next field as a pair; a refill has read it. */
static inline struct cq_nonzero *cq_nonzero_write(struct cq_nonzero *to, int32_t offset,
                                                  struct cq_bits *codes,
                                                  struct cq_nonzero_field field)
{
    const uint32_t top = 32u - field.width;
    const int32_t code = cq_shift_right(cq_to_signed(codes->buffer << top), top);
    CQ_ASSERT(codes->count >= field.width);
    codes->buffer >>= field.width;
    codes->count -= field.width;
    to->offset = (uint8_t)offset;
    to->weight = (int8_t)(code | (int32_t)field.set);
    return to + 1;
}

/** @brief Close a chunk: codes become weights. */
static inline struct cq_chunk cq_nonzero_chunk(struct cq_code_map map, struct cq_nonzero *nonzero,
                                               const struct cq_nonzero *end)
{
    const struct cq_chunk chunk = {nonzero, (int32_t)(end - nonzero)};
    if (cq_maps_codes(map)) {
        for (; nonzero != end; ++nonzero) {
            nonzero->weight = cq_map_code(map, nonzero->weight);
        }
    }
    return chunk;
}

#endif
