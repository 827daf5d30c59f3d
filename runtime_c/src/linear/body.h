/* SPDX-License-Identifier: Apache-2.0 */
/* A fully connected layer as tiles of rows: the loop nest of every linear kernel. */
#ifndef CODEQ_SRC_LINEAR_BODY_H
#define CODEQ_SRC_LINEAR_BODY_H

#include <codeq/linear.h>

#include "../product.h"

static enum cq_status cq_linear(const struct cq_engine *engine, uint32_t bits,
                                const struct cq_linear_params *params, const int8_t *in,
                                int8_t *out, void *scratch)
{
    struct cq_tile tile = {in,  params->in_features, CQ_MAX_TILE, params->in_features,
                           out, params->out_features};
    for (int32_t row = 0; row < params->rows; row += CQ_MAX_TILE) {
        struct cq_cursor cursor;
        engine->decoder->init(&cursor, &params->weights, bits,
                              params->in_features * params->out_features);
        tile.x = in + row * params->in_features;
        tile.out = out + row * params->out_features;
        tile.vectors = cq_limit(params->rows - row, 1, CQ_MAX_TILE);
        cq_tile_product(engine, &cursor, &tile, &params->requant, 0, params->out_features, scratch);
    }
    return CQ_OK;
}

#endif
