/* SPDX-License-Identifier: Apache-2.0 */
/* Element-wise sum without long products. */
#include <codeq/add.h>

#include "../requant_swar.h"

/* Elements that are aligned before they are requantized. */
#define CQ_ADD_BLOCK 16

/* An input's factor. */
struct cq_add_factor {
    struct cq_halves multiplier;
    uint32_t right;
};

static struct cq_add_factor cq_add_load_factor(struct cq_scale scale)
{
    CQ_ASSERT(scale.exponent <= 0); /* no input's scale exceeds the common one [add-C4] */
    const struct cq_add_factor factor = {cq_split(scale.multiplier), (uint32_t)-scale.exponent};
    return factor;
}

/*
 * An input in steps of 2^-20 of twice the larger input scale. [add-C1]  With d below 2^8 in
 * magnitude, (d * 2^20 * m + 2^30) / 2^31 is (d * m + 2^10) / 2^11, of which the upper half of m
 * gives a multiple.
 */
static inline int32_t cq_add_term(int32_t d, struct cq_add_factor factor)
{
    const int32_t x = d * factor.multiplier.high * 32 +
                      cq_shift_right(d * factor.multiplier.low + (1 << 10), 11u);
    return factor.right == 0u ? x : cq_swar_divide_by_pot(x, factor.right);
}

/* Negated sums of a block, the second input from j on; returns where it continues. */
CQ_FAST_CODE CQ_ALONE static int32_t cq_add_block(const struct cq_add_params *params,
                                                  const int8_t *a, const int8_t *b, int32_t j,
                                                  int32_t count, int32_t *sums)
{
    const struct cq_add_factor a_factor = cq_add_load_factor(params->a_scale);
    const struct cq_add_factor b_factor = cq_add_load_factor(params->b_scale);
    for (int32_t i = 0; i < count; ++i) {
        const int32_t u = cq_add_term(a[i] - params->a_zero, a_factor);
        sums[i] = -u - cq_add_term(b[j] - params->b_zero, b_factor);
        j = j + 1 < params->b_size ? j + 1 : 0;
    }
    return j;
}

enum cq_status cq_add_s8_swar(const struct cq_add_params *params, const int8_t *a, const int8_t *b,
                              int8_t *out, void *scratch)
{
    int32_t sums[CQ_ADD_BLOCK];
    struct cq_outputs outputs;
    int32_t j = 0;
    (void)scratch;
    outputs.channel.bias = 0;
    outputs.channel.multiplier = params->out_scale.multiplier;
    outputs.channel.exponent = params->out_scale.exponent;
    outputs.channel.zero_point = params->out_zero;
    outputs.channel.clamp_min = params->clamp_min;
    outputs.channel.clamp_max = params->clamp_max;
    cq_prepare_outputs(&outputs, params->size);
    for (int32_t i = 0; i < params->size; i += CQ_ADD_BLOCK) {
        const int32_t count = cq_limit(params->size - i, 1, CQ_ADD_BLOCK);
        j = cq_add_block(params, a + i, b, j, count, sums);
        cq_store_outputs(&outputs, sums, 1, count, out + i, 1);
    }
    return CQ_OK;
}
