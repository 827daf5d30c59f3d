/* SPDX-License-Identifier: Apache-2.0 */
/* Packing `bitmask`: a mask bit a weight, then the value fields of the non-zeros.
 * Spec: FORMATS.md [F7]. */
#ifndef CODEQ_SRC_DECODE_BITMASK_H
#define CODEQ_SRC_DECODE_BITMASK_H

#include "nonzeros.h"

extern const struct cq_decoder cq_bitmask;

#endif
