/* SPDX-License-Identifier: Apache-2.0 */
/* Sparse packings as rows of int8 weights, zeros included, for kernels that multiply faster than
 * they skip.  Scratch: one chunk of non-zeros, then the rows. */
#ifndef CODEQ_SRC_DECODE_FILLED_H
#define CODEQ_SRC_DECODE_FILLED_H

#include "cursor.h"

extern const struct cq_decoder cq_bitmask_rows;
extern const struct cq_decoder cq_rle_rows;

#endif
