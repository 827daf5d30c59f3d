/* SPDX-License-Identifier: Apache-2.0 */
/* Softmax over the last axis.  Spec: NUMERICS.md §softmax. */
#ifndef CODEQ_SOFTMAX_H
#define CODEQ_SOFTMAX_H

#include <codeq/types.h>

struct cq_softmax_params {
    int32_t rows, depth;
    struct cq_scale scale;
    int32_t diff_min; /* smallest x - max(x) that counts */
};

typedef enum cq_status cq_softmax_fn(const struct cq_softmax_params *params, const int8_t *in, int8_t *out, void *scratch);

#endif
