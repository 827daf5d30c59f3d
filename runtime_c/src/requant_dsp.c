/* SPDX-License-Identifier: Apache-2.0 */
/* What a layer does once with all its outputs. */
#include "requant_dsp.h"

void cq_clamp_dsp(int8_t *out, int32_t count, int32_t low, int32_t high)
{
    if (low == INT8_MIN && high == INT8_MAX) {
        return;
    }
    const uint32_t lows = (uint8_t)low * UINT32_C(0x01010101);
    const uint32_t highs = (uint8_t)high * UINT32_C(0x01010101);
    for (; count >= 4; count -= 4, out += 4) {
        cq_store4(out, cq_min_s8x4(cq_max_s8x4(cq_load4(out), lows), highs));
    }
    for (; count > 0; --count, ++out) {
        *out = cq_clamp_to_int8(*out, low, high);
    }
}
