/* SPDX-License-Identifier: Apache-2.0 */
/* A fully connected layer from records as they stand, without SIMD instructions. */
#include <codeq/linear.h>

#include "../decode/gap.h"
#include "../linear/outputs_swar.h"

/* One record.  Its code is in the upper bits of a byte, so that the product is 2^(8 - bits) times
 * what it should be; a record that only skips or fills up adds nothing. */
static CQ_MERGED int32_t cq_gap_add(int32_t sum, uint32_t record, uint32_t reach, const int8_t *x,
                                    int32_t length, uint32_t *place)
{
    *place += record & reach;
    CQ_ASSERT(*place < (uint32_t)length);
    (void)length;
    return cq_add_product(sum, x[*place], (int8_t)(record & ~reach));
}

/* The records of a block times the inputs of a chunk: at most 256 products of 22 bits. */
CQ_FAST_CODE CQ_ALONE static int32_t cq_gap_sum(struct cq_bits *stream, uint32_t reach,
                                                const int8_t *x, int32_t length)
{
    int32_t words;
    const uint8_t *at = cq_gap_block(stream, &words);
    const uint8_t *const end = at + 4 * words;
    uint32_t place = UINT32_MAX; /* one before the first */
    int32_t sum = 0;
    for (; at != end; at += 4) {
        sum = cq_gap_add(sum, at[0], reach, x, length, &place);
        sum = cq_gap_add(sum, at[1], reach, x, length, &place);
        sum = cq_gap_add(sum, at[2], reach, x, length, &place);
        sum = cq_gap_add(sum, at[3], reach, x, length, &place);
    }
    return sum;
}

/* Minus the sum of products with the next row. */
static int32_t cq_gap_row(struct cq_bits *stream, uint32_t bits, const int8_t *x, int32_t length)
{
    const uint32_t code_at = 8u - bits;
    int32_t sum = 0;
    for (; length > 0; length -= CQ_CHUNK, x += CQ_CHUNK) {
        const int32_t count = cq_limit(length, 1, CQ_CHUNK);
        sum -= cq_shift_right(cq_gap_sum(stream, (1u << code_at) - 1u, x, count), code_at);
    }
    return sum;
}

static enum cq_status cq_linear_gap_swar(uint32_t bits, const struct cq_linear_params *params,
                                         const int8_t *in, int8_t *out)
{
    const struct cq_weights *const weights = &params->weights;
    const int32_t unit = weights->gap + 1; /* a grid with a gap has one magnitude here */
    struct cq_outputs outputs;
    int32_t sums[CQ_LINEAR_BLOCK];
    cq_linear_open(&outputs, &params->requant, params->out_features);
    for (int32_t r = 0; r < params->rows; ++r) {
        struct cq_bits stream = cq_bits_at(weights->data, weights->data + weights->bytes);
        for (int32_t first = 0; first < params->out_features; first += CQ_LINEAR_BLOCK) {
            const int32_t count = cq_limit(params->out_features - first, 1, CQ_LINEAR_BLOCK);
            for (int32_t i = 0; i < count; ++i) {
                sums[i] = cq_gap_row(&stream, bits, in, params->in_features) * unit;
            }
            cq_linear_store(&outputs, &params->requant, first, count, sums, out);
        }
        in += params->in_features;
        out += params->out_features;
    }
    return CQ_OK;
}

#define CQ_LINEAR_SPARSE_SWAR(width)                                                               \
    enum cq_status cq_linear_sparse_s8_w##width##_gap_swar(                                        \
        const struct cq_linear_params *params, const int8_t *in, int8_t *out, void *scratch)       \
    {                                                                                              \
        (void)scratch;                                                                             \
        return cq_linear_gap_swar(width, params, in, out);                                         \
    }

CQ_LINEAR_SPARSE_SWAR(2)
CQ_LINEAR_SPARSE_SWAR(3)
CQ_LINEAR_SPARSE_SWAR(4)
CQ_LINEAR_SPARSE_SWAR(5)
CQ_LINEAR_SPARSE_SWAR(6)
