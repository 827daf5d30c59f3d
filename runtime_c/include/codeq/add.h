/* SPDX-License-Identifier: Apache-2.0 */
/* Element-wise sum.  Spec: NUMERICS.md §add. */
#ifndef CODEQ_ADD_H
#define CODEQ_ADD_H

#include <codeq/types.h>

struct cq_add_params {
    int32_t size;   /* elements of a and out */
    int32_t b_size; /* elements of b: size, or a period that repeats */
    int8_t a_zero, b_zero, out_zero, clamp_min, clamp_max;
    struct cq_scale a_scale, b_scale, out_scale;
};

typedef enum cq_status cq_add_fn(const struct cq_add_params *params, const int8_t *a, const int8_t *b, int8_t *out, void *scratch);

#endif
