/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of weights that are found without decoding those before them. */
#ifndef CODEQ_SRC_ROWS_H
#define CODEQ_SRC_ROWS_H

#include "decode/dense.h"
#include "decode/ternary.h"

struct cq_row_reader {
    const struct cq_decoder *decoder;
    void (*seek)(struct cq_cursor *cursor, uint32_t index); /* to a weight, from the first one */
};

static const struct cq_row_reader cq_dense_rows = {&cq_dense, cq_dense_seek};
static const struct cq_row_reader cq_ternary_rows = {&cq_ternary, cq_ternary_seek};

/* Weights of a layer: rows of `length`. */
struct cq_rows {
    const struct cq_row_reader *reader;
    const struct cq_weights *weights;
    uint32_t bits;
    int32_t length;
};

/* True where the bytes in flash are the weights. */
static inline int cq_rows_are_bytes(const struct cq_rows *rows)
{
    return rows->bits == 8u && rows->weights->levels == NULL && rows->weights->gap == 0u;
}

/* `count` weights of a row from `first` on, decoded unless they are bytes. */
static inline const int8_t *cq_read_row(const struct cq_rows *rows, int32_t row, int32_t first,
                                        int32_t count, int8_t *decoded)
{
    const int32_t index = row * rows->length + first;
    if (cq_rows_are_bytes(rows)) {
        return (const int8_t *)rows->weights->data + index;
    }
    struct cq_cursor cursor;
    rows->reader->decoder->init(&cursor, rows->weights, rows->bits, 0);
    rows->reader->seek(&cursor, (uint32_t)index);
    return rows->reader->decoder->next(&cursor, count, decoded).data;
}

/* Up to four of the last `count` bytes of a row, then zeros. */
static inline uint32_t cq_last_bytes(const int8_t *from, int32_t count)
{
    uint32_t word = 0u;
    for (int32_t i = 0; i < count && i < 4; ++i) {
        word |= (uint32_t)(uint8_t)from[i] << 8 * i;
    }
    return word;
}

#endif
