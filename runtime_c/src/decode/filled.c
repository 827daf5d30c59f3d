/* SPDX-License-Identifier: Apache-2.0 */
/* Sparse packings as rows of int8 weights, zeros included, for kernels that multiply faster than
 * they skip.  Scratch: one chunk of non-zeros, then the rows. */
#include "filled.h"

#include "../bytes.h"
#include "bitmask.h"
#include "rle.h"

static struct cq_chunk cq_rows_next(const struct cq_decoder *sparse, struct cq_cursor *cursor,
                                    int32_t count, void *scratch)
{
    int8_t *const rows = (int8_t *)scratch + CQ_CHUNK * sizeof(struct cq_nonzero);
    const struct cq_chunk decoded = {rows, count};
    memset(rows, 0, (size_t)count);
    for (int32_t done = 0; done < count; done += CQ_CHUNK) {
        const int32_t left = count - done;
        const struct cq_chunk chunk =
            sparse->next(cursor, left < CQ_CHUNK ? left : CQ_CHUNK, scratch);
        const struct cq_nonzero *const nonzero = chunk.data;
        for (int32_t i = 0; i < chunk.count; ++i) {
            rows[done + nonzero[i].offset] = nonzero[i].weight;
        }
    }
    return decoded;
}

static struct cq_chunk cq_bitmask_rows_next(struct cq_cursor *cursor, int32_t count, void *scratch)
{
    return cq_rows_next(&cq_bitmask, cursor, count, scratch);
}

static struct cq_chunk cq_rle_rows_next(struct cq_cursor *cursor, int32_t count, void *scratch)
{
    return cq_rows_next(&cq_rle, cursor, count, scratch);
}

static void cq_bitmask_rows_init(struct cq_cursor *cursor, const struct cq_weights *weights,
                                 uint32_t bits, int32_t count)
{
    cq_bitmask.init(cursor, weights, bits, count);
}

const struct cq_decoder cq_bitmask_rows = {cq_bitmask_rows_init, cq_bitmask_rows_next};
const struct cq_decoder cq_rle_rows = {cq_cursor_init, cq_rle_rows_next};
