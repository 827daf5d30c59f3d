/* SPDX-License-Identifier: Apache-2.0 */
/* Any int8 function as a table.  Spec: NUMERICS.md §lut. */
#ifndef CODEQ_LUT_H
#define CODEQ_LUT_H

#include <codeq/types.h>

struct cq_lut_params {
    int32_t size;
    const int8_t *table; /* 256 values, for inputs -128..127 */
};

typedef enum cq_status cq_lut_fn(const struct cq_lut_params *params, const int8_t *in, int8_t *out, void *scratch);

#endif
