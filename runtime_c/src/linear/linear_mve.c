/* SPDX-License-Identifier: Apache-2.0 */
/* linear with Helium: four features at a time, three vectors where there are so many. */
#include <codeq/linear.h>

#include "../mve.h"

#ifdef CQ_HAS_MVE

#include "../decode/dense.h"
#include "../decode/huffman.h"
#include "../decode/lanes.h"
#include "../decode/filled.h"
#include "../product_mve.h"

static enum cq_status cq_linear_mve(const struct cq_decoder *decoder, uint32_t bits,
                                    const struct cq_linear_params *params, const int8_t *in,
                                    int8_t *out, void *scratch)
{
    const struct cq_tile vectors = {.x = in,
                                    .stride = params->in_features,
                                    .vectors = params->rows,
                                    .length = params->in_features,
                                    .out = out,
                                    .out_stride = params->out_features};
    struct cq_weight_rows rows = {
        .decoder = decoder, .length = params->in_features, .channels = params->out_features};
    decoder->init(&rows.cursor, &params->weights, bits, params->in_features * params->out_features);
    cq_product_mve(&vectors, &rows, &params->requant, scratch);
    return CQ_OK;
}

#define CQ_LINEAR_MVE(width, packing, decoder)                                                     \
    enum cq_status cq_linear_s8_w##width##_##packing##_mve(                                        \
        const struct cq_linear_params *params, const int8_t *in, int8_t *out, void *scratch)       \
    {                                                                                              \
        return cq_linear_mve(&decoder, width, params, in, out, scratch);                           \
    }

CQ_LINEAR_MVE(1, dense, cq_dense_lanes)
CQ_LINEAR_MVE(2, dense, cq_dense_lanes)
CQ_LINEAR_MVE(3, dense, cq_dense_lanes)
CQ_LINEAR_MVE(4, dense, cq_dense_lanes)
CQ_LINEAR_MVE(5, dense, cq_dense_lanes)
CQ_LINEAR_MVE(6, dense, cq_dense_lanes)
CQ_LINEAR_MVE(7, dense, cq_dense_lanes)
CQ_LINEAR_MVE(8, dense, cq_dense_bytes)
CQ_LINEAR_MVE(2, ternary, cq_ternary_lanes)
CQ_LINEAR_MVE(1, bitmask, cq_bitmask_rows)
CQ_LINEAR_MVE(2, bitmask, cq_bitmask_rows)
CQ_LINEAR_MVE(3, bitmask, cq_bitmask_rows)
CQ_LINEAR_MVE(4, bitmask, cq_bitmask_rows)
CQ_LINEAR_MVE(5, bitmask, cq_bitmask_rows)
CQ_LINEAR_MVE(6, bitmask, cq_bitmask_rows)
CQ_LINEAR_MVE(7, bitmask, cq_bitmask_rows)
CQ_LINEAR_MVE(8, bitmask, cq_bitmask_rows)
CQ_LINEAR_MVE(1, rle, cq_rle_rows)
CQ_LINEAR_MVE(2, rle, cq_rle_rows)
CQ_LINEAR_MVE(3, rle, cq_rle_rows)
CQ_LINEAR_MVE(4, rle, cq_rle_rows)
CQ_LINEAR_MVE(5, rle, cq_rle_rows)
CQ_LINEAR_MVE(6, rle, cq_rle_rows)
CQ_LINEAR_MVE(7, rle, cq_rle_rows)
CQ_LINEAR_MVE(8, rle, cq_rle_rows)
CQ_LINEAR_MVE(2, huffman, cq_huffman)
CQ_LINEAR_MVE(3, huffman, cq_huffman)
CQ_LINEAR_MVE(4, huffman, cq_huffman)
CQ_LINEAR_MVE(5, huffman, cq_huffman)
CQ_LINEAR_MVE(6, huffman, cq_huffman)
CQ_LINEAR_MVE(7, huffman, cq_huffman)
CQ_LINEAR_MVE(8, huffman, cq_huffman)

#endif
