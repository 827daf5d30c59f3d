/* SPDX-License-Identifier: Apache-2.0 */
/* Sparse convolution with UXTAB16: two pixels an addition. */
#include "../decode/bitmask.h"
#include "../decode/gap.h"
#include "../decode/rle.h"
#include "body.h"

#define CQ_CONV2D_SPARSE_DSP(width, packing, direct)                                               \
    enum cq_status cq_conv2d_sparse_s8_w##width##_##packing##_dsp(                                 \
        const struct cq_conv2d_params *params, const int8_t *in, int8_t *out, void *scratch)       \
    {                                                                                              \
        return cq_conv2d_sparse(&cq_##packing, direct, width, params, in, out, scratch);           \
    }

#define CQ_CONV2D_SPARSE_GAP_DSP(width)                                                            \
    CQ_FAST_CODE CQ_HOT_LOOP static void cq_direct_w##width(                                       \
        uintptr_t x, int32_t pitch, const int8_t *record, const int8_t *end, uint32_t *registers,  \
        const uint32_t *registers_end, int is_first)                                               \
    {                                                                                              \
        cq_direct(x, pitch, record, end, registers, registers_end, is_first, 8u - (width));        \
    }                                                                                              \
    CQ_CONV2D_SPARSE_DSP(width, gap, cq_direct_w##width)

CQ_CONV2D_SPARSE_DSP(1, bitmask, NULL)
CQ_CONV2D_SPARSE_DSP(2, bitmask, NULL)
CQ_CONV2D_SPARSE_DSP(3, bitmask, NULL)
CQ_CONV2D_SPARSE_DSP(4, bitmask, NULL)
CQ_CONV2D_SPARSE_DSP(5, bitmask, NULL)
CQ_CONV2D_SPARSE_DSP(6, bitmask, NULL)
CQ_CONV2D_SPARSE_DSP(7, bitmask, NULL)
CQ_CONV2D_SPARSE_DSP(8, bitmask, NULL)
CQ_CONV2D_SPARSE_DSP(1, rle, NULL)
CQ_CONV2D_SPARSE_DSP(2, rle, NULL)
CQ_CONV2D_SPARSE_DSP(3, rle, NULL)
CQ_CONV2D_SPARSE_DSP(4, rle, NULL)
CQ_CONV2D_SPARSE_DSP(5, rle, NULL)
CQ_CONV2D_SPARSE_DSP(6, rle, NULL)
CQ_CONV2D_SPARSE_DSP(7, rle, NULL)
CQ_CONV2D_SPARSE_DSP(8, rle, NULL)
CQ_CONV2D_SPARSE_GAP_DSP(2)
CQ_CONV2D_SPARSE_GAP_DSP(3)
CQ_CONV2D_SPARSE_GAP_DSP(4)
CQ_CONV2D_SPARSE_GAP_DSP(5)
CQ_CONV2D_SPARSE_GAP_DSP(6)
