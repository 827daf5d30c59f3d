/* SPDX-License-Identifier: Apache-2.0 */
/* linear in portable C99: every width and packing through one loop nest. */
#include "../engines_ref.h"
#include "body.h"

#define CQ_LINEAR_REF(width, packing)                                                              \
    enum cq_status cq_linear_s8_w##width##_##packing##_ref(                                        \
        const struct cq_linear_params *params, const int8_t *in, int8_t *out, void *scratch)       \
    {                                                                                              \
        return cq_linear(&cq_##packing##_ref, width, params, in, out, scratch);                    \
    }

CQ_LINEAR_REF(1, dense)
CQ_LINEAR_REF(2, dense)
CQ_LINEAR_REF(3, dense)
CQ_LINEAR_REF(4, dense)
CQ_LINEAR_REF(5, dense)
CQ_LINEAR_REF(6, dense)
CQ_LINEAR_REF(7, dense)
CQ_LINEAR_REF(8, dense)
CQ_LINEAR_REF(2, ternary)
CQ_LINEAR_REF(1, bitmask)
CQ_LINEAR_REF(2, bitmask)
CQ_LINEAR_REF(3, bitmask)
CQ_LINEAR_REF(4, bitmask)
CQ_LINEAR_REF(5, bitmask)
CQ_LINEAR_REF(6, bitmask)
CQ_LINEAR_REF(7, bitmask)
CQ_LINEAR_REF(8, bitmask)
CQ_LINEAR_REF(1, rle)
CQ_LINEAR_REF(2, rle)
CQ_LINEAR_REF(3, rle)
CQ_LINEAR_REF(4, rle)
CQ_LINEAR_REF(5, rle)
CQ_LINEAR_REF(6, rle)
CQ_LINEAR_REF(7, rle)
CQ_LINEAR_REF(8, rle)
CQ_LINEAR_REF(2, gap)
CQ_LINEAR_REF(3, gap)
CQ_LINEAR_REF(4, gap)
CQ_LINEAR_REF(5, gap)
CQ_LINEAR_REF(6, gap)
CQ_LINEAR_REF(2, csr)
CQ_LINEAR_REF(4, csr)
CQ_LINEAR_REF(8, csr)
CQ_LINEAR_REF(2, huffman)
CQ_LINEAR_REF(3, huffman)
CQ_LINEAR_REF(4, huffman)
CQ_LINEAR_REF(5, huffman)
CQ_LINEAR_REF(6, huffman)
CQ_LINEAR_REF(7, huffman)
CQ_LINEAR_REF(8, huffman)
