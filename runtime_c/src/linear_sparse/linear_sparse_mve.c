/* SPDX-License-Identifier: Apache-2.0 */
/* A fully connected layer from records as they stand, with Helium: inputs are gathered. */
#include <codeq/linear.h>

#include "../mve.h"

#ifdef CQ_HAS_MVE

#include "../decode/gap.h"
#include "../requant_mve.h"

/* A byte in all four of a word; and, with four bytes that do not carry, their running sums. */
#define CQ_EVERY_BYTE UINT32_C(0x01010101)

/* One word on, the first word in place of the one that is lost. */
static inline uint8x16_t cq_next_word(uint8x16_t words, uint32_t first)
{
    return vshlcq_u8(words, &first, 32);
}

/**
 * @brief Running sums of 16 distances, of which four are below 256, from a first place on.
 *
 * Within words by a product; then each word gets the sums of those before it, one word more at a
 * time, and the place so far, which moves along with them.
 */
static inline uint8x16_t cq_places(uint8x16_t distances, uint32_t place)
{
    const uint32x4_t within = vmulq_n_u32(vreinterpretq_u32_u8(distances), CQ_EVERY_BYTE);
    const uint32x4_t of_word = vmulq_n_u32(vshrq_n_u32(within, 24), CQ_EVERY_BYTE);
    uint8x16_t places = vreinterpretq_u8_u32(within);
    uint8x16_t before = cq_next_word(vreinterpretq_u8_u32(of_word), place * CQ_EVERY_BYTE);
    places = vaddq_u8(places, before);
    before = cq_next_word(before, 0u);
    places = vaddq_u8(places, before);
    before = cq_next_word(before, 0u);
    places = vaddq_u8(places, before);
    before = cq_next_word(before, 0u);
    return vaddq_u8(places, before);
}

/* The records of a block times the inputs of a chunk, 16 at a time. */
static inline int32_t cq_gap_sum(struct cq_bits *stream, uint8x16_t reach, const int8_t *x,
                                 int32_t length)
{
    int32_t words;
    const uint8_t *at = cq_gap_block(stream, &words);
    uint32_t place = UINT8_MAX; /* one before the first */
    int32_t sum = 0;
    (void)length;
    for (int32_t left = 4 * words; left > 0; left -= 16, at += 16) {
        const uint8x16_t records = cq_load_first(at, left);
        const uint8x16_t distances = vandq_u8(records, reach);
        const uint8x16_t places = cq_places(distances, place);
        CQ_ASSERT(vmaxvq_u8(0u, places) < (uint32_t)length);
        const int8x16_t codes = vreinterpretq_s8_u8(veorq_u8(records, distances));
        sum = vmladavaq_s8(sum, vldrbq_gather_offset_s8(x, places), codes);
        place = vgetq_lane_u8(places, 15);
    }
    return sum;
}

/* Sums of products with the next rows.  Codes are in the upper bits of bytes, so that the products
 * of a block are 2^(8 - bits) times what they should be; a record that only skips or fills up adds
 * nothing. */
CQ_FAST_CODE CQ_NO_INLINE void cq_gap_rows(struct cq_bits *stream, uint32_t bits, const int8_t *in,
                                           int32_t length, int32_t rows, int32_t *sums)
{
    const uint32_t code_at = 8u - bits;
    const uint8x16_t reach = vdupq_n_u8((uint8_t)((1u << code_at) - 1u));
    struct cq_bits own = *stream;
    for (int32_t i = 0; i < rows; ++i) {
        int32_t sum = 0;
        for (int32_t k = 0; k < length; k += CQ_CHUNK) {
            const int32_t count = cq_limit(length - k, 1, CQ_CHUNK);
            sum += cq_shift_right(cq_gap_sum(&own, reach, in + k, count), code_at);
        }
        sums[i] = sum;
    }
    *stream = own;
}

/* Up to four outputs. */
static inline void cq_gap_outputs(const struct cq_requant *requant, struct cq_ending *ending,
                                  int32_t first, int32_t count, const int32_t *sums, int32_t unit,
                                  int8_t *out)
{
    if (count == 4) {
        const int32x4_t acc = vmlaq_n_s32(cq_load_biases(requant, first), vldrwq_s32(sums), unit);
        if (requant->per_channel != 0u) {
            cq_load_factors(requant, first, &ending->factors);
        }
        vstrbq_s32(out, cq_end_quad(acc, ending, 0));
        return;
    }
    for (int32_t i = 0; i < count; ++i) {
        const struct cq_channel channel = cq_load_channel(requant, first + i);
        out[i] = cq_requantize_channel(channel.bias + sums[i] * unit, channel);
    }
}

static enum cq_status cq_linear_gap_mve(uint32_t bits, const struct cq_linear_params *params,
                                        const int8_t *in, int8_t *out)
{
    const struct cq_weights *const weights = &params->weights;
    const int32_t unit = weights->gap + 1; /* a grid with a gap has one magnitude here */
    const int32_t features = params->out_features;
    struct cq_ending ending;
    cq_set_ending(&ending, &params->requant);
    cq_load_factors(&params->requant, 0, &ending.factors);
    for (int32_t r = 0; r < params->rows; ++r) {
        struct cq_bits stream = cq_bits_at(weights->data, weights->data + weights->bytes);
        for (int32_t first = 0; first < features; first += 4) {
            const int32_t count = cq_limit(features - first, 1, 4);
            int32_t sums[4];
            cq_gap_rows(&stream, bits, in, params->in_features, count, sums);
            cq_gap_outputs(&params->requant, &ending, first, count, sums, unit, out + first);
        }
        in += params->in_features;
        out += features;
    }
    return CQ_OK;
}

#define CQ_LINEAR_SPARSE_MVE(width)                                                                \
    enum cq_status cq_linear_sparse_s8_w##width##_gap_mve(                                         \
        const struct cq_linear_params *params, const int8_t *in, int8_t *out, void *scratch)       \
    {                                                                                              \
        (void)scratch;                                                                             \
        return cq_linear_gap_mve(width, params, in, out);                                          \
    }

CQ_LINEAR_SPARSE_MVE(2)
CQ_LINEAR_SPARSE_MVE(3)
CQ_LINEAR_SPARSE_MVE(4)
CQ_LINEAR_SPARSE_MVE(5)
CQ_LINEAR_SPARSE_MVE(6)

#endif
