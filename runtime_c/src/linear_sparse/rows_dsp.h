/* SPDX-License-Identifier: Apache-2.0 */
/* A fully connected layer from records as they stand: the loops over rows, whatever records are. */
#ifndef CODEQ_SRC_LINEAR_SPARSE_ROWS_DSP_H
#define CODEQ_SRC_LINEAR_SPARSE_ROWS_DSP_H

#include <codeq/linear.h>

#include "../attributes.h"
#include "../decode/bits.h"
#include "../linear/outputs_dsp.h"

/* Rows of records, and what they are multiplied with. */
struct cq_records {
    struct cq_bits stream; /* of the rows that are left */
    const void *x;         /* a vector, as records find it */
    int32_t length;        /* of the vector */
    uint32_t bits;         /* of a code */
    int32_t unit;          /* a weight is so many times its code */
};

/* Adds the products of the next block, which begins at input `first`, to a sum. */
typedef int32_t cq_records_fn(struct cq_records *records, int32_t first, int32_t acc);

/* Rows of one block, a unit of 1, one factor in the short form and biases of two bytes: where rows
 * have few records, what this leaves out would cost as much as they do. */
struct cq_plain {
    const int16_t *bias;
    const int16_t *bias_end;
    uint32_t bias_shift;
    struct cq_factor factor;
    int32_t zero_point;
};

/* How records are written: inputs of a block, and the loops over rows. */
struct cq_records_way {
    int32_t block;
    void (*plain)(struct cq_records *records, const struct cq_plain *rows, int8_t *out);
    void (*sums)(struct cq_records *records, int32_t channels, int32_t *sums);
};

static CQ_INLINE void cq_plain_rows(cq_records_fn *add, struct cq_records *records,
                                    const struct cq_plain *rows, int8_t *out)
{
    struct cq_records own = *records;
    const struct cq_plain plain = *rows; /* stores of int8 do not alias a copy */
    for (const int16_t *bias = plain.bias; bias != plain.bias_end; ++bias) {
        const int32_t acc = add(&own, 0, cq_shift_left(*bias, plain.bias_shift));
        *out++ = (int8_t)cq_requantize_short(acc, plain.factor.multiplier, plain.factor.scale,
                                             plain.zero_point);
    }
}

static CQ_INLINE void cq_summed_rows(cq_records_fn *add, int32_t block, struct cq_records *records,
                                     int32_t channels, int32_t *sums)
{
    struct cq_records own = *records;
    const int32_t *const sums_end = sums + channels;
    const uint32_t blocks = (uint32_t)(own.length + block - 1) / (uint32_t)block;
    for (; sums != sums_end; ++sums) {
        int32_t sum = 0;
        int32_t first = 0;
        uint32_t left = blocks;
        do {
            sum = add(&own, first, sum);
            first += block;
            left -= 1u;
        } while (left != 0u);
        *sums += sum * own.unit;
    }
    records->stream = own.stream;
}

#define CQ_RECORDS_WAY(name, block_length)                                                         \
    CQ_FAST_CODE static void name##_plain(struct cq_records *records, const struct cq_plain *rows, \
                                          int8_t *out)                                             \
    {                                                                                              \
        cq_plain_rows(name, records, rows, out);                                                   \
    }                                                                                              \
    CQ_FAST_CODE static void name##_sums(struct cq_records *records, int32_t channels,             \
                                         int32_t *sums)                                            \
    {                                                                                              \
        cq_summed_rows(name, block_length, records, channels, sums);                               \
    }                                                                                              \
    static const struct cq_records_way name##_way = {block_length, name##_plain, name##_sums};

/* True where the plain loop serves. */
static int cq_open_plain(const struct cq_linear_params *params, int32_t block,
                         struct cq_plain *plain)
{
    const struct cq_requant *const requant = &params->requant;
    if (params->in_features > block || params->weights.gap != 0u || requant->per_channel != 0u ||
        requant->bias_bytes != 2u) {
        return 0;
    }
    struct cq_channel channel;
    cq_load_factor(requant, 0, &channel);
    plain->bias = requant->bias;
    plain->bias_end = plain->bias + params->out_features;
    plain->bias_shift = requant->bias_shift;
    plain->zero_point = requant->zero_point;
    return (int)cq_short_factor(channel.multiplier, channel.exponent, &plain->factor);
}

/* Outputs of one vector, a block of rows at a time. */
static void cq_records_vector(const struct cq_records_way *way, struct cq_records *records,
                              const struct cq_linear_params *params, int8_t *out)
{
    int32_t sums[CQ_LINEAR_BLOCK];
    for (int32_t first = 0; first < params->out_features; first += CQ_LINEAR_BLOCK) {
        const int32_t count = cq_limit(params->out_features - first, 1, CQ_LINEAR_BLOCK);
        cq_linear_start(&params->requant, first, count, sums);
        way->sums(records, count, sums);
        cq_linear_store(&params->requant, first, count, sums, out + first);
    }
}

/* Outputs of all vectors; `widen` makes of one what records find, or is NULL. */
static enum cq_status
cq_linear_records(const struct cq_records_way *way, uint32_t bits,
                  const struct cq_linear_params *params, const int8_t *in, int8_t *out,
                  void (*widen)(const struct cq_records *records, const int8_t *in, uint32_t *to),
                  void *scratch)
{
    const struct cq_weights *const weights = &params->weights;
    struct cq_plain plain;
    const int is_plain = cq_open_plain(params, way->block, &plain);
    for (int32_t r = 0; r < params->rows; ++r) {
        const int8_t *const x = in + r * params->in_features;
        int8_t *const y = out + r * params->out_features;
        /* a grid with a gap has one magnitude here */
        struct cq_records records = {cq_bits_at(weights->data, weights->data + weights->bytes), x,
                                     params->in_features, bits, weights->gap + 1};
        if (widen != NULL) {
            widen(&records, x, scratch);
            records.x = scratch;
        }
        if (is_plain) {
            way->plain(&records, &plain, y);
        } else {
            cq_records_vector(way, &records, params, y);
        }
    }
    cq_clamp_dsp(out, params->rows * params->out_features, params->requant.clamp_min,
                 params->requant.clamp_max);
    return CQ_OK;
}

#endif
