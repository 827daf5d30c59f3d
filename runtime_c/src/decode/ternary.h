/* SPDX-License-Identifier: Apache-2.0 */
/* Packing `ternary`: five weights of -1, 0, 1 a byte.  Spec: FORMATS.md [F6]. */
#ifndef CODEQ_SRC_DECODE_TERNARY_H
#define CODEQ_SRC_DECODE_TERNARY_H

#include "cursor.h"

extern const struct cq_decoder cq_ternary;

/** @brief To weight `index`, from the first one. */
void cq_ternary_seek(struct cq_cursor *cursor, uint32_t index);

#endif
