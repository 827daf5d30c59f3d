/* SPDX-License-Identifier: Apache-2.0 */
/* Change of grid in portable C99: all 256 values first where there is room for them. */
#include <codeq/requantize.h>

#include "../lookup.h"
#include "../requant.h"

static void cq_requantize_each(const struct cq_requantize_params *source, const int8_t *in,
                               int8_t *out, int32_t size)
{
    const struct cq_requantize_params params = *source; /* stores of int8 do not alias a copy */
    for (int32_t i = 0; i < size; ++i) {
        out[i] = cq_rescale(in[i] - params.in_zero, params.scale, params.out_zero, params.clamp_min,
                            params.clamp_max);
    }
}

enum cq_status cq_requantize_s8_ref(const struct cq_requantize_params *params, const int8_t *in,
                                    int8_t *out, void *scratch)
{
    int8_t *const table = scratch;
    if (table == NULL) {
        cq_requantize_each(params, in, out, params->size);
        return CQ_OK;
    }
    for (int32_t value = INT8_MIN; value <= INT8_MAX; ++value) {
        table[value - INT8_MIN] = (int8_t)value;
    }
    cq_requantize_each(params, table, table, 256);
    cq_look_up(table, in, out, params->size);
    return CQ_OK;
}
