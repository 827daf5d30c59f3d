/* SPDX-License-Identifier: Apache-2.0 */
/* Packing `gap`: a byte for each non-zero, its distance from the last one and its code.
 * Spec: FORMATS.md [F10]. */
#include "gap.h"

CQ_FAST_CODE static struct cq_chunk cq_gap_next(struct cq_cursor *cursor, int32_t count,
                                                void *scratch)
{
    const uint32_t code_at = 8u - cursor->map.width;
    const uint32_t reach = (1u << code_at) - 1u;
    struct cq_nonzero *nonzero = scratch;
    uint32_t place = UINT32_MAX; /* one before the first */
    int32_t records;
    const uint8_t *record = cq_gap_records(&cursor->codes, &records);
    for (const uint8_t *const end = record + records; record != end; ++record) {
        const int32_t code = cq_shift_right((int8_t)*record, code_at);
        CQ_ASSERT((*record & reach) != 0u);
        place += *record & reach;
        if (code != 0) {
            CQ_ASSERT(place < (uint32_t)count);
            nonzero->offset = (uint8_t)place;
            nonzero->weight = (int8_t)code;
            ++nonzero;
        }
    }
    return cq_nonzero_chunk(cursor->map, scratch, nonzero);
}

const struct cq_decoder cq_gap = {cq_cursor_init, cq_gap_next};
