/* SPDX-License-Identifier: Apache-2.0 */
/* Packing `huffman`: a prefix code for the upper bits of a code, then the lower ones.
 * Spec: FORMATS.md [F11]. */
#ifndef CODEQ_SRC_DECODE_HUFFMAN_H
#define CODEQ_SRC_DECODE_HUFFMAN_H

#include "cursor.h"

extern const struct cq_decoder cq_huffman;

#endif
