/* SPDX-License-Identifier: Apache-2.0 */
/* Packings `dense` and `ternary` with Helium, a register of weights at a time. */
#ifndef CODEQ_SRC_DECODE_LANES_H
#define CODEQ_SRC_DECODE_LANES_H

#include "cursor.h"

extern const struct cq_decoder cq_dense_lanes;
extern const struct cq_decoder cq_ternary_lanes;

#endif
