/* SPDX-License-Identifier: Apache-2.0 */
/* The decoders of runtime_c/src/decode, walked row by row and chunk by chunk, for test_decode.py.
 */
#include "../../../runtime_c/src/decode/bitmask.h"
#include "../../../runtime_c/src/decode/csr.h"
#include "../../../runtime_c/src/decode/dense.h"
#include "../../../runtime_c/src/decode/gap.h"
#include "../../../runtime_c/src/decode/huffman.h"
#include "../../../runtime_c/src/decode/rle.h"
#include "../../../runtime_c/src/decode/ternary.h"

#include "shims.h"

static void store_dense(const struct cq_chunk *chunk, int32_t count, int8_t *out)
{
    const int8_t *const weight = chunk->data;
    CQ_ASSERT(chunk->count == count);
    for (int32_t i = 0; i < count; ++i) {
        out[i] = weight[i];
    }
}

static void store_sparse(const struct cq_chunk *chunk, int32_t count, int8_t *out)
{
    const struct cq_nonzero *const nonzero = chunk->data;
    for (int32_t i = 0; i < count; ++i) {
        out[i] = 0;
    }
    for (int32_t i = 0; i < chunk->count; ++i) {
        CQ_ASSERT(nonzero[i].offset < count && nonzero[i].weight != 0);
        out[nonzero[i].offset] = nonzero[i].weight;
    }
}

static int32_t decode(const struct cq_decoder *decoder, const struct cq_weights *weights,
                      uint32_t bits, int32_t rows, int32_t row, int8_t *out,
                      void (*store)(const struct cq_chunk *chunk, int32_t count, int8_t *out))
{
    struct cq_nonzero scratch[CQ_CHUNK];
    struct cq_cursor cursor;
    decoder->init(&cursor, weights, bits, rows * row);
    for (int32_t r = 0; r < rows; ++r) {
        for (int32_t k = 0; k < row; k += CQ_CHUNK) {
            const int32_t count = row - k < CQ_CHUNK ? row - k : CQ_CHUNK;
            const struct cq_chunk chunk = decoder->next(&cursor, count, scratch);
            store(&chunk, count, out);
            out += count;
        }
    }
    /* from the front and from the back; bytes that were read ahead hold nothing that was used */
    const uint8_t *const end = weights->data + weights->bytes;
    return (int32_t)(cursor.codes.at - weights->data) - (int32_t)(cursor.codes.count / 8u) +
           (int32_t)(end - cursor.codes.end);
}

#define DECODE(packing, store)                                                                     \
    int32_t shim_decode_##packing(const struct cq_weights *weights, uint32_t bits, int32_t rows,   \
                                  int32_t row, int8_t *out)                                        \
    {                                                                                              \
        return decode(&cq_##packing, weights, bits, rows, row, out, store);                        \
    }

DECODE(dense, store_dense)
DECODE(ternary, store_dense)
DECODE(bitmask, store_sparse)
DECODE(rle, store_sparse)
DECODE(gap, store_sparse)
DECODE(csr, store_sparse)
DECODE(huffman, store_dense)
