/* SPDX-License-Identifier: Apache-2.0 */
/* Any int8 function as a table.  Spec: NUMERICS.md §lut. */
#ifndef CODEQ_LUT_H
#define CODEQ_LUT_H

#include <codeq/types.h>

struct cq_lut_params {
    int32_t size;
    const int8_t *table; /**< 256 values, for inputs -128..127 */
};

/**
 * @brief out[i] = table[in[i] + 128]. [lut-C1]
 *
 * @param params   size and table
 * @param in       size values
 * @param out      size values; may be `in`
 * @param scratch  not used
 */
typedef enum cq_status cq_lut_fn(const struct cq_lut_params *params, const int8_t *in, int8_t *out,
                                 void *scratch);

#define CQ_DECLARE_lut
#include <codeq/kernels.inc>

#endif
