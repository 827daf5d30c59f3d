/* SPDX-License-Identifier: Apache-2.0 */
/* The static functions of numerics.h and requant_dsp.h over arrays, for test_numerics.py. */
#include "../../../runtime_c/src/requant_dsp.h"

#include "shims.h"

#define UNARY(name)                                                                                \
    void shim_##name(int32_t count, const int32_t *x, int32_t *out)                                \
    {                                                                                              \
        for (int32_t i = 0; i < count; ++i) {                                                      \
            out[i] = cq_##name(x[i]);                                                              \
        }                                                                                          \
    }

UNARY(exp_of_negative)
UNARY(reciprocal_of_one_plus)

void shim_rounding_doubling_high_mul(int32_t count, const int32_t *a, const int32_t *b,
                                     int32_t *out)
{
    for (int32_t i = 0; i < count; ++i) {
        out[i] = cq_rounding_doubling_high_mul(a[i], b[i]);
    }
}

void shim_rounding_divide_by_pot(int32_t count, const int32_t *x, const int32_t *exponent,
                                 int32_t *out)
{
    for (int32_t i = 0; i < count; ++i) {
        out[i] = cq_rounding_divide_by_pot(x[i], (uint32_t)exponent[i]);
    }
}

void shim_requantize(int32_t count, const int32_t *acc, const int32_t *multiplier,
                     const int32_t *exponent, int32_t *out)
{
    for (int32_t i = 0; i < count; ++i) {
        out[i] = cq_requantize(acc[i], multiplier[i], exponent[i]);
    }
}

void shim_offset_to_int8(int32_t count, const int32_t *x, const int32_t *zero_point,
                         const int32_t *low, const int32_t *high, int8_t *out)
{
    for (int32_t i = 0; i < count; ++i) {
        out[i] = cq_offset_to_int8(x[i], zero_point[i], low[i], high[i]);
    }
}

#define REQUANTIZE(form)                                                                           \
    void shim_requantize_##form(int32_t count, const int32_t *acc, const int32_t *multiplier,      \
                                const int32_t *exponent, const int32_t *zero_point, int8_t *out)   \
    {                                                                                              \
        for (int32_t i = 0; i < count; ++i) {                                                      \
            struct cq_factor factor;                                                               \
            out[i] = 1; /* no zero point of the test: no short form */                             \
            if (cq_short_factor(multiplier[i], exponent[i], &factor)) {                            \
                out[i] = (int8_t)cq_requantize_##form(acc[i], factor.multiplier, factor.scale,     \
                                                      zero_point[i]);                              \
            }                                                                                      \
        }                                                                                          \
    }

REQUANTIZE(short)
REQUANTIZE(relu)

void shim_clamp_dsp(int32_t count, const int32_t *x, const int32_t *low, const int32_t *high,
                    int8_t *out)
{
    for (int32_t i = 0; i < count; ++i) {
        out[i] = (int8_t)x[i];
    }
    cq_clamp_dsp(out, count, low[0], high[0]);
}
