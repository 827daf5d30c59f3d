/* SPDX-License-Identifier: Apache-2.0 */
/* What the swar kernels compute with, for test_swar.py. */
#include "../../../runtime_c/src/requant_swar.h"

#include "shims.h"

void shim_rounding_doubling_high_mul_halves(int32_t count, const int32_t *a, const int32_t *b,
                                            int32_t *out)
{
    for (int32_t i = 0; i < count; ++i) {
        out[i] = cq_rounding_doubling_high_mul_halves(cq_split(a[i]), cq_split(b[i]));
    }
}

void shim_store_outputs(int32_t count, const int32_t *acc, const int32_t *numbers, int8_t *out)
{
    const int32_t bias = -1; /* any: accumulators are given whole */
    struct cq_outputs outputs;
    outputs.channel.bias = bias;
    outputs.channel.multiplier = numbers[0];
    outputs.channel.exponent = numbers[1];
    outputs.channel.zero_point = numbers[2];
    outputs.channel.clamp_min = numbers[3];
    outputs.channel.clamp_max = numbers[4];
    cq_prepare_outputs(&outputs, count);
    for (int32_t i = 0; i < count; ++i) {
        const int32_t sum = cq_to_signed((uint32_t)bias - (uint32_t)acc[i]);
        cq_store_outputs(&outputs, &sum, 1, 1, &out[i], 1);
    }
}
