/* SPDX-License-Identifier: Apache-2.0 */
/* Filters over features and time in portable C99: every filter in turn, its memory shifted by one.
 */
#include <codeq/svdf.h>

#include "../decode/dense.h"
#include "../requant.h"

/* The newest feature of a filter. [svdf-C1] */
static int32_t cq_svdf_feature(const struct cq_svdf_params *params, const int8_t *in,
                               struct cq_cursor *cursor, int32_t filter, void *scratch)
{
    int32_t acc = params->start[filter];
    for (int32_t k = 0; k < params->inputs; k += CQ_CHUNK) {
        const int32_t count = cq_limit(params->inputs - k, 1, CQ_CHUNK);
        const struct cq_chunk chunk = cq_dense.next(cursor, count, scratch);
        const int8_t *const weight = chunk.data;
        for (int32_t i = 0; i < chunk.count; ++i) {
            acc += in[k + i] * weight[i];
        }
    }
    const int32_t high = (INT32_C(1) << (params->state_bits - 1)) - 1;
    const int32_t scaled =
        cq_requantize(acc, params->feature_scale.multiplier, params->feature_scale.exponent);
    const int32_t feature = params->state_zero + cq_limit(scaled, -high - 1, high);
    /* TFLite limits it before the zero point, and lets the sum wrap around */
    if (feature > high) {
        return feature - 2 * (high + 1);
    }
    return feature < -high - 1 ? feature + 2 * (high + 1) : feature;
}

/* Remember the newest feature of a filter instead of the oldest, and weight them all.  The sum is
 * taken modulo 2^32. [svdf-C1] */
static uint32_t cq_svdf_sum8(const struct cq_svdf_params *params, int8_t *memory,
                             const int8_t *time, int32_t feature)
{
    uint32_t sum = 0u;
    for (int32_t m = 0; m < params->memory; ++m) {
        memory[m] = m + 1 < params->memory ? memory[m + 1] : (int8_t)feature;
        sum += (uint32_t)(time[m] * (memory[m] - params->state_zero));
    }
    return sum;
}

static uint32_t cq_svdf_sum16(const struct cq_svdf_params *params, int16_t *memory,
                              const int16_t *time, int32_t feature)
{
    uint32_t sum = 0u;
    for (int32_t m = 0; m < params->memory; ++m) {
        memory[m] = m + 1 < params->memory ? memory[m + 1] : (int16_t)feature;
        sum += (uint32_t)(time[m] * memory[m]);
    }
    return sum;
}

/* The int32 that is equal modulo 2^32. */
static int32_t cq_svdf_signed(uint32_t sum)
{
    return sum <= (uint32_t)INT32_MAX ? (int32_t)sum : -(int32_t)(UINT32_MAX - sum) - 1;
}

static enum cq_status cq_svdf(const struct cq_svdf_params *params, uint32_t bits, const int8_t *in,
                              const void *time, void *state, int8_t *out, void *scratch)
{
    struct cq_cursor cursor;
    uint32_t sum = 0u;
    cq_dense.init(&cursor, &params->weights, bits, params->filters * params->inputs);
    for (int32_t filter = 0; filter < params->filters; ++filter) {
        const int32_t feature = cq_svdf_feature(params, in, &cursor, filter, scratch);
        const int32_t first = filter * params->memory;
        if (filter % params->rank == 0) {
            sum = (uint32_t)params->bias[filter / params->rank];
        }
        if (params->state_bits == 8) {
            sum += cq_svdf_sum8(params, (int8_t *)state + first, (const int8_t *)time + first,
                                feature);
        } else {
            sum += cq_svdf_sum16(params, (int16_t *)state + first, (const int16_t *)time + first,
                                 feature);
        }
        if (filter % params->rank == params->rank - 1) {
            *out++ =
                cq_rescale(cq_svdf_signed(sum), params->out_scale, params->out_zero, -128, 127);
        }
    }
    return CQ_OK;
}

#define CQ_SVDF_REF(width)                                                                         \
    enum cq_status cq_svdf_s8_w##width##_dense_ref(const struct cq_svdf_params *params,            \
                                                   const int8_t *in, const void *time,             \
                                                   void *state, int8_t *out, void *scratch)        \
    {                                                                                              \
        return cq_svdf(params, width, in, time, state, out, scratch);                              \
    }

CQ_SVDF_REF(1)
CQ_SVDF_REF(2)
CQ_SVDF_REF(3)
CQ_SVDF_REF(4)
CQ_SVDF_REF(5)
CQ_SVDF_REF(6)
CQ_SVDF_REF(7)
CQ_SVDF_REF(8)
