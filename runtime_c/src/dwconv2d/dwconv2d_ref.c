/* SPDX-License-Identifier: Apache-2.0 */
/* dwconv2d in portable C99: every width and packing through one loop nest. */
#include "../decode/dense.h"
#include "../decode/ternary.h"
#include "body.h"

#define CQ_DWCONV2D_REF(width, packing)                                                            \
    enum cq_status cq_dwconv2d_s8_w##width##_##packing##_ref(                                      \
        const struct cq_dwconv2d_params *params, const int8_t *in, int8_t *out, void *scratch)     \
    {                                                                                              \
        return cq_dwconv2d(&cq_##packing, width, params, in, out, scratch);                        \
    }

CQ_DWCONV2D_REF(1, dense)
CQ_DWCONV2D_REF(2, dense)
CQ_DWCONV2D_REF(3, dense)
CQ_DWCONV2D_REF(4, dense)
CQ_DWCONV2D_REF(5, dense)
CQ_DWCONV2D_REF(6, dense)
CQ_DWCONV2D_REF(7, dense)
CQ_DWCONV2D_REF(8, dense)
CQ_DWCONV2D_REF(2, ternary)
