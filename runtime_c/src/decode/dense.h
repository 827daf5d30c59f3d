/* SPDX-License-Identifier: Apache-2.0 */
/* Packing `dense`: one value field a weight.  Spec: FORMATS.md [F5]. */
#ifndef CODEQ_SRC_DECODE_DENSE_H
#define CODEQ_SRC_DECODE_DENSE_H

#include "cursor.h"

extern const struct cq_decoder cq_dense;

/** @brief The same of 8 bits, where fields are bytes: weights in place, or what they stand for. */
extern const struct cq_decoder cq_dense_bytes;

/** @brief To weight `index`, from the first one. */
void cq_dense_seek(struct cq_cursor *cursor, uint32_t index);

#endif
