/* SPDX-License-Identifier: Apache-2.0 */
/* A fully connected layer from records as they stand, without SIMD instructions. */
#include <codeq/linear.h>

#include "../decode/gap.h"
#include "../linear/outputs_swar.h"
#include "csr_swar.h"

/* Minus the sum of products of a vector, as records find it, with the next row. */
typedef int32_t cq_row_fn(struct cq_bits *stream, uint32_t bits, const void *x, int32_t length);

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

static int32_t cq_gap_row(struct cq_bits *stream, uint32_t bits, const void *x, int32_t length)
{
    const uint32_t code_at = 8u - bits;
    const int8_t *at = x;
    int32_t sum = 0;
    for (; length > 0; length -= CQ_CHUNK, at += CQ_CHUNK) {
        const int32_t count = cq_limit(length, 1, CQ_CHUNK);
        sum -= cq_shift_right(cq_gap_sum(stream, (1u << code_at) - 1u, at, count), code_at);
    }
    return sum;
}

static int32_t cq_csr_row(struct cq_bits *stream, uint32_t bits, const void *x, int32_t length)
{
    const int8_t *at = x;
    int32_t sum = 0;
    for (; length > 0; length -= CQ_CHUNK, at += CQ_CHUNK) {
        sum -= bits == 4u ? cq_csr_nibbles(stream, at, length) : cq_csr_octets(stream, at, length);
    }
    return sum;
}

static int32_t cq_csr_sign_row(struct cq_bits *stream, uint32_t bits, const void *x, int32_t length)
{
    const int16_t *at = x;
    int32_t sum = 0;
    (void)bits;
    for (; length > 0; length -= CQ_CSR_SIGNS, at += 2 * CQ_CSR_SIGNS) {
        sum -= cq_csr_signs(stream, at, length);
    }
    return sum;
}

/* Where `scratch` is not NULL it holds each vector in turn, as signs find it. */
static enum cq_status cq_linear_records(cq_row_fn *row, uint32_t bits,
                                        const struct cq_linear_params *params, const int8_t *in,
                                        int8_t *out, int16_t *scratch)
{
    const struct cq_weights *const weights = &params->weights;
    const int32_t unit = weights->gap + 1; /* a grid with a gap has one magnitude here */
    struct cq_outputs outputs;
    int32_t sums[CQ_LINEAR_BLOCK];
    cq_linear_open(&outputs, &params->requant, params->out_features);
    for (int32_t r = 0; r < params->rows; ++r) {
        struct cq_bits stream = cq_bits_at(weights->data, weights->data + weights->bytes);
        const void *x = in;
        if (scratch != NULL) {
            cq_csr_widen(in, params->in_features, scratch);
            x = scratch;
        }
        for (int32_t first = 0; first < params->out_features; first += CQ_LINEAR_BLOCK) {
            const int32_t count = cq_limit(params->out_features - first, 1, CQ_LINEAR_BLOCK);
            for (int32_t i = 0; i < count; ++i) {
                sums[i] = row(&stream, bits, x, params->in_features) * unit;
            }
            cq_linear_store(&outputs, &params->requant, first, count, sums, out);
        }
        in += params->in_features;
        out += params->out_features;
    }
    return CQ_OK;
}

#define CQ_LINEAR_SPARSE_SWAR(width, packing, row, table)                                          \
    enum cq_status cq_linear_sparse_s8_w##width##_##packing##_swar(                                \
        const struct cq_linear_params *params, const int8_t *in, int8_t *out, void *scratch)       \
    {                                                                                              \
        (void)scratch;                                                                             \
        return cq_linear_records(row, width, params, in, out, table);                              \
    }

CQ_LINEAR_SPARSE_SWAR(2, gap, cq_gap_row, NULL)
CQ_LINEAR_SPARSE_SWAR(3, gap, cq_gap_row, NULL)
CQ_LINEAR_SPARSE_SWAR(4, gap, cq_gap_row, NULL)
CQ_LINEAR_SPARSE_SWAR(5, gap, cq_gap_row, NULL)
CQ_LINEAR_SPARSE_SWAR(6, gap, cq_gap_row, NULL)
CQ_LINEAR_SPARSE_SWAR(2, csr, cq_csr_sign_row, scratch)
CQ_LINEAR_SPARSE_SWAR(4, csr, cq_csr_row, NULL)
CQ_LINEAR_SPARSE_SWAR(8, csr, cq_csr_row, NULL)
