/* SPDX-License-Identifier: Apache-2.0 */
/* Pointwise convolution with VMLADAVA: 96 products in 12 instructions. */
#include <codeq/conv2d.h>

#include "../mve.h"

#ifdef CQ_HAS_MVE

#include "../decode/dense.h"
#include "../decode/lanes.h"
#include "body_mve.h"

#define CQ_CONV2D_1X1_MVE(width, packing, decoder)                                                 \
    enum cq_status cq_conv2d_1x1_s8_w##width##_##packing##_mve(                                    \
        const struct cq_conv2d_params *params, const int8_t *in, int8_t *out, void *scratch)       \
    {                                                                                              \
        return cq_conv2d_1x1_mve(&decoder, width, params, in, out, scratch);                       \
    }

CQ_CONV2D_1X1_MVE(1, dense, cq_dense_lanes)
CQ_CONV2D_1X1_MVE(2, dense, cq_dense_lanes)
CQ_CONV2D_1X1_MVE(3, dense, cq_dense_lanes)
CQ_CONV2D_1X1_MVE(4, dense, cq_dense_lanes)
CQ_CONV2D_1X1_MVE(5, dense, cq_dense_lanes)
CQ_CONV2D_1X1_MVE(6, dense, cq_dense_lanes)
CQ_CONV2D_1X1_MVE(7, dense, cq_dense_lanes)
CQ_CONV2D_1X1_MVE(8, dense, cq_dense_bytes)
CQ_CONV2D_1X1_MVE(2, ternary, cq_ternary_lanes)

#endif
