/* SPDX-License-Identifier: Apache-2.0 */
/* Pointwise convolution with SMLAD: four products of two pixels each in four instructions. */
#include "../bytes.h"
#include "../decode/dense.h"
#include "../decode/ternary.h"
#include "../dsp.h"
#include "body.h"

/*
 * Bytes are widened in the order (0, 2), (1, 3), which SXTB16 gives for free; weights and pixels
 * come in the same order, so that it does not matter.  A word of weights is widened once for two
 * pixels: 15 instructions for 8 products (Cortex-M4, gcc 12), 28 in portable C.  Both are loaded at
 * any address: a row of weights in flash starts where the last ended.
 */
CQ_FAST_CODE static void cq_accumulate_dsp(int32_t *acc, const int8_t *x, int32_t stride,
                                           int32_t vectors, const struct cq_chunk *chunk)
{
    const int8_t *const weight = chunk->data;
    const int32_t words_end = chunk->count - chunk->count % 4;
    for (int32_t v = 0; v < vectors; v += 2) {
        const int32_t other = v + 1 < vectors ? v + 1 : v; /* a last pixel is paired with itself */
        const int8_t *const x0 = x + v * stride;
        const int8_t *const x1 = x + other * stride;
        int32_t sum0 = acc[v];
        int32_t sum1 = acc[other];
        int32_t k = 0;
        for (; k < words_end; k += 4) {
            const uint32_t w = cq_load4(weight + k);
            const uint32_t w_even = cq_sxtb16(w);
            const uint32_t w_odd = cq_sxtb16_ror8(w);
            const uint32_t word0 = cq_load4(x0 + k);
            const uint32_t word1 = cq_load4(x1 + k);
            sum0 = cq_smlad(cq_sxtb16(word0), w_even, sum0);
            sum0 = cq_smlad(cq_sxtb16_ror8(word0), w_odd, sum0);
            sum1 = cq_smlad(cq_sxtb16(word1), w_even, sum1);
            sum1 = cq_smlad(cq_sxtb16_ror8(word1), w_odd, sum1);
        }
        for (; k < chunk->count; ++k) {
            sum0 += x0[k] * weight[k];
            sum1 += x1[k] * weight[k];
        }
        acc[other] = sum1;
        acc[v] = sum0;
    }
}

static const struct cq_engine cq_dense_dsp = {&cq_dense, cq_accumulate_dsp};
static const struct cq_engine cq_ternary_dsp = {&cq_ternary, cq_accumulate_dsp};

#define CQ_CONV2D_1X1_DSP(width, packing)                                                          \
    enum cq_status cq_conv2d_1x1_s8_w##width##_##packing##_dsp(                                    \
        const struct cq_conv2d_params *params, const int8_t *in, int8_t *out, void *scratch)       \
    {                                                                                              \
        return cq_conv2d_1x1(&cq_##packing##_dsp, width, params, in, out, scratch);                \
    }

CQ_CONV2D_1X1_DSP(1, dense)
CQ_CONV2D_1X1_DSP(2, dense)
CQ_CONV2D_1X1_DSP(3, dense)
CQ_CONV2D_1X1_DSP(4, dense)
CQ_CONV2D_1X1_DSP(5, dense)
CQ_CONV2D_1X1_DSP(6, dense)
CQ_CONV2D_1X1_DSP(7, dense)
CQ_CONV2D_1X1_DSP(8, dense)
CQ_CONV2D_1X1_DSP(2, ternary)
