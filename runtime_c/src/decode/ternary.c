/* SPDX-License-Identifier: Apache-2.0 */
/* Packing `ternary`: five weights of -1, 0, 1 a byte.  Spec: FORMATS.md [F6]. */
#include "ternary.h"

CQ_FAST_CODE static struct cq_chunk cq_ternary_next(struct cq_cursor *cursor, int32_t count,
                                                    void *scratch)
{
    const struct cq_chunk chunk = {scratch, count};
    int8_t *const weight = scratch;
    const uint8_t *at = cursor->codes.at;
    uint32_t digits = cursor->digits;
    uint32_t digits_left = cursor->digits_left;
    for (int32_t i = 0; i < count; ++i) {
        if (digits_left == 0u) {
            CQ_ASSERT(at != cursor->codes.end);
            digits = *at;
            at += 1;
            digits_left = 5u;
        }
        const uint32_t others = (digits * 171u) >> 9; /* digits / 3, exact below 512 */
        weight[i] = (int8_t)((int32_t)(digits - 3u * others) - 1);
        digits = others;
        digits_left -= 1u;
    }
    cursor->codes.at = at;
    cursor->digits = digits;
    cursor->digits_left = digits_left;
    return chunk;
}

void cq_ternary_seek(struct cq_cursor *cursor, uint32_t index)
{
    int8_t skipped[4];
    cursor->codes.at += index / 5u;
    if (index % 5u != 0u) {
        (void)cq_ternary_next(cursor, (int32_t)(index % 5u), skipped);
    }
}

const struct cq_decoder cq_ternary = {cq_cursor_init, cq_ternary_next};
