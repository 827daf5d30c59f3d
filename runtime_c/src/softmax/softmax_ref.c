/* SPDX-License-Identifier: Apache-2.0 */
/* Softmax in gemmlowp's fixed point, portable C99.  The exponentials are computed twice, for the
 * sum and for the outputs, so that no scratch is needed. */
#include <codeq/softmax.h>

#include "../numerics.h"

static int32_t cq_softmax_largest(const int8_t *in, int32_t depth)
{
    int32_t largest = in[0];
    for (int32_t i = 1; i < depth; ++i) {
        largest = in[i] > largest ? in[i] : largest;
    }
    return largest;
}

static int32_t cq_softmax_exp(const struct cq_softmax_params *params, int32_t difference)
{
    return cq_exp_of_negative(
        cq_requantize(difference, params->scale.multiplier, params->scale.exponent));
}

static uint32_t cq_leading_zeros(uint32_t x)
{
    uint32_t count = 0u;
    for (; x < UINT32_C(0x80000000); x <<= 1) {
        ++count;
    }
    return count;
}

static void cq_softmax_row(const struct cq_softmax_params *params, const int8_t *in, int8_t *out)
{
    const int32_t largest = cq_softmax_largest(in, params->depth);
    uint32_t sum = 0u; /* Q12.19; 1 at least, the share of the largest value itself */
    for (int32_t i = 0; i < params->depth; ++i) {
        const int32_t difference = in[i] - largest;
        if (difference >= params->diff_min) {
            sum += (uint32_t)cq_rounding_divide_by_pot(cq_softmax_exp(params, difference), 12u);
        }
    }
    /* sum = (1 + fraction) * 2^(12 - zeros), and an output step is 2^-8 */
    const uint32_t zeros = cq_leading_zeros(sum);
    const int32_t fraction = (int32_t)((sum << zeros) - UINT32_C(0x80000000));
    const int32_t reciprocal = cq_reciprocal_of_one_plus(fraction);
    const uint32_t shift = 12u + 31u - 8u - zeros;
    for (int32_t i = 0; i < params->depth; ++i) {
        const int32_t difference = in[i] - largest;
        int32_t probability = 0;
        if (difference >= params->diff_min && shift <= 31u) { /* beyond, all of them round to 0 */
            const int32_t exp = cq_softmax_exp(params, difference);
            probability =
                cq_rounding_divide_by_pot(cq_rounding_doubling_high_mul(reciprocal, exp), shift);
        }
        out[i] = cq_clamp_to_int8(probability - 128, -128, 127);
    }
}

enum cq_status cq_softmax_s8_ref(const struct cq_softmax_params *params, const int8_t *in,
                                 int8_t *out, void *scratch)
{
    (void)scratch;
    for (int32_t row = 0; row < params->rows; ++row) {
        cq_softmax_row(params, in + row * params->depth, out + row * params->depth);
    }
    return CQ_OK;
}
