/* SPDX-License-Identifier: Apache-2.0 */
/* Packing `dense`: one value field a weight.  Spec: FORMATS.md [F5]. */
#include "dense.h"

/* A field at bit `at` of a word as two's complement. */
static inline int8_t cq_dense_field(uint32_t word, uint32_t at, uint32_t width)
{
    const uint32_t top = 32u - width;
    return (int8_t)cq_shift_right(cq_to_signed(word >> at << top), top);
}

/* Three fields at a time, as long as there are three and four bytes to read them from: less than a
 * byte and 24 bits are in every word.  Returns how many. */
CQ_FAST_CODE static int32_t cq_dense_threes(struct cq_bits *codes, uint32_t width, int32_t count,
                                            int8_t *weight)
{
    const uint8_t *const start = codes->at - (codes->count != 0u);
    const int32_t bytes = (int32_t)(codes->end - start);
    uint32_t bit = (8u - codes->count) % 8u;
    int32_t done = 0;
    for (; count - done >= 3 && (int32_t)(bit / 8u) <= bytes - 4; done += 3, bit += 3u * width) {
        const uint32_t word = cq_bits_word(start + bit / 8u) >> bit % 8u;
        weight[done] = cq_dense_field(word, 0u, width);
        weight[done + 1] = cq_dense_field(word, width, width);
        weight[done + 2] = cq_dense_field(word, 2u * width, width);
    }
    *codes = cq_bits_at(start + bit / 8u, codes->end);
    if (bit % 8u != 0u) {
        (void)cq_bits_take(codes, bit % 8u);
    }
    return done;
}

CQ_FAST_CODE static struct cq_chunk cq_dense_bytes_next(struct cq_cursor *cursor, int32_t count,
                                                        void *scratch)
{
    struct cq_chunk chunk = {cursor->codes.at, count};
    CQ_ASSERT(count <= cursor->codes.end - cursor->codes.at && cursor->map.levels == NULL);
    cursor->codes.at += count;
    if (cursor->map.gap != 0) {
        const struct cq_code_map map = {NULL, cursor->map.gap, 8u};
        const int8_t *const code = chunk.data;
        int8_t *const weight = scratch;
        for (int32_t i = 0; i < count; ++i) {
            weight[i] = cq_map_code(map, code[i]);
        }
        chunk.data = weight;
    }
    return chunk;
}

CQ_FAST_CODE static struct cq_chunk cq_dense_next(struct cq_cursor *cursor, int32_t count,
                                                  void *scratch)
{
    const struct cq_chunk chunk = {scratch, count};
    const struct cq_code_map map = cursor->map;
    if (map.width == 8u) {
        return cq_dense_bytes_next(cursor, count, scratch);
    }
    int8_t *const weight = scratch;
    struct cq_bits codes = cursor->codes;
    for (int32_t i = cq_dense_threes(&codes, map.width, count, weight); i < count; ++i) {
        weight[i] = (int8_t)cq_take_code(&codes, map);
    }
    cursor->codes = codes;
    if (cq_maps_codes(map)) {
        for (int32_t i = 0; i < count; ++i) {
            weight[i] = cq_map_code(map, weight[i]);
        }
    }
    return chunk;
}

void cq_dense_seek(struct cq_cursor *cursor, uint32_t index)
{
    const uint32_t bit = index * cursor->map.width;
    cursor->codes = cq_bits_at(cursor->codes.at + bit / 8u, cursor->codes.end);
    if (bit % 8u != 0u) {
        (void)cq_bits_take(&cursor->codes, bit % 8u);
    }
}

const struct cq_decoder cq_dense_bytes = {cq_cursor_init, cq_dense_bytes_next};
const struct cq_decoder cq_dense = {cq_cursor_init, cq_dense_next};
