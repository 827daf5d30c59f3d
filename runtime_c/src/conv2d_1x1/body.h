/* SPDX-License-Identifier: Apache-2.0 */
/* Pointwise convolution, where nothing is gathered: the loop nest of every conv2d_1x1 kernel. */
#ifndef CODEQ_SRC_CONV2D_1X1_BODY_H
#define CODEQ_SRC_CONV2D_1X1_BODY_H

#include <codeq/conv2d.h>

#include "../numerics.h"
#include "../product.h"
#include "pointwise.h"

/*
 * The input is the matrix, its pixels are the vectors.  Each tile walks the whole weight stream, so
 * that the decoding of a weight is paid once for `tile` pixels.
 */
static enum cq_status cq_conv2d_1x1(const struct cq_engine *engine, uint32_t bits,
                                    const struct cq_conv2d_params *params, const int8_t *in,
                                    int8_t *out, void *scratch)
{
    const int32_t pixels = params->out.h * params->out.w;
    struct cq_tile tile = {in, params->in.c, params->tile, params->in.c, out, params->out.c};
    CQ_ASSERT(cq_conv2d_is_1x1(params));
    for (int32_t pixel = 0; pixel < pixels; pixel += params->tile) {
        struct cq_cursor cursor;
        engine->decoder->init(&cursor, &params->weights, bits, params->in.c * params->out.c);
        tile.x = in + pixel * params->in.c;
        tile.out = out + pixel * params->out.c;
        tile.vectors = cq_limit(pixels - pixel, 1, params->tile);
        cq_tile_product(engine, &cursor, &tile, &params->requant, 0, params->out.c, scratch);
    }
    return CQ_OK;
}

#endif
