/* SPDX-License-Identifier: Apache-2.0 */
/* Copies of elements that do not stand side by side. */
#ifndef CODEQ_SRC_WALK_H
#define CODEQ_SRC_WALK_H

#include <codeq/types.h>

#include "bytes.h"

/** @brief The elements of one innermost loop; returns the byte behind their copies. */
static inline int8_t *cq_walk_row(const int8_t *from, int32_t count, int32_t stride, int8_t *out)
{
    if (stride == 1) {
        return cq_copy(out, from, count);
    }
    for (int32_t i = 0; i < count; ++i) {
        *out++ = from[i * stride];
    }
    return out;
}

/** @brief Copy the elements that a walk meets, in its order. */
static inline void cq_walk_copy(const struct cq_walk *walk, const int8_t *in, int8_t *out)
{
    in += walk->start;
    for (int32_t i = 0; i < walk->extent[0]; ++i) {
        for (int32_t j = 0; j < walk->extent[1]; ++j) {
            for (int32_t k = 0; k < walk->extent[2]; ++k) {
                const int32_t first =
                    i * walk->stride[0] + j * walk->stride[1] + k * walk->stride[2];
                out = cq_walk_row(in + first, walk->extent[3], walk->stride[3], out);
            }
        }
    }
}

#endif
