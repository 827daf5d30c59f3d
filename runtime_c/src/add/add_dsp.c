/* SPDX-License-Identifier: Apache-2.0 */
/* Element-wise sum with 32-bit high products: one input's factor is exactly 1/2. */
#include "../requant_dsp.h"
#include "body.h"

/* Shorter periods are not worth a call. */
#define CQ_ADD_MIN_PERIOD 8

/*
 * The input of the larger scale has the factor 1/2, for which nothing is rounded: its term is
 * (x - zero) * 2^19.  The other one's first rounding is SMMULR of the doubled value, the second one
 * as in cq_requantize_short(), with an exponent of -1 as well.
 */
struct cq_add_form {
    int32_t half_offset;  /* -zero * 2^19 */
    int32_t other_step;   /* 2^21, or 2^22 where the exponent was 0 */
    int32_t other_offset; /* -zero * other_step */
    int32_t other_multiplier;
    int32_t other_nudge;     /* 2^(other_shift - 1) */
    int32_t other_shift;     /* 1..31 */
    struct cq_factor factor; /* of the sum */
    int32_t zero_point;
};

static inline int cq_is_half(struct cq_scale scale)
{
    return scale.multiplier == INT32_C(1) << 30 && scale.exponent == 0;
}

/* The terms of an input of factor 1/2 and of another one, and the factor of their sum. */
static struct cq_add_form cq_add_form(const struct cq_add_params *params, int32_t half_zero,
                                      int32_t other_zero, struct cq_scale other,
                                      struct cq_factor sum)
{
    /* a factor of 1/2 is one of 1, halved: with nothing to round, both forms agree */
    const int32_t shift = other.exponent == 0 ? 1 : -other.exponent;
    const int32_t step = INT32_C(1) << (other.exponent == 0 ? 22 : 21);
    const struct cq_add_form form = {
        -half_zero * (INT32_C(1) << 19),
        step,
        -other_zero * step,
        other.multiplier,
        (int32_t)(UINT32_C(1) << (uint32_t)(shift - 1)),
        shift,
        sum,
        params->out_zero,
    };
    return form;
}

/* The term of an element whose factor is not 1/2. */
static inline int32_t cq_add_other(const struct cq_add_form *form, int32_t value)
{
    const int32_t doubled = value * form->other_step + form->other_offset;
    const int32_t y = cq_smmulr(doubled, form->other_multiplier);
    const int32_t is_negative = (int32_t)((uint32_t)y >> 31);
    return cq_shift_right(y - is_negative + form->other_nudge, (uint32_t)form->other_shift);
}

/* 17 instructions an element (Cortex-M4, gcc 12). */
CQ_FAST_CODE static void cq_add_run(const struct cq_add_form *form, const int8_t *half,
                                    const int8_t *other, int8_t *out, int32_t count)
{
    const struct cq_add_form f = *form;
    const int8_t *const end = out + count;
    while (out != end) {
        const int32_t term = cq_add_other(&f, *other++);
        const int32_t sum = *half++ * (INT32_C(1) << 19) + f.half_offset + term;
        *out++ =
            (int8_t)cq_requantize_short(sum, f.factor.multiplier, f.factor.scale, f.zero_point);
    }
}

/* All that a sum has besides half * 2^19, for every value of the other element. */
static void cq_add_tabulate(const struct cq_add_form *form, int32_t *table)
{
    for (int32_t value = INT8_MIN; value <= INT8_MAX; ++value) {
        table[value - INT8_MIN] = cq_add_other(form, value) + form->half_offset;
    }
}

/* With that table: 11 or 12 instructions an element. */
#define CQ_ADD_TABLED(form)                                                                        \
    CQ_FAST_CODE static void cq_add_tabled_##form(const struct cq_add_form *f,                     \
                                                  const int32_t *table, const int8_t *half,        \
                                                  const int8_t *other, int8_t *out, int32_t count) \
    {                                                                                              \
        const struct cq_factor factor = f->factor;                                                 \
        const int32_t zero_point = f->zero_point;                                                  \
        const int32_t *const terms = table - INT8_MIN;                                             \
        const int8_t *const end = out + count;                                                     \
        while (out != end) {                                                                       \
            const int32_t sum = *half++ * (INT32_C(1) << 19) + terms[*other++];                    \
            *out++ =                                                                               \
                (int8_t)cq_requantize_##form(sum, factor.multiplier, factor.scale, zero_point);    \
        }                                                                                          \
    }

CQ_ADD_TABLED(short)
CQ_ADD_TABLED(relu)

/* One period of b, by the table where there is one. */
static void cq_add_period(const struct cq_add_form *form, const int32_t *table, int is_relu,
                          const int8_t *half, const int8_t *other, int8_t *out, int32_t count)
{
    if (table == NULL) {
        cq_add_run(form, half, other, out, count);
    } else if (is_relu) {
        cq_add_tabled_relu(form, table, half, other, out, count);
    } else {
        cq_add_tabled_short(form, table, half, other, out, count);
    }
}

enum cq_status cq_add_s8_dsp(const struct cq_add_params *params, const int8_t *a, const int8_t *b,
                             int8_t *out, void *scratch)
{
    const int is_a_half = cq_is_half(params->a_scale);
    const int is_b_half = cq_is_half(params->b_scale);
    const int is_relu = params->clamp_min >= params->out_zero;
    struct cq_factor sum;
    if ((!is_a_half && !is_b_half) || params->b_size < CQ_ADD_MIN_PERIOD ||
        !cq_short_factor(params->out_scale.multiplier, params->out_scale.exponent, &sum)) {
        cq_add_any(params, a, b, out);
        return CQ_OK;
    }
    const struct cq_add_form form =
        is_a_half ? cq_add_form(params, params->a_zero, params->b_zero, params->b_scale, sum)
                  : cq_add_form(params, params->b_zero, params->a_zero, params->a_scale, sum);
    if (scratch != NULL) {
        cq_add_tabulate(&form, scratch);
    }
    for (int32_t i = 0; i < params->size; i += params->b_size) {
        cq_add_period(&form, scratch, is_relu, is_a_half ? a + i : b, is_a_half ? b : a + i,
                      out + i, params->b_size);
    }
    cq_clamp_dsp(out, params->size, params->clamp_min, params->clamp_max);
    return CQ_OK;
}
