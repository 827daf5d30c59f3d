/* SPDX-License-Identifier: Apache-2.0 */
/* Packing `dense`: one value field a weight.  Spec: FORMATS.md [F5]. */
#include "dense.h"

static void cq_dense_init(struct cq_cursor *cursor, const struct cq_weights *weights, uint32_t bits,
                          int32_t count)
{
    (void)count;
    cq_cursor_init(cursor, weights, bits);
}

CQ_FAST_CODE static struct cq_chunk cq_dense_next(struct cq_cursor *cursor, int32_t count,
                                                  void *scratch)
{
    struct cq_chunk chunk = {scratch, count};
    const struct cq_code_map map = cursor->map;
    if (map.width == 8u && !cq_maps_codes(map)) {
        CQ_ASSERT(count <= cursor->codes.end - cursor->codes.at);
        chunk.data = cursor->codes.at; /* the bytes are the weights: used where they lie in flash */
        cursor->codes.at += count;
        return chunk;
    }
    int8_t *const weight = scratch;
    struct cq_bits codes = cursor->codes;
    for (int32_t i = 0; i < count; ++i) {
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

const struct cq_decoder cq_dense = {cq_dense_init, cq_dense_next};
