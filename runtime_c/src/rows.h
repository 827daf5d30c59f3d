/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of weights, each found wherever it stands in its stream. */
#ifndef CODEQ_SRC_ROWS_H
#define CODEQ_SRC_ROWS_H

#include "bytes.h"
#include "decode/dense.h"
#include "decode/huffman.h"
#include "decode/ternary.h"

struct cq_rows;

/* Places of a stream in which only what stands before a weight says where it is: behind what was
 * read last of every fourth row.  So rows are decoded once if they are read in turn, be it four at
 * a time. */
struct cq_bookmarks {
    struct cq_cursor at[4];
    uint32_t index[4]; /* of the weight there, from the first one; UINT32_MAX: nowhere */
};

struct cq_row_reader {
    const struct cq_decoder *decoder; /* NULL: of bytes */
    /* `count` weights from weight `first` of a row on, of the rows behind it as well. */
    const int8_t *(*read)(const struct cq_rows *rows, int32_t row, int32_t first, int32_t count,
                          int8_t *decoded);
    /* To a weight, from the first one: a reader of fields has this, */
    void (*seek)(struct cq_cursor *cursor, uint32_t index);
    /* one of prefix codes these. */
    struct cq_bookmarks *bookmarks;
};

/* Weights of a layer: rows of `length`. */
struct cq_rows {
    const struct cq_row_reader *reader;
    const struct cq_weights *weights;
    uint32_t bits;
    int32_t length;
};

/* Readers of bytes with a gap, with `seek`, and with bookmarks. */
const int8_t *cq_rows_map(const struct cq_rows *rows, int32_t row, int32_t first, int32_t count,
                          int8_t *decoded);
const int8_t *cq_rows_seek(const struct cq_rows *rows, int32_t row, int32_t first, int32_t count,
                           int8_t *decoded);
const int8_t *cq_rows_follow(const struct cq_rows *rows, int32_t row, int32_t first, int32_t count,
                             int8_t *decoded);

static const struct cq_row_reader cq_dense_rows = {&cq_dense, cq_rows_seek, cq_dense_seek, NULL};
static const struct cq_row_reader cq_byte_rows = {NULL, cq_rows_map, NULL, NULL};
static const struct cq_row_reader cq_ternary_rows = {&cq_ternary, cq_rows_seek, cq_ternary_seek,
                                                     NULL};

/* The reader of a kernel: a program whose weights all have 8 bits decodes no fields. */
#define CQ_ROW_READER(width, packing) ((width) == 8 ? &cq_byte_rows : &cq_##packing##_rows)

/* A reader that begins anywhere in a prefix code once it has followed the stream to there. */
static inline struct cq_row_reader cq_huffman_reader(struct cq_bookmarks *bookmarks)
{
    const struct cq_row_reader reader = {&cq_huffman, cq_rows_follow, NULL, bookmarks};
    memset(bookmarks->index, 0xff, sizeof bookmarks->index);
    return reader;
}

/* True where the bytes in flash are the weights: 8 bits have no table [N3.3]. */
static inline int cq_rows_are_bytes(const struct cq_rows *rows)
{
    return rows->bits == 8u && rows->weights->gap == 0u && rows->reader->bookmarks == NULL;
}

/* The same, decoded unless they are bytes. */
static inline const int8_t *cq_read_row(const struct cq_rows *rows, int32_t row, int32_t first,
                                        int32_t count, int8_t *decoded)
{
    if (cq_rows_are_bytes(rows)) {
        return (const int8_t *)rows->weights->data + row * rows->length + first;
    }
    return rows->reader->read(rows, row, first, count, decoded);
}

/* Up to four of the last `count` bytes of a row, then zeros. */
uint32_t cq_last_bytes(const int8_t *from, int32_t count);

#endif
