/* SPDX-License-Identifier: Apache-2.0 */
/* The example of runtime_c/README.md: a layer without the compiler's help. */
#include <codeq/linear.h>

/* 3 inputs, 2 outputs; 4-bit weights 1 -2 7 | 0 -7 3, two a byte, low half first */
static const uint8_t weights[] = {0xe1, 0x07, 0x39};
static const int16_t bias[] = {-300, 12};
static const int32_t multiplier[] = {INT32_C(1) << 30}; /* 0.5 */
static const int8_t exponent[] = {-2};                  /* times 2^-2 */

static const struct cq_linear_params layer = {
    .rows = 1,
    .in_features = 3,
    .out_features = 2,
    .weights = {.data = weights, .bytes = sizeof weights},
    .requant = {.bias = bias,
                .multiplier = multiplier,
                .exponent = exponent,
                .bias_bytes = 2,
                .multiplier_bytes = 4,
                .zero_point = -5,
                .clamp_min = -128,
                .clamp_max = 127},
};

int main(void)
{
    const int8_t in[3] = {100, -20, 30};
    int8_t out[2];
    uint32_t scratch[1]; /* min(3, CQ_CHUNK) decoded weights, rounded up to 4 bytes */
    if (cq_linear_s8_w4_dense_ref(&layer, in, out, scratch) != CQ_OK) {
        return 1;
    }
    /* (100 + 40 + 210 - 300) / 8 - 5 = 1.25, (140 + 90 + 12) / 8 - 5 = 25.25 */
    return out[0] == 1 && out[1] == 25 ? 0 : 1;
}
