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

/**
 * @brief The same real values on another grid. [requantize-C1]
 *
 * @param params   size, zero points and factor
 * @param in       size values
 * @param out      size values; may be `in`
 * @param scratch  for ref kernels 256 bytes, or NULL: slower [requantize-C4]; not used by others
 */
typedef enum cq_status cq_requantize_fn(const struct cq_requantize_params *params, const int8_t *in,
                                        int8_t *out, void *scratch);

#define CQ_DECLARE_requantize
#include <codeq/kernels.inc>

#endif
