/* SPDX-License-Identifier: Apache-2.0 */
/* Packing `gap`: a byte for each non-zero, its distance from the last one and its code.
 * Spec: FORMATS.md [F10]. */
#ifndef CODEQ_SRC_DECODE_GAP_H
#define CODEQ_SRC_DECODE_GAP_H

#include "nonzeros.h"

/* The records of the next chunk, which the stream's next block holds; their number is its first
 * byte. */
static inline const uint8_t *cq_gap_records(struct cq_bits *stream, int32_t *count)
{
    const uint8_t *const at = stream->at;
    CQ_ASSERT(at != stream->end);
    *count = *at;
    CQ_ASSERT(*count < stream->end - at);
    stream->at = at + 1 + *count;
    return at + 1;
}

extern const struct cq_decoder cq_gap;

#endif
