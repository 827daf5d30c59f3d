/* SPDX-License-Identifier: Apache-2.0 */
/* Change of grid between elements of other widths.  Spec: NUMERICS.md §convert. */
#ifndef CODEQ_CONVERT_H
#define CODEQ_CONVERT_H

#include <codeq/types.h>

struct cq_convert_params {
    int32_t size;
    int32_t out_bits; /**< of an output element: 8, 16 or 32 */
    int32_t in_zero, out_zero;
    struct cq_scale scale;
};

/**
 * @brief Integers of one width on another grid and of another width. [convert-C1]
 *
 * @param params   size, zero points and factor
 * @param in       size values of the width in the kernel's name
 * @param out      size values; must not overlap `in`
 * @param scratch  not used
 */
typedef enum cq_status cq_convert_fn(const struct cq_convert_params *params, const void *in,
                                     void *out, void *scratch);

#define CQ_DECLARE_convert
#include <codeq/kernels.inc>

#endif
