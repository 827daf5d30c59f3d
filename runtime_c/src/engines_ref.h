/* SPDX-License-Identifier: Apache-2.0 */
/* The portable engines: every packing, with inner loops in plain C99. */
#ifndef CODEQ_SRC_ENGINES_REF_H
#define CODEQ_SRC_ENGINES_REF_H

#include "decode/bitmask.h"
#include "decode/csr.h"
#include "decode/dense.h"
#include "decode/gap.h"
#include "decode/huffman.h"
#include "decode/rle.h"
#include "decode/ternary.h"
#include "product.h"

/* Two vectors at a time: a weight that has been loaded is used twice.  Cortex-M4, gcc 12: 7
 * instructions for 2 products, and the same with one vector only would be 10. */
CQ_FAST_CODE static void cq_accumulate_dense(int32_t *acc, const int8_t *x, int32_t stride,
                                             int32_t vectors, const struct cq_chunk *chunk)
{
    const int8_t *const weight = chunk->data;
    int32_t v = 0;
    for (; v + 1 < vectors; v += 2) {
        const int8_t *const x0 = x + v * stride;
        const int8_t *const x1 = x0 + stride;
        int32_t sum0 = acc[v];
        int32_t sum1 = acc[v + 1];
        for (int32_t k = 0; k < chunk->count; ++k) {
            const int32_t w = weight[k];
            sum0 += x0[k] * w;
            sum1 += x1[k] * w;
        }
        acc[v] = sum0;
        acc[v + 1] = sum1;
    }
    if (v < vectors) {
        const int8_t *const x0 = x + v * stride;
        int32_t sum = acc[v];
        for (int32_t k = 0; k < chunk->count; ++k) {
            sum += x0[k] * weight[k];
        }
        acc[v] = sum;
    }
}

/* The same over the weights that are not zero, 9 instructions for 2 products: the others cost
 * nothing. */
CQ_FAST_CODE static void cq_accumulate_sparse(int32_t *acc, const int8_t *x, int32_t stride,
                                              int32_t vectors, const struct cq_chunk *chunk)
{
    const struct cq_nonzero *const nonzero = chunk->data;
    int32_t v = 0;
    for (; v + 1 < vectors; v += 2) {
        const int8_t *const x0 = x + v * stride;
        const int8_t *const x1 = x0 + stride;
        int32_t sum0 = acc[v];
        int32_t sum1 = acc[v + 1];
        for (int32_t i = 0; i < chunk->count; ++i) {
            const int32_t w = nonzero[i].weight;
            sum0 += x0[nonzero[i].offset] * w;
            sum1 += x1[nonzero[i].offset] * w;
        }
        acc[v] = sum0;
        acc[v + 1] = sum1;
    }
    if (v < vectors) {
        const int8_t *const x0 = x + v * stride;
        int32_t sum = acc[v];
        for (int32_t i = 0; i < chunk->count; ++i) {
            sum += x0[nonzero[i].offset] * nonzero[i].weight;
        }
        acc[v] = sum;
    }
}

static const struct cq_engine cq_dense_ref = {&cq_dense, cq_accumulate_dense};
static const struct cq_engine cq_ternary_ref = {&cq_ternary, cq_accumulate_dense};
static const struct cq_engine cq_bitmask_ref = {&cq_bitmask, cq_accumulate_sparse};
static const struct cq_engine cq_rle_ref = {&cq_rle, cq_accumulate_sparse};
static const struct cq_engine cq_huffman_ref = {&cq_huffman, cq_accumulate_dense};
static const struct cq_engine cq_gap_ref = {&cq_gap, cq_accumulate_sparse};
static const struct cq_engine cq_csr_ref = {&cq_csr, cq_accumulate_sparse};

#endif
