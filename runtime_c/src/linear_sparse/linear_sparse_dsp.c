/* SPDX-License-Identifier: Apache-2.0 */
/* A fully connected layer from records as they stand: each weight is used once, so that it is not
 * worth a list. */
#include <codeq/linear.h>

#include "../attributes.h"
#include "../bytes.h"
#include "../decode/gap.h"
#include "../quad_dsp.h"

/* What the width of a code says about the records of a word. */
struct cq_gap_masks {
    uint32_t distances; /* in every byte */
    uint32_t codes;     /* in the upper byte of each half */
    uint32_t shift;     /* of codes there */
};

/*
 * Four records: 16 instructions, 34 for eight with the loop (Cortex-M4, gcc 12).  Codes stand in
 * the upper bits of 16, so that the sum is 2^(16 - bits) times what it should be; a record that
 * only skips or fills up adds nothing.
 */
static inline int32_t cq_gap_word(uint32_t word, struct cq_gap_masks masks, const int8_t *x,
                                  int32_t length, uint32_t *place, int32_t sum)
{
    const uint32_t distances = word & masks.distances;
    const uint32_t even = word << 8 & masks.codes;
    const uint32_t odd = word & masks.codes;
    const uint32_t place0 = cq_uxtab(*place, distances);
    const uint32_t place1 = cq_uxtab_ror8(place0, distances);
    const uint32_t place2 = cq_uxtab_ror16(place1, distances);
    const uint32_t place3 = cq_uxtab_ror24(place2, distances);
    *place = place3;
    CQ_ASSERT(place0 < (uint32_t)length && place3 < (uint32_t)length);
    (void)length;
    sum = cq_smlabb((uint32_t)x[place0], even, sum);
    sum = cq_smlabb((uint32_t)x[place1], odd, sum);
    sum = cq_smlabt((uint32_t)x[place2], even, sum);
    return cq_smlabt((uint32_t)x[place3], odd, sum);
}

/* Adds `unit` times the products of a vector with the next rows to sums.  Of a block at most 256
 * products of 22 bits are added before they are brought down. */
CQ_FAST_CODE static void cq_gap_rows(struct cq_bits *stream, struct cq_gap_masks masks,
                                     const int8_t *in, int32_t length, int32_t unit,
                                     int32_t channels, int32_t *sums)
{
    const int32_t *const sums_end = sums + channels;
    for (; sums != sums_end; ++sums) {
        for (int32_t k = 0; k < length; k += CQ_CHUNK) {
            int32_t words;
            const int8_t *at = (const int8_t *)cq_gap_block(stream, &words);
            const int8_t *const end = at + 4 * words;
            const int8_t *const x = in + k;
            const int32_t count = cq_limit(length - k, 1, CQ_CHUNK);
            uint32_t place = UINT32_MAX; /* one before the first */
            int32_t sum = 0;
            if ((words & 1) != 0) {
                sum = cq_gap_word(cq_next4(&at), masks, x, count, &place, sum);
            }
            while (at != end) {
                sum = cq_gap_word(cq_next4(&at), masks, x, count, &place, sum);
                sum = cq_gap_word(cq_next4(&at), masks, x, count, &place, sum);
            }
            *sums += cq_shift_right(sum, masks.shift) * unit;
        }
    }
}

static enum cq_status cq_linear_gap(uint32_t bits, const struct cq_linear_params *params,
                                    const int8_t *in, int8_t *out)
{
    int8_t *const outputs = out;
    const struct cq_weights *const weights = &params->weights;
    const uint32_t reach = (1u << (8u - bits)) - 1u;
    const struct cq_gap_masks masks = {reach * 0x01010101u, (0xffu - reach) * 0x01000100u,
                                       16u - bits};
    const int32_t unit = weights->gap + 1; /* a grid with a gap has one magnitude here */
    struct cq_quad quad;
    quad.requant = NULL;
    for (int32_t r = 0; r < params->rows; ++r, in += params->in_features) {
        struct cq_bits stream = cq_bits_at(weights->data, weights->data + weights->bytes);
        for (int32_t first = 0; first < params->out_features; first += 4, out += quad.channels) {
            cq_load_quad(&quad, &params->requant, first,
                         cq_limit(params->out_features - first, 1, 4));
            cq_gap_rows(&stream, masks, in, params->in_features, unit, quad.channels, quad.start);
            const struct cq_sums sums = {quad.start[0], quad.start[1], quad.start[2],
                                         quad.start[3]};
            if (quad.is_short != 0u) {
                cq_store_short(sums, quad.factor, params->requant.zero_point, out);
            } else {
                cq_finish_slowly(&quad, sums, out);
            }
        }
    }
    cq_clamp_dsp(outputs, params->rows * params->out_features, params->requant.clamp_min,
                 params->requant.clamp_max);
    return CQ_OK;
}

#define CQ_LINEAR_SPARSE_DSP(width)                                                                \
    enum cq_status cq_linear_sparse_s8_w##width##_gap_dsp(                                         \
        const struct cq_linear_params *params, const int8_t *in, int8_t *out, void *scratch)       \
    {                                                                                              \
        (void)scratch;                                                                             \
        return cq_linear_gap(width, params, in, out);                                              \
    }

CQ_LINEAR_SPARSE_DSP(2)
CQ_LINEAR_SPARSE_DSP(3)
CQ_LINEAR_SPARSE_DSP(4)
CQ_LINEAR_SPARSE_DSP(5)
CQ_LINEAR_SPARSE_DSP(6)
