/* SPDX-License-Identifier: Apache-2.0 */
/* Packing `gap`: a byte for each non-zero, its distance from the last one and its code.
 * Spec: FORMATS.md [F10]. */
#ifndef CODEQ_SRC_DECODE_GAP_H
#define CODEQ_SRC_DECODE_GAP_H

#include "nonzeros.h"

/* The words of records of the next chunk, which is the next block of the stream; their number is
 * the last byte of it that is left. */
static inline const uint8_t *cq_gap_block(struct cq_bits *stream, int32_t *words)
{
    const uint8_t *const at = stream->at;
    CQ_ASSERT(at != stream->end);
    stream->end -= 1;
    *words = *stream->end;
    CQ_ASSERT(4 * *words <= stream->end - at);
    stream->at = at + 4 * *words;
    return at;
}

/* The same without what fills up the last word. */
static inline const uint8_t *cq_gap_records(struct cq_bits *stream, int32_t *count)
{
    int32_t words;
    const uint8_t *const at = cq_gap_block(stream, &words);
    *count = 4 * words;
    while (*count > 0 && at[*count - 1] == 0u) {
        *count -= 1;
    }
    return at;
}

extern const struct cq_decoder cq_gap;

#endif
