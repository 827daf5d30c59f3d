/* SPDX-License-Identifier: Apache-2.0 */
/* Packing `csr`: for each block of a row a list of the places that hold something.
 * Spec: FORMATS.md [F12]. */
#include "csr.h"

static inline struct cq_nonzero *cq_csr_write(struct cq_nonzero *to, uint32_t place, int32_t weight,
                                              uint32_t length)
{
    CQ_ASSERT(place < length);
    (void)length;
    to->offset = (uint8_t)place;
    to->weight = (int8_t)weight;
    return to + 1;
}

/* A list of places and signs; `first` is that of its block in the chunk. */
static struct cq_nonzero *cq_csr_decode_signs(struct cq_bits *stream, uint32_t first,
                                              uint32_t length, struct cq_nonzero *to)
{
    const uint8_t *record = stream->at + 1;
    const uint8_t *const end = record + *stream->at;
    CQ_ASSERT(*stream->at <= length);
    for (; record != end; ++record) {
        to = cq_csr_write(to, first + *record / 2u, 1 - 2 * (*record & 1), first + length);
    }
    stream->at = end;
    return to;
}

/* A list of groups: a word of codes, then their places.  The second record of the last pair may
 * only fill it up. */
static struct cq_nonzero *cq_csr_decode_codes(struct cq_bits *stream, uint32_t bits,
                                              uint32_t length, struct cq_nonzero *to)
{
    const uint32_t group = CQ_CSR_GROUP(bits);
    const uint8_t *at = stream->at + 5;
    uint32_t word = cq_bits_word(stream->at + 1);
    CQ_ASSERT(2u * *stream->at <= length + 1u);
    for (uint32_t left = *stream->at; left > 0u; --left, at += 2) {
        const uint32_t pair = (left - 1u) % group;
        if (left < *stream->at && pair + 1u == group) {
            word = cq_bits_word(at);
            at += 4;
        }
        const uint32_t top = 32u - bits;
        const int32_t second =
            cq_shift_right(cq_to_signed(word << (16u - bits - bits * pair)), top);
        to = cq_csr_write(to, at[0], cq_shift_right(cq_to_signed(word << (top - bits * pair)), top),
                          length);
        if (second != 0) {
            to = cq_csr_write(to, at[1], second, length);
        }
    }
    stream->at = at;
    return to;
}

CQ_FAST_CODE static struct cq_chunk cq_csr_next(struct cq_cursor *cursor, int32_t count,
                                                void *scratch)
{
    const uint32_t bits = cursor->map.width;
    const uint32_t block = bits == 2u ? CQ_CSR_SIGNS : CQ_CHUNK;
    struct cq_nonzero *to = scratch;
    for (uint32_t first = 0u; first < (uint32_t)count; first += block) {
        const uint32_t left = (uint32_t)count - first;
        const uint32_t length = left < block ? left : block;
        CQ_ASSERT(cq_csr_has_list(&cursor->codes, bits));
        to = bits == 2u ? cq_csr_decode_signs(&cursor->codes, first, length, to)
                        : cq_csr_decode_codes(&cursor->codes, bits, length, to);
    }
    return cq_nonzero_chunk(cursor->map, scratch, to);
}

const struct cq_decoder cq_csr = {cq_cursor_init, cq_csr_next};
