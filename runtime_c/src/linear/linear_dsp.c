/* SPDX-License-Identifier: Apache-2.0 */
/* Fully connected layer with SMLAD: four outputs at a time, from rows where they stand. */
#include <codeq/linear.h>

#include "../quad_dsp.h"
#include "../rows_dsp.h"

/* Vectors in scratch, 16 bits a value in the order that SXTB16 makes of four bytes. */
struct cq_linear_tile {
    uint32_t *x;
    int32_t words; /* of a vector */
    int32_t vectors;
};

static void cq_linear_widen(const int8_t *x, int32_t length, uint32_t *to)
{
    for (; length > 0; length -= 4, to += 2) {
        const uint32_t word = length >= 4 ? cq_next4(&x) : cq_last_bytes(x, length);
        to[0] = cq_sxtb16(word);
        to[1] = cq_sxtb16_ror8(word);
    }
}

/* Four weights of a row times four values. */
static inline int32_t cq_linear_word(struct cq_pair_of_words x, uint32_t weights, int32_t acc)
{
    return cq_smlad(x.w1, cq_sxtb16_ror8(weights), cq_smlad(x.w0, cq_sxtb16(weights), acc));
}

/*
 * Four rows, which need not be aligned, times one vector: 23 instructions for 16 products
 * (Cortex-M4, gcc 12).  A weight of a single vector is used once: it is not worth a cache.
 */
CQ_FAST_CODE static void cq_linear_dot(const uint32_t *x, const int8_t *const *row, int32_t length,
                                       int32_t *acc)
{
    const uint32_t *const end = x + length / 4 * 2;
    const int8_t *row0 = row[0];
    const int8_t *row1 = row[1];
    const int8_t *row2 = row[2];
    const int8_t *row3 = row[3];
    int32_t sum0 = acc[0];
    int32_t sum1 = acc[1];
    int32_t sum2 = acc[2];
    int32_t sum3 = acc[3];
    while (x != end) {
        const struct cq_pair_of_words values = cq_next_two(&x);
        sum0 = cq_linear_word(values, cq_next4(&row0), sum0);
        sum1 = cq_linear_word(values, cq_next4(&row1), sum1);
        sum2 = cq_linear_word(values, cq_next4(&row2), sum2);
        sum3 = cq_linear_word(values, cq_next4(&row3), sum3);
    }
    if (length % 4 != 0) {
        const struct cq_pair_of_words values = {x[0], x[1]};
        sum0 = cq_linear_word(values, cq_last_bytes(row0, length % 4), sum0);
        sum1 = cq_linear_word(values, cq_last_bytes(row1, length % 4), sum1);
        sum2 = cq_linear_word(values, cq_last_bytes(row2, length % 4), sum2);
        sum3 = cq_linear_word(values, cq_last_bytes(row3, length % 4), sum3);
    }
    acc[0] = sum0;
    acc[1] = sum1;
    acc[2] = sum2;
    acc[3] = sum3;
}

/* Four outputs of every vector of the tile, before requantization. */
static void cq_linear_quad(const struct cq_rows *rows, const struct cq_quad *quad,
                           const struct cq_linear_tile *tile, int8_t *decoded, int32_t *acc)
{
    for (int32_t v = 0; v < tile->vectors; ++v) {
        memcpy(acc + 4 * v, quad->start, sizeof quad->start);
    }
    const int32_t chunk = cq_rows_are_bytes(rows) ? rows->length : CQ_CHUNK;
    for (int32_t first = 0; first < rows->length; first += chunk) {
        const int32_t count = cq_limit(rows->length - first, 1, chunk);
        const int8_t *row[4];
        for (int32_t i = 0; i < 4; ++i) {
            row[i] = cq_read_row(rows, quad->first + cq_limit(i, 0, quad->channels - 1), first,
                                 count, decoded + i * CQ_CHUNK);
        }
        for (int32_t v = 0; v < tile->vectors; ++v) {
            cq_linear_dot(tile->x + v * tile->words + first / 2, row, count, acc + 4 * v);
        }
    }
}

static void cq_linear_outputs(const struct cq_quad *quad, const int32_t *acc, int8_t *out)
{
    if (!quad->is_short) {
        cq_store_quad(quad, acc, out);
        return;
    }
    for (int32_t i = 0; i < 4; ++i) {
        out[i] = (int8_t)cq_requantize_short(acc[i], quad->factor[i].multiplier,
                                             quad->factor[i].scale, quad->requant->zero_point);
    }
}

static enum cq_status cq_linear_dsp(const struct cq_row_reader *reader, uint32_t bits,
                                    const struct cq_linear_params *params, const int8_t *in,
                                    int8_t *out, void *scratch)
{
    const int32_t length = params->in_features;
    const int32_t features = params->out_features;
    const struct cq_rows rows = {reader, &params->weights, bits, length};
    struct cq_linear_tile tile = {scratch, (length + 3) / 4 * 2, 0};
    const int32_t most =
        cq_limit(CQ_TILE_BYTES / (4 * tile.words), 1, cq_limit(params->rows, 1, CQ_MAX_TILE));
    int8_t *const decoded = (int8_t *)(tile.x + most * tile.words);
    for (int32_t r = 0; r < params->rows; r += most) {
        tile.vectors = cq_limit(params->rows - r, 1, most);
        for (int32_t v = 0; v < tile.vectors; ++v) {
            cq_linear_widen(in + (r + v) * length, length, tile.x + v * tile.words);
        }
        for (int32_t feature = 0; feature < features; feature += 4) {
            int32_t acc[4 * CQ_MAX_TILE];
            struct cq_quad quad;
            cq_load_quad(&quad, &params->requant, cq_quad_at(feature, features),
                         cq_limit(features, 1, 4));
            cq_linear_quad(&rows, &quad, &tile, decoded, acc);
            for (int32_t v = 0; v < tile.vectors; ++v) {
                cq_linear_outputs(&quad, acc + 4 * v, out + (r + v) * features + quad.first);
            }
        }
    }
    cq_clamp_dsp(out, params->rows * features, params->requant.clamp_min,
                 params->requant.clamp_max);
    return CQ_OK;
}

#define CQ_LINEAR_DSP(width, packing)                                                              \
    enum cq_status cq_linear_s8_w##width##_##packing##_dsp(                                        \
        const struct cq_linear_params *params, const int8_t *in, int8_t *out, void *scratch)       \
    {                                                                                              \
        return cq_linear_dsp(&cq_##packing##_rows, width, params, in, out, scratch);               \
    }

CQ_LINEAR_DSP(1, dense)
CQ_LINEAR_DSP(2, dense)
CQ_LINEAR_DSP(3, dense)
CQ_LINEAR_DSP(4, dense)
CQ_LINEAR_DSP(5, dense)
CQ_LINEAR_DSP(6, dense)
CQ_LINEAR_DSP(7, dense)
CQ_LINEAR_DSP(8, dense)
CQ_LINEAR_DSP(2, ternary)
