/* SPDX-License-Identifier: Apache-2.0 */
/* Packing `huffman`: a prefix code for the upper bits of a code, then the lower ones.
 * Spec: FORMATS.md [F11]. */
#include "huffman.h"

/* Longest prefix code and most low bits: one refill has read them all. */
#define CQ_LONGEST_PREFIX 16u
#define CQ_LONGEST_CODE   23u

static void cq_huffman_init(struct cq_cursor *cursor, const struct cq_weights *weights,
                            uint32_t bits, int32_t count)
{
    cq_cursor_init(cursor, weights, bits, count);
    CQ_ASSERT(weights->bytes > 32u || weights->bytes > (weights->data[0] & 31u));
    const uint32_t longest = weights->data[0] & 31u;
    CQ_ASSERT(longest >= 1u && longest <= CQ_LONGEST_PREFIX);
    cursor->prefix_counts = weights->data + 1;
    cursor->prefix_symbols = cursor->prefix_counts + longest;
    cursor->low_width = weights->data[0] >> 5;
    uint32_t symbols = 0u;
    for (uint32_t k = 0u; k < longest; ++k) {
        symbols += cursor->prefix_counts[k];
    }
    CQ_ASSERT(symbols < weights->bytes - longest);
    cursor->codes = cq_bits_at(cursor->prefix_symbols + symbols, cursor->codes.end);
}

/*
 * Codes of one length are consecutive numbers, so a code that is below the last one of its length
 * is complete: no table but the stream's own.  Cortex-M4, gcc 12: about 25 instructions a
 * weight, and 9 for each bit of its prefix code but the first.
 */
CQ_FAST_CODE static struct cq_chunk cq_huffman_next(struct cq_cursor *cursor, int32_t count,
                                                    void *scratch)
{
    const struct cq_chunk chunk = {scratch, count};
    const struct cq_code_map map = cursor->map;
    const uint32_t low_width = cursor->low_width;
    int8_t *const weight = scratch;
    struct cq_bits codes = cursor->codes;
    for (int32_t i = 0; i < count; ++i) {
        const uint8_t *of_length = cursor->prefix_counts;
        const uint8_t *symbol = cursor->prefix_symbols;
        uint32_t place = 0u; /* among the codes of this length */
        if (codes.count < CQ_LONGEST_CODE) {
            cq_bits_refill(&codes);
        }
        for (;;) {
            CQ_ASSERT(of_length != cursor->prefix_symbols);
            place = 2u * place + cq_bits_next(&codes, 1u);
            const uint32_t codes_of_length = *of_length;
            if (place < codes_of_length) {
                break;
            }
            place -= codes_of_length;
            symbol += codes_of_length;
            of_length += 1;
        }
        const uint32_t low = cq_bits_next(&codes, low_width);
        const uint32_t code = (uint32_t)symbol[place] << low_width | low;
        weight[i] = (int8_t)cq_sign_extend(code & 0xffu, 8u);
    }
    cursor->codes = codes;
    if (cq_maps_codes(map)) {
        for (int32_t i = 0; i < count; ++i) {
            weight[i] = cq_map_code(map, weight[i]);
        }
    }
    return chunk;
}

const struct cq_decoder cq_huffman = {cq_huffman_init, cq_huffman_next};
