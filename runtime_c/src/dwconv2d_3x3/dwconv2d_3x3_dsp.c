/* SPDX-License-Identifier: Apache-2.0 */
/* Depthwise 3x3 with SMLAD: planes of four channels, two outputs at a time. */
#include <codeq/dwconv2d.h>

#include "../requant_dsp.h"
#include "../rows.h"

/*
 * Neighbouring pixels of a channel stand in the lanes of a word: x0 x1, x2 x3, ...  With the
 * weights of a kernel row as w0 w1 and w1 w2, its products with two words are
 *
 *     x0 w0 + x1 w1 + x2 w2     SMLAD (x0 x1)(w0 w1), SMLABT (x2 x3)(w1 w2)
 *     x1 w0 + x2 w1 + x3 w2     SMLATB (x0 x1)(w0 w1), SMLAD (x2 x3)(w1 w2)
 *
 * Four channels are widened so at a time, a band of rows with its padding.
 */
struct cq_dwconv2d_band {
    uint32_t *plane[4];
    int32_t words; /* of a row */
    int32_t out_rows;
    int32_t out_width;
    int32_t out_step; /* from one output to its right neighbour */
    struct cq_pair stride;
};

/* One channel: its weights, and its requantization. */
struct cq_dwconv2d_channel {
    uint32_t weight[6]; /* w0 w1, w1 w2 of each kernel row */
    int32_t start;
    struct cq_factor factor;
    int32_t zero_point;
    uint32_t is_short; /* factor serves */
    const struct cq_requant *requant;
    int32_t channel;
};

/* Where four planes are written, and what from. */
struct cq_dwconv2d_source {
    uint32_t *to0, *to1, *to2, *to3;
    int32_t width;    /* of the image */
    int32_t pixel;    /* from one to the next, in bytes */
    uint32_t padding; /* four channels */
};

/* Two neighbouring pixels. */
static inline void cq_dwconv2d_put(struct cq_dwconv2d_source *source, uint32_t left, uint32_t right)
{
    const uint32_t low = cq_pkhbt(left, right);
    const uint32_t high = cq_pkhtb(left, right);
    *source->to0++ = cq_sxtb16(low);
    *source->to1++ = cq_sxtb16_ror8(low);
    *source->to2++ = cq_sxtb16(high);
    *source->to3++ = cq_sxtb16_ror8(high);
}

/* One row of the image, from column x <= 0 on, until the first plane is at `end`: 15 instructions
 * for 8 pixels (Cortex-M4, gcc 12). */
CQ_FAST_CODE static void cq_dwconv2d_widen_row(struct cq_dwconv2d_source *source,
                                               const int8_t *in_row, int32_t x, const uint32_t *end)
{
    struct cq_dwconv2d_source s = *source;
    for (; x < -1 && s.to0 != end; x += 2) {
        cq_dwconv2d_put(&s, s.padding, s.padding);
    }
    if (x < 0 && s.to0 != end) {
        cq_dwconv2d_put(&s, s.padding, cq_load4(in_row));
        x = 1;
    }
    const int8_t *at = in_row + x * s.pixel;
    const uint32_t *const inside_end =
        s.to0 + cq_limit((s.width - x) / 2, 0, (int32_t)(end - s.to0));
    for (; s.to0 != inside_end; at += 2 * s.pixel) {
        cq_dwconv2d_put(&s, cq_load4(at), cq_load4(at + s.pixel));
    }
    if (((s.width - x) & 1) != 0 && s.to0 != end) {
        cq_dwconv2d_put(&s, cq_load4(at), s.padding);
    }
    while (s.to0 != end) {
        cq_dwconv2d_put(&s, s.padding, s.padding);
    }
    *source = s;
}

/* Rows first..end - 1 of the windows whose upper row is at y = first_y - first. */
static void cq_dwconv2d_widen(const struct cq_dwconv2d_params *params, const int8_t *in,
                              const struct cq_dwconv2d_band *band, int32_t first, int32_t end,
                              int32_t y)
{
    const int32_t written = first * band->words;
    struct cq_dwconv2d_source source = {
        band->plane[0] + written,
        band->plane[1] + written,
        band->plane[2] + written,
        band->plane[3] + written,
        params->in.w,
        params->in.c,
        (uint8_t)params->in_zero * UINT32_C(0x01010101),
    };
    for (int32_t row = first; row < end; ++row, ++y) {
        const uint32_t *const row_end = source.to0 + band->words;
        if (y >= 0 && y < params->in.h) {
            cq_dwconv2d_widen_row(&source, in + y * params->in.w * params->in.c, -params->pad.w,
                                  row_end);
        } else {
            while (source.to0 != row_end) {
                cq_dwconv2d_put(&source, source.padding, source.padding);
            }
        }
    }
}

/* Accumulators of two neighbours. */
struct cq_two {
    int32_t acc0, acc1;
};

/* One kernel row, stride 1: a pair of outputs starts at each word. */
static inline struct cq_two cq_dwconv2d_step1(struct cq_two two, const uint32_t **row, uint32_t w01,
                                              uint32_t w12)
{
    const struct cq_pair_of_words x = cq_next_of_two(row);
    two.acc1 = cq_smlatb(x.w0, w01, two.acc1);
    two.acc0 = cq_smlad(x.w0, w01, two.acc0);
    two.acc0 = cq_smlabt(x.w1, w12, two.acc0);
    two.acc1 = cq_smlad(x.w1, w12, two.acc1);
    return two;
}

/* One kernel row, stride 2: an output starts at each word. */
static inline struct cq_two cq_dwconv2d_step2(struct cq_two two, const uint32_t **row, uint32_t w01,
                                              uint32_t w12)
{
    const struct cq_pair_of_words x = cq_next_two(row);
    two.acc0 = cq_smlad(x.w0, w01, two.acc0);
    two.acc1 = cq_smlad(x.w1, w01, two.acc1);
    two.acc0 = cq_smlabt(x.w1, w12, two.acc0);
    two.acc1 = cq_smlabt(**row, w12, two.acc1);
    return two;
}

/* One output: its window starts in the lower lane of `row`, or in the upper one. */
static int32_t cq_dwconv2d_one(const uint32_t *row, int32_t words, int is_upper,
                               const struct cq_dwconv2d_channel *channel)
{
    int32_t acc = channel->start;
    for (int32_t ky = 0; ky < 3; ++ky, row += words) {
        const uint32_t w01 = channel->weight[2 * ky];
        const uint32_t w12 = channel->weight[2 * ky + 1];
        acc = is_upper ? cq_smlatb(row[0], w01, acc) : cq_smlad(row[0], w01, acc);
        acc = is_upper ? cq_smlad(row[1], w12, acc) : cq_smlabt(row[1], w12, acc);
    }
    return acc;
}

typedef void cq_dwconv2d_band_fn(const struct cq_dwconv2d_band *band, const uint32_t *plane,
                                 const struct cq_dwconv2d_channel *channel, int8_t *out);

/* All outputs of one channel of a band, in pairs: 39 instructions for 18 products (Cortex-M4,
 * gcc 12). */
#define CQ_DWCONV2D_BAND(stride_w, form)                                                           \
    CQ_FAST_CODE static void cq_dwconv2d_band_s##stride_w##_##form(                                \
        const struct cq_dwconv2d_band *band, const uint32_t *plane,                                \
        const struct cq_dwconv2d_channel *channel, int8_t *out)                                    \
    {                                                                                              \
        const uint32_t w0 = channel->weight[0];                                                    \
        const uint32_t w1 = channel->weight[1];                                                    \
        const uint32_t w2 = channel->weight[2];                                                    \
        const uint32_t w3 = channel->weight[3];                                                    \
        const uint32_t w4 = channel->weight[4];                                                    \
        const uint32_t w5 = channel->weight[5];                                                    \
        const int32_t pair_words = band->out_width / 2 * stride_w;                                 \
        const int32_t row_skip = band->stride.h * band->words - pair_words;                        \
        const int32_t is_odd = band->out_width % 2;                                                \
        const int32_t out_step = band->out_step;                                                   \
        const uint32_t *row0 = plane;                                                              \
        const uint32_t *row1 = row0 + band->words;                                                 \
        const uint32_t *row2 = row1 + band->words;                                                 \
        for (int32_t rows = band->out_rows; rows > 0; --rows) {                                    \
            const uint32_t *const end = row0 + pair_words;                                         \
            while (row0 != end) {                                                                  \
                struct cq_two two = {channel->start, channel->start};                              \
                two = cq_dwconv2d_step##stride_w(two, &row0, w0, w1);                              \
                two = cq_dwconv2d_step##stride_w(two, &row1, w2, w3);                              \
                two = cq_dwconv2d_step##stride_w(two, &row2, w4, w5);                              \
                const struct cq_factor f = channel->factor;                                        \
                const int32_t y0 =                                                                 \
                    cq_requantize_##form(two.acc0, f.multiplier, f.scale, channel->zero_point);    \
                const int32_t y1 =                                                                 \
                    cq_requantize_##form(two.acc1, f.multiplier, f.scale, channel->zero_point);    \
                out[0] = (int8_t)y0;                                                               \
                out[out_step] = (int8_t)y1;                                                        \
                out += 2 * out_step;                                                               \
            }                                                                                      \
            if (is_odd) {                                                                          \
                int32_t acc = cq_smlad(row0[0], w0, channel->start);                               \
                acc = cq_smlabt(row0[1], w1, acc);                                                 \
                acc = cq_smlad(row1[0], w2, acc);                                                  \
                acc = cq_smlabt(row1[1], w3, acc);                                                 \
                acc = cq_smlad(row2[0], w4, acc);                                                  \
                acc = cq_smlabt(row2[1], w5, acc);                                                 \
                const struct cq_factor f = channel->factor;                                        \
                out[0] =                                                                           \
                    (int8_t)cq_requantize_##form(acc, f.multiplier, f.scale, channel->zero_point); \
                out += out_step;                                                                   \
            }                                                                                      \
            row0 += row_skip;                                                                      \
            row1 += row_skip;                                                                      \
            row2 += row_skip;                                                                      \
        }                                                                                          \
    }

CQ_DWCONV2D_BAND(1, short)
CQ_DWCONV2D_BAND(1, relu)
CQ_DWCONV2D_BAND(2, short)

/* The same one at a time, for any factor. */
CQ_SELDOM static void cq_dwconv2d_band_slowly(const struct cq_dwconv2d_band *band,
                                              const uint32_t *plane,
                                              const struct cq_dwconv2d_channel *channel,
                                              int8_t *out)
{
    const struct cq_channel general = cq_load_channel(channel->requant, channel->channel);
    const int32_t row_step = band->stride.h * band->words;
    for (int32_t rows = band->out_rows; rows > 0; --rows, plane += row_step) {
        for (int32_t ox = 0; ox < band->out_width; ++ox, out += band->out_step) {
            const int32_t x = ox * band->stride.w;
            const int32_t acc = cq_dwconv2d_one(plane + x / 2, band->words, x % 2 != 0, channel);
            *out = cq_requantize_channel(acc, general);
        }
    }
}

/* What serves a channel. */
static cq_dwconv2d_band_fn *cq_dwconv2d_form(const struct cq_dwconv2d_params *params,
                                             const struct cq_dwconv2d_channel *channel)
{
    if (!channel->is_short) {
        return cq_dwconv2d_band_slowly;
    }
    if (params->stride.w == 2) {
        return cq_dwconv2d_band_s2_short;
    }
    return cq_is_relu(&params->requant) ? cq_dwconv2d_band_s1_relu : cq_dwconv2d_band_s1_short;
}

/* Nine int8 weights as pairs of lanes. */
static void cq_dwconv2d_load_weights(const int8_t *weight, uint32_t *pairs)
{
    for (int32_t row = 0; row < 3; ++row, weight += 3, pairs += 2) {
        pairs[0] = cq_pkhbt((uint32_t)(int32_t)weight[0], (uint32_t)(int32_t)weight[1]);
        pairs[1] = cq_pkhbt((uint32_t)(int32_t)weight[1], (uint32_t)(int32_t)weight[2]);
    }
}

static void cq_dwconv2d_load_channel(const struct cq_rows *rows, const struct cq_requant *requant,
                                     int32_t oc, struct cq_dwconv2d_channel *channel)
{
    int8_t decoded[12];
    cq_dwconv2d_load_weights(cq_read_row(rows, oc, 0, rows->length, decoded), channel->weight);
    const struct cq_channel general = cq_load_channel(requant, oc);
    channel->start = general.bias;
    channel->is_short = cq_short_factor(general.multiplier, general.exponent, &channel->factor);
    channel->zero_point = general.zero_point;
    channel->requant = requant;
    channel->channel = oc;
}

/* Rows that two bands share move from the end of the first to the beginning of the second. */
static void cq_dwconv2d_scroll(const struct cq_dwconv2d_band *band, int32_t rows, int32_t shared)
{
    for (int32_t i = 0; i < 4; ++i) {
        uint32_t *const plane = band->plane[i];
        const uint32_t *const from = plane + (rows - shared) * band->words;
        for (int32_t word = 0; word < shared * band->words; ++word) {
            plane[word] = from[word];
        }
    }
}

/* Four neighbouring channels of the whole image, band by band. */
static void cq_dwconv2d_four_channels(const struct cq_dwconv2d_params *params,
                                      struct cq_dwconv2d_band band,
                                      const struct cq_dwconv2d_channel *channels, const int8_t *in,
                                      int8_t *out)
{
    const int32_t rows = (band.out_rows - 1) * band.stride.h + 3;
    const int32_t shared = cq_limit(3 - band.stride.h, 0, 3);
    const int32_t band_rows = band.out_rows;
    int32_t ready = 0;
    for (int32_t oy = 0; oy < params->out.h; oy += band_rows) {
        const int32_t y = oy * band.stride.h - params->pad.h;
        band.out_rows = cq_limit(params->out.h - oy, 1, band_rows);
        cq_dwconv2d_widen(params, in, &band, ready, (band.out_rows - 1) * band.stride.h + 3,
                          y + ready);
        for (int32_t i = 0; i < 4; ++i) {
            const struct cq_dwconv2d_channel *const channel = &channels[i];
            cq_dwconv2d_band_fn *const multiply = cq_dwconv2d_form(params, channel);
            multiply(&band, band.plane[i], channel, out + oy * params->out.w * params->out.c + i);
        }
        if (oy + band_rows < params->out.h) {
            cq_dwconv2d_scroll(&band, rows, shared);
            ready = shared;
        }
    }
}

static enum cq_status cq_dwconv2d_3x3(const struct cq_row_reader *reader, uint32_t bits,
                                      const struct cq_dwconv2d_params *params, const int8_t *in,
                                      int8_t *out, void *scratch)
{
    const int32_t words = params->stride.w == 1 ? (params->out.w + 1) / 2 + 1 : params->out.w + 1;
    const int32_t fitting = (CQ_BAND_BYTES / (16 * words) - 3) / params->stride.h + 1;
    const int32_t out_rows =
        cq_limit(cq_limit(fitting, CQ_MIN_BAND, params->out.h), 1, params->out.h);
    const int32_t plane_words = ((out_rows - 1) * params->stride.h + 3) * words;
    uint32_t *const plane = scratch;
    const struct cq_dwconv2d_band band = {
        {plane, plane + plane_words, plane + 2 * plane_words, plane + 3 * plane_words},
        words,
        out_rows,
        params->out.w,
        params->out.c,
        params->stride,
    };
    const struct cq_rows rows = {reader, &params->weights, bits, 9};
    CQ_ASSERT(params->in.c == params->out.c && params->in.c >= 4 && params->stride.w <= 2);
    for (int32_t c = 0; c < params->in.c; c += 4) {
        /* where there are not four left, some are computed again */
        const int32_t first = cq_limit(c, 0, params->in.c - 4);
        struct cq_dwconv2d_channel channels[4];
        for (int32_t i = 0; i < 4; ++i) {
            cq_dwconv2d_load_channel(&rows, &params->requant, first + i, &channels[i]);
        }
        cq_dwconv2d_four_channels(params, band, channels, in + first, out + first);
    }
    cq_clamp_dsp(out, params->out.h * params->out.w * params->out.c, params->requant.clamp_min,
                 params->requant.clamp_max);
    return CQ_OK;
}

#define CQ_DWCONV2D_3X3_DSP(width, packing)                                                        \
    enum cq_status cq_dwconv2d_3x3_s8_w##width##_##packing##_dsp(                                  \
        const struct cq_dwconv2d_params *params, const int8_t *in, int8_t *out, void *scratch)     \
    {                                                                                              \
        return cq_dwconv2d_3x3(&cq_##packing##_rows, width, params, in, out, scratch);             \
    }

CQ_DWCONV2D_3X3_DSP(1, dense)
CQ_DWCONV2D_3X3_DSP(2, dense)
CQ_DWCONV2D_3X3_DSP(3, dense)
CQ_DWCONV2D_3X3_DSP(4, dense)
CQ_DWCONV2D_3X3_DSP(5, dense)
CQ_DWCONV2D_3X3_DSP(6, dense)
CQ_DWCONV2D_3X3_DSP(7, dense)
CQ_DWCONV2D_3X3_DSP(8, dense)
CQ_DWCONV2D_3X3_DSP(2, ternary)
