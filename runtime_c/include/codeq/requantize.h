/* SPDX-License-Identifier: Apache-2.0 */
/* Change of grid.  Spec: NUMERICS.md §requantize. */
#ifndef CODEQ_REQUANTIZE_H
#define CODEQ_REQUANTIZE_H

#include <codeq/types.h>

struct cq_requantize_params {
    int32_t size;
    int8_t in_zero, out_zero, clamp_min, clamp_max;
    struct cq_scale scale;
};

typedef enum cq_status cq_requantize_fn(const struct cq_requantize_params *params, const int8_t *in, int8_t *out, void *scratch);

#endif
