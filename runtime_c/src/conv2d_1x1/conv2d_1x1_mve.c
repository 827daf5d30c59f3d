/* SPDX-License-Identifier: Apache-2.0 */
/* Pointwise convolution with VMLADAVA: 16 products an instruction, four pixels a load of weights.
 */
#include <codeq/conv2d.h>

#include "../mve.h"

#ifdef CQ_HAS_MVE

#include "../decode/dense.h"
#include "../decode/ternary.h"
#include "body.h"

/* Lanes past the end of the chunk are loaded as 0, so that the sums need no predicate.  With four
 * pixels, 31 instructions for 64 products (Cortex-M55, gcc 12). */
CQ_FAST_CODE static int32_t cq_dot_mve(const int8_t *x, const int8_t *weight, int32_t count,
                                       int32_t sum)
{
    for (int32_t k = 0; k < count; k += 16) {
        const mve_pred16_t lanes = cq_first_lanes(count - k);
        const int8x16_t w = cq_load_lanes(weight + k, lanes);
        sum = vmladavaq_s8(sum, cq_load_lanes(x + k, lanes), w);
    }
    return sum;
}

CQ_FAST_CODE static void cq_dot4_mve(const int8_t *x, int32_t stride, const int8_t *weight,
                                     int32_t count, int32_t *acc)
{
    int32_t sum0 = acc[0];
    int32_t sum1 = acc[1];
    int32_t sum2 = acc[2];
    int32_t sum3 = acc[3];
    for (int32_t k = 0; k < count; k += 16) {
        const mve_pred16_t lanes = cq_first_lanes(count - k);
        const int8x16_t w = cq_load_lanes(weight + k, lanes);
        const int8_t *const at = x + k;
        sum0 = vmladavaq_s8(sum0, cq_load_lanes(at, lanes), w);
        sum1 = vmladavaq_s8(sum1, cq_load_lanes(at + stride, lanes), w);
        sum2 = vmladavaq_s8(sum2, cq_load_lanes(at + 2 * stride, lanes), w);
        sum3 = vmladavaq_s8(sum3, cq_load_lanes(at + 3 * stride, lanes), w);
    }
    acc[0] = sum0;
    acc[1] = sum1;
    acc[2] = sum2;
    acc[3] = sum3;
}

static void cq_accumulate_mve(int32_t *acc, const int8_t *x, int32_t stride, int32_t vectors,
                              const struct cq_chunk *chunk)
{
    int32_t v = 0;
    for (; v + 4 <= vectors; v += 4) {
        cq_dot4_mve(x + v * stride, stride, chunk->data, chunk->count, acc + v);
    }
    for (; v < vectors; ++v) {
        acc[v] = cq_dot_mve(x + v * stride, chunk->data, chunk->count, acc[v]);
    }
}

static const struct cq_engine cq_dense_mve = {&cq_dense, cq_accumulate_mve};
static const struct cq_engine cq_ternary_mve = {&cq_ternary, cq_accumulate_mve};

#define CQ_CONV2D_1X1_MVE(width, packing)                                                          \
    enum cq_status cq_conv2d_1x1_s8_w##width##_##packing##_mve(                                    \
        const struct cq_conv2d_params *params, const int8_t *in, int8_t *out, void *scratch)       \
    {                                                                                              \
        return cq_conv2d_1x1(&cq_##packing##_mve, width, params, in, out, scratch);                \
    }

CQ_CONV2D_1X1_MVE(1, dense)
CQ_CONV2D_1X1_MVE(2, dense)
CQ_CONV2D_1X1_MVE(3, dense)
CQ_CONV2D_1X1_MVE(4, dense)
CQ_CONV2D_1X1_MVE(5, dense)
CQ_CONV2D_1X1_MVE(6, dense)
CQ_CONV2D_1X1_MVE(7, dense)
CQ_CONV2D_1X1_MVE(8, dense)
CQ_CONV2D_1X1_MVE(2, ternary)

#endif
