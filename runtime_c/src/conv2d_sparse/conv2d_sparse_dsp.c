/* SPDX-License-Identifier: Apache-2.0 */
/* Sparse convolution with UXTAB16: two pixels an addition. */
#include "../decode/bitmask.h"
#include "../decode/gap.h"
#include "../decode/rle.h"
#include "body.h"

#define CQ_CONV2D_SPARSE_DSP(width, packing)                                                       \
    enum cq_status cq_conv2d_sparse_s8_w##width##_##packing##_dsp(                                 \
        const struct cq_conv2d_params *params, const int8_t *in, int8_t *out, void *scratch)       \
    {                                                                                              \
        return cq_conv2d_sparse(&cq_##packing, width, params, in, out, scratch);                   \
    }

CQ_CONV2D_SPARSE_DSP(1, bitmask)
CQ_CONV2D_SPARSE_DSP(2, bitmask)
CQ_CONV2D_SPARSE_DSP(3, bitmask)
CQ_CONV2D_SPARSE_DSP(4, bitmask)
CQ_CONV2D_SPARSE_DSP(5, bitmask)
CQ_CONV2D_SPARSE_DSP(6, bitmask)
CQ_CONV2D_SPARSE_DSP(7, bitmask)
CQ_CONV2D_SPARSE_DSP(8, bitmask)
CQ_CONV2D_SPARSE_DSP(1, rle)
CQ_CONV2D_SPARSE_DSP(2, rle)
CQ_CONV2D_SPARSE_DSP(3, rle)
CQ_CONV2D_SPARSE_DSP(4, rle)
CQ_CONV2D_SPARSE_DSP(5, rle)
CQ_CONV2D_SPARSE_DSP(6, rle)
CQ_CONV2D_SPARSE_DSP(7, rle)
CQ_CONV2D_SPARSE_DSP(8, rle)
CQ_CONV2D_SPARSE_DSP(2, gap)
CQ_CONV2D_SPARSE_DSP(3, gap)
CQ_CONV2D_SPARSE_DSP(4, gap)
CQ_CONV2D_SPARSE_DSP(5, gap)
CQ_CONV2D_SPARSE_DSP(6, gap)
