/* SPDX-License-Identifier: Apache-2.0 */
/* C++ can include every header, link every op, and sees C's structures. */
#include "all_headers.h"
#include "all_headers.h" /* a second time: guards hold, and no row is declared twice */

static_assert(CODEQ_RUNTIME_ABI == 1, "this test was written for ABI 1");
static_assert(sizeof(cq_scale) == 8, "two int32_t");
static_assert(sizeof(cq_shape) == 12, "three int32_t");

static enum cq_status run(const cq_requantize_params *params, const int8_t *in, int8_t *out)
{
    CQ_TRY(cq_requantize_s8_ref(params, in, out, nullptr));
    return CQ_OK;
}

int main()
{
    const int8_t in[3] = {-128, 1, 127};
    int8_t out[3] = {};
    int32_t index = -1;
    const cq_requantize_params half = {3, 0, 0, -128, 127, {INT32_C(1) << 30, 0}};
    const cq_argmax_params row = {1, 3};
    cq_linear_fn *const linear = cq_linear_s8_w4_bitmask_ref;
    cq_conv2d_fn *const conv2d = cq_conv2d_s8_w8_dense_dsp;
    const bool passed = run(&half, in, out) == CQ_OK && out[0] == -64 && out[1] == 1 &&
                        out[2] == 64 && cq_argmax_s8_ref(&row, in, &index, nullptr) == CQ_OK &&
                        index == 2 && linear != nullptr && conv2d != nullptr;
    return passed ? 0 : 1;
}
