/* SPDX-License-Identifier: Apache-2.0 */
/* Fully connected layer.  Spec: NUMERICS.md §linear. */
#ifndef CODEQ_LINEAR_H
#define CODEQ_LINEAR_H

#include <codeq/types.h>

struct cq_linear_params {
    int32_t rows; /* vectors, each transformed alike */
    int32_t in_features, out_features;
    struct cq_weights weights;
    struct cq_requant requant;
};

typedef enum cq_status cq_linear_fn(const struct cq_linear_params *params, const int8_t *in, int8_t *out, void *scratch);

#endif
