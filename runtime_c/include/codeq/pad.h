/* SPDX-License-Identifier: Apache-2.0 */
/* Constant padding.  Spec: NUMERICS.md §pad. */
#ifndef CODEQ_PAD_H
#define CODEQ_PAD_H

#include <codeq/types.h>

struct cq_pad_params {
    struct cq_shape in, out;
    struct cq_shape before; /* added above, left and before channel 0 */
    int8_t value;
};

typedef enum cq_status cq_pad_fn(const struct cq_pad_params *params, const int8_t *in, int8_t *out, void *scratch);

#endif
