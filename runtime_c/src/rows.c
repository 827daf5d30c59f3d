/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of weights, each found wherever it stands in its stream. */
#include "rows.h"

#include "numerics.h"

static uint32_t cq_index_of(const struct cq_rows *rows, int32_t row, int32_t first)
{
    return (uint32_t)(row * rows->length + first);
}

const int8_t *cq_rows_map(const struct cq_rows *rows, int32_t row, int32_t first, int32_t count,
                          int8_t *decoded)
{
    const struct cq_code_map map = {NULL, rows->weights->gap, 8u};
    const uint32_t index = cq_index_of(rows, row, first);
    const int8_t *const code = (const int8_t *)rows->weights->data + index;
    CQ_ASSERT(index + (uint32_t)count <= rows->weights->bytes);
    for (int32_t i = 0; i < count; ++i) {
        decoded[i] = cq_map_code(map, code[i]);
    }
    return decoded;
}

const int8_t *cq_rows_seek(const struct cq_rows *rows, int32_t row, int32_t first, int32_t count,
                           int8_t *decoded)
{
    struct cq_cursor cursor;
    rows->reader->decoder->init(&cursor, rows->weights, rows->bits, 0);
    rows->reader->seek(&cursor, cq_index_of(rows, row, first));
    return rows->reader->decoder->next(&cursor, count, decoded).data;
}

/* What stands between the last bookmark before a weight and the weight is decoded, and dropped. */
const int8_t *cq_rows_follow(const struct cq_rows *rows, int32_t row, int32_t first, int32_t count,
                             int8_t *decoded)
{
    const struct cq_decoder *const decoder = rows->reader->decoder;
    struct cq_bookmarks *const bookmarks = rows->reader->bookmarks;
    const uint32_t index = cq_index_of(rows, row, first);
    struct cq_cursor cursor;
    uint32_t at = 0u;
    decoder->init(&cursor, rows->weights, rows->bits, 0);
    for (int32_t i = 0; i < 4; ++i) {
        if (bookmarks->index[i] <= index && bookmarks->index[i] > at) {
            at = bookmarks->index[i];
            cursor = bookmarks->at[i];
        }
    }
    while (at != index) {
        const int32_t skipped = cq_limit((int32_t)(index - at), 1, count);
        (void)decoder->next(&cursor, skipped, decoded);
        at += (uint32_t)skipped;
    }
    const struct cq_chunk chunk = decoder->next(&cursor, count, decoded);
    bookmarks->at[row & 3] = cursor;
    bookmarks->index[row & 3] = index + (uint32_t)count;
    return chunk.data;
}

uint32_t cq_last_bytes(const int8_t *from, int32_t count)
{
    uint32_t word = 0u;
    for (int32_t i = 0; i < count && i < 4; ++i) {
        word |= (uint32_t)(uint8_t)from[i] << 8 * i;
    }
    return word;
}
