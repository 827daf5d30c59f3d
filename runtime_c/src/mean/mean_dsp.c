/* SPDX-License-Identifier: Apache-2.0 */
/* Mean over all pixels, four channels at a time, two of which share a register. */
#include <codeq/mean.h>

#include "../attributes.h"
#include "../dsp.h"
#include "../requant.h"

#define CQ_LANE_PIXELS 256 /* int8 values whose sum is an int16, whatever they are */

/* Sums of four channels: 6 instructions a pixel (Cortex-M4, gcc 12). */
CQ_FAST_CODE CQ_NOINLINE static void cq_sum_four(const int8_t *at, int32_t step, int32_t pixels,
                                                 int32_t *sums)
{
    sums[0] = sums[1] = sums[2] = sums[3] = 0;
    while (pixels > 0) {
        const int32_t count = cq_limit(pixels, 1, CQ_LANE_PIXELS);
        uint32_t even = 0u;
        uint32_t odd = 0u;
        for (const int8_t *const end = at + count * step; at != end; at += step) {
            const uint32_t word = cq_load4(at);
            even = cq_sxtab16(even, word);
            odd = cq_sxtab16_ror8(odd, word);
        }
        sums[0] += (int16_t)(uint16_t)even;
        sums[1] += (int16_t)(uint16_t)odd;
        sums[2] += (int16_t)(uint16_t)(even >> 16);
        sums[3] += (int16_t)(uint16_t)(odd >> 16);
        pixels -= count;
    }
}

/* Sums of fewer than four. */
CQ_SELDOM static void cq_sum_few(const int8_t *at, int32_t step, int32_t pixels, int32_t channels,
                                 int32_t *sums)
{
    for (int32_t c = 0; c < channels; ++c) {
        sums[c] = 0;
        for (int32_t i = 0; i < pixels; ++i) {
            sums[c] += at[i * step + c];
        }
    }
}

enum cq_status cq_mean_s8_dsp(const struct cq_mean_params *params, const int8_t *in, int8_t *out,
                              void *scratch)
{
    const int32_t channels = params->channels;
    const int32_t zeros = params->in_zero * params->pixels;
    (void)scratch;
    for (int32_t c = 0; c < channels; c += 4) {
        int32_t sums[4];
        const int32_t count = cq_limit(channels - c, 1, 4);
        if (count == 4) {
            cq_sum_four(in + c, channels, params->pixels, sums);
        } else {
            cq_sum_few(in + c, channels, params->pixels, count, sums);
        }
        for (int32_t i = 0; i < count; ++i) {
            *out++ = cq_rescale(sums[i] - zeros, params->scale, params->out_zero, params->clamp_min,
                                params->clamp_max);
        }
    }
    return CQ_OK;
}
