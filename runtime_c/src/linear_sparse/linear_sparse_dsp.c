/* SPDX-License-Identifier: Apache-2.0 */
/* A fully connected layer from records as they stand: each weight is used once, so that it is not
 * worth a list. */
#include "csr_dsp.h"
#include "gap_dsp.h"

#define CQ_LINEAR_SPARSE_DSP(width, packing, way, widen)                                           \
    enum cq_status cq_linear_sparse_s8_w##width##_##packing##_dsp(                                 \
        const struct cq_linear_params *params, const int8_t *in, int8_t *out, void *scratch)       \
    {                                                                                              \
        return cq_linear_records(&(way), width, params, in, out, widen, scratch);                  \
    }

CQ_LINEAR_SPARSE_DSP(2, gap, cq_gap_records_dsp_way, NULL)
CQ_LINEAR_SPARSE_DSP(3, gap, cq_gap_records_dsp_way, NULL)
CQ_LINEAR_SPARSE_DSP(4, gap, cq_gap_records_dsp_way, NULL)
CQ_LINEAR_SPARSE_DSP(5, gap, cq_gap_records_dsp_way, NULL)
CQ_LINEAR_SPARSE_DSP(6, gap, cq_gap_records_dsp_way, NULL)
CQ_LINEAR_SPARSE_DSP(2, csr, cq_csr_signs_dsp_way, cq_csr_widen)
CQ_LINEAR_SPARSE_DSP(4, csr, cq_csr_nibbles_dsp_way, NULL)
CQ_LINEAR_SPARSE_DSP(8, csr, cq_csr_bytes_dsp_way, NULL)
