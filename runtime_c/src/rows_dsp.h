/* SPDX-License-Identifier: Apache-2.0 */
/* Packings whose rows are found without decoding those before them. */
#ifndef CODEQ_SRC_ROWS_DSP_H
#define CODEQ_SRC_ROWS_DSP_H

#include "decode/dense.h"
#include "decode/ternary.h"

struct cq_row_reader {
    const struct cq_decoder *decoder;
    void (*seek)(struct cq_cursor *cursor, uint32_t index); /* to a weight, from the first one */
};

static const struct cq_row_reader cq_dense_rows = {&cq_dense, cq_dense_seek};
static const struct cq_row_reader cq_ternary_rows = {&cq_ternary, cq_ternary_seek};

#endif
