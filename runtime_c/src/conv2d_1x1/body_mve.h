/* SPDX-License-Identifier: Apache-2.0 */
/* Pointwise convolution with Helium, where the input's pixels are the vectors. */
#ifndef CODEQ_SRC_CONV2D_1X1_BODY_MVE_H
#define CODEQ_SRC_CONV2D_1X1_BODY_MVE_H

#include <codeq/conv2d.h>

#include "../product_mve.h"

static enum cq_status cq_conv2d_1x1_mve(const struct cq_decoder *decoder, uint32_t bits,
                                        const struct cq_conv2d_params *params, const int8_t *in,
                                        int8_t *out, void *scratch)
{
    const struct cq_tile pixels = {.x = in,
                                   .stride = params->in.c,
                                   .vectors = params->out.h * params->out.w,
                                   .length = params->in.c,
                                   .out = out,
                                   .out_stride = params->out.c};
    struct cq_weight_rows rows = {
        .decoder = decoder, .length = params->in.c, .channels = params->out.c};
    decoder->init(&rows.cursor, &params->weights, bits, params->in.c * params->out.c);
    cq_product_mve(&pixels, &rows, &params->requant, scratch);
    return CQ_OK;
}

#endif
