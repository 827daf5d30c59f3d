/* SPDX-License-Identifier: Apache-2.0 */
/* Element-wise maximum and minimum in portable C99. [extremum-C1] */
#include <codeq/extremum.h>

enum cq_status cq_extremum_s8_ref(const struct cq_extremum_params *source, const int8_t *a,
                                  const int8_t *b, int8_t *out, void *scratch)
{
    const struct cq_extremum_params params = *source; /* stores of int8 do not alias a copy */
    (void)scratch;
    int32_t j = 0;
    for (int32_t i = 0; i < params.size; ++i) {
        const int takes_a = params.largest ? a[i] > b[j] : a[i] < b[j];
        out[i] = takes_a ? a[i] : b[j];
        j = j + 1 < params.b_size ? j + 1 : 0;
    }
    return CQ_OK;
}
