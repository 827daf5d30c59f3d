/* SPDX-License-Identifier: Apache-2.0 */
/* Packing `rle`: a run of zeros, then a value field.  Spec: FORMATS.md [F8]. */
#ifndef CODEQ_SRC_DECODE_RLE_H
#define CODEQ_SRC_DECODE_RLE_H

#include "nonzeros.h"

extern const struct cq_decoder cq_rle;

#endif
