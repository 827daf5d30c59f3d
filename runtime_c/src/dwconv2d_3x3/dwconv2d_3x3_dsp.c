/* SPDX-License-Identifier: Apache-2.0 */
/* Depthwise 3x3 with SMLAD: planes of four channels, two outputs at a time. */
#include <codeq/dwconv2d.h>

#include "../attributes.h"
#include "../requant_dsp.h"
#include "../rows.h"

/*
 * Neighbouring pixels of a channel stand in the lanes of a word: x0 x1, x2 x3, ...  With the
 * weights of a kernel row as w0 w1 and w1 w2, its products with two words are
 *
 *     x0 w0 + x1 w1 + x2 w2     SMLAD (x0 x1)(w0 w1), SMLABT (x2 x3)(w1 w2)
 *     x1 w0 + x2 w1 + x3 w2     SMLATB (x0 x1)(w0 w1), SMLAD (x2 x3)(w1 w2)
 *
 * Four channels are widened so at a time, a band of rows with its padding.  Below a word stands the
 * next row's: one LDM loads what a column of words has for all rows of the kernel.
 */
struct cq_dwconv2d_band {
    uint32_t *plane;     /* of the first channel */
    int32_t plane_words; /* to the next channel */
    int32_t columns;     /* of words */
    int32_t rows;        /* of a column */
    int32_t out_rows;
    int32_t out_width;
    int32_t out_step; /* from one output to its right neighbour */
    int32_t out_row;  /* and to the one below */
    struct cq_pair stride;
};

/* One channel: its weights, and its requantization. */
struct cq_dwconv2d_channel {
    uint32_t words[9]; /* by threes, as they are loaded: w0 w1 of each kernel row; w1 w2; multiplier
                          and scale of the factor, and the zero point */
    int32_t start;     /* of the accumulators */
    uint32_t is_short; /* the factor serves */
    const struct cq_requant *requant;
    int32_t channel;
};

/* Rows of a band that are written. */
struct cq_dwconv2d_rows {
    int32_t above;  /* the image */
    int32_t inside; /* it, from row y on */
    int32_t below;  /* it */
    int32_t y;
};

/* A column of pixels, four channels each: `at` is where it meets the first row inside the image. */
struct cq_dwconv2d_pixels {
    const int8_t *at;
    int32_t step; /* to the next row: 0 in the padding */
};

/* Two neighbouring pixels into four planes. */
static inline void cq_dwconv2d_put(uint32_t *to, int32_t plane_words, uint32_t left, uint32_t right)
{
    const uint32_t low = cq_pkhbt(left, right);
    const uint32_t high = cq_pkhtb(left, right);
    to[0] = cq_sxtb16(low);
    to[plane_words] = cq_sxtb16_ror8(low);
    to[2 * plane_words] = cq_sxtb16(high);
    to[3 * plane_words] = cq_sxtb16_ror8(high);
}

/* A column of words: 16 instructions for 8 pixels (Cortex-M4, gcc 12). */
CQ_FAST_CODE CQ_NOINLINE static void cq_dwconv2d_widen_column(uint32_t *to, int32_t plane_words,
                                                              struct cq_dwconv2d_rows rows,
                                                              struct cq_dwconv2d_pixels left,
                                                              struct cq_dwconv2d_pixels right,
                                                              uint32_t padding)
{
    for (int32_t row = rows.above; row > 0; --row) {
        cq_dwconv2d_put(to++, plane_words, padding, padding);
    }
    for (const uint32_t *const end = to + rows.inside; to != end; ++to) {
        cq_dwconv2d_put(to, plane_words, cq_load4(left.at), cq_load4(right.at));
        left.at += left.step;
        right.at += right.step;
    }
    for (int32_t row = rows.below; row > 0; --row) {
        cq_dwconv2d_put(to++, plane_words, padding, padding);
    }
}

/* Rows first..end - 1 of the band, whose row `first` is row y of the image. */
static void cq_dwconv2d_widen(const struct cq_dwconv2d_params *params, const int8_t *in,
                              const struct cq_dwconv2d_band *band, int32_t first, int32_t end,
                              int32_t y)
{
    const uint32_t padding = (uint8_t)params->in_zero * UINT32_C(0x01010101);
    const int32_t step = params->in.w * params->in.c;
    struct cq_dwconv2d_rows rows;
    rows.above = cq_limit(-y, 0, end - first);
    rows.y = y + rows.above;
    rows.inside = cq_limit(params->in.h - rows.y, 0, end - first - rows.above);
    rows.below = end - first - rows.above - rows.inside;
    for (int32_t column = 0; column < band->columns; ++column) {
        const int32_t x = 2 * column - params->pad.w;
        struct cq_dwconv2d_pixels sides[2];
        for (int32_t i = 0; i < 2; ++i) {
            const int is_inside = x + i >= 0 && x + i < params->in.w && rows.inside > 0;
            sides[i].at =
                is_inside ? in + rows.y * step + (x + i) * params->in.c : (const int8_t *)&padding;
            sides[i].step = is_inside ? step : 0;
        }
        cq_dwconv2d_widen_column(band->plane + column * band->rows + first, band->plane_words, rows,
                                 sides[0], sides[1], padding);
    }
}

/* Accumulators of two neighbours. */
struct cq_two {
    int32_t acc0, acc1;
};

/* The words of three rows, times the left part of each kernel row for both neighbours. */
static inline struct cq_two cq_dwconv2d_left(struct cq_three_words x, struct cq_three_words w,
                                             int32_t start)
{
    struct cq_two two = {start, start};
    two.acc0 = cq_smlad(x.w0, w.w0, two.acc0);
    two.acc1 = cq_smlatb(x.w0, w.w0, two.acc1);
    two.acc0 = cq_smlad(x.w1, w.w1, two.acc0);
    two.acc1 = cq_smlatb(x.w1, w.w1, two.acc1);
    two.acc0 = cq_smlad(x.w2, w.w2, two.acc0);
    two.acc1 = cq_smlatb(x.w2, w.w2, two.acc1);
    cq_complete(&two.acc0);
    cq_complete(&two.acc1);
    return two;
}

/* The next words, times the right part. */
static inline struct cq_two cq_dwconv2d_right(struct cq_three_words x, struct cq_three_words w,
                                              struct cq_two two)
{
    two.acc0 = cq_smlabt(x.w0, w.w0, two.acc0);
    two.acc1 = cq_smlad(x.w0, w.w0, two.acc1);
    two.acc0 = cq_smlabt(x.w1, w.w1, two.acc0);
    two.acc1 = cq_smlad(x.w1, w.w1, two.acc1);
    two.acc0 = cq_smlabt(x.w2, w.w2, two.acc0);
    two.acc1 = cq_smlad(x.w2, w.w2, two.acc1);
    cq_complete(&two.acc0);
    cq_complete(&two.acc1);
    return two;
}

/* A window that starts in the lower lanes: its first two columns, */
static inline int32_t cq_dwconv2d_lower(struct cq_three_words x, struct cq_three_words w,
                                        int32_t acc)
{
    acc = cq_smlad(x.w0, w.w0, acc);
    acc = cq_smlad(x.w1, w.w1, acc);
    acc = cq_smlad(x.w2, w.w2, acc);
    cq_complete(&acc);
    return acc;
}

/* and its third one. */
static inline int32_t cq_dwconv2d_last(struct cq_three_words x, struct cq_three_words w,
                                       int32_t acc)
{
    acc = cq_smlabt(x.w0, w.w0, acc);
    acc = cq_smlabt(x.w1, w.w1, acc);
    acc = cq_smlabt(x.w2, w.w2, acc);
    cq_complete(&acc);
    return acc;
}

/* Outputs of one channel of a band, four neighbours at a time, stride 1: 62 instructions for 36
 * products (Cortex-M4, gcc 12). */
#define CQ_DWCONV2D_FOURS(form)                                                                    \
    CQ_FAST_CODE CQ_NOINLINE static void cq_dwconv2d_fours_##form(                                 \
        const struct cq_dwconv2d_band *band, const uint32_t *column,                               \
        const struct cq_dwconv2d_channel *channel, int8_t *out)                                    \
    {                                                                                              \
        const int32_t rows = band->rows;                                                           \
        const int32_t out_step = band->out_step;                                                   \
        const int32_t out_row = band->out_row;                                                     \
        const int32_t stride = band->stride.h;                                                     \
        const int32_t words = band->out_rows * stride;                                             \
        for (int32_t four = band->out_width / 4; four > 0; --four) {                               \
            const uint32_t *const end = column + words;                                            \
            const uint32_t *const next = column + 2 * rows;                                        \
            int8_t *to = out;                                                                      \
            while (column != end) {                                                                \
                const uint32_t *weights = channel->words;                                          \
                struct cq_three_words w = cq_next_three(&weights);                                 \
                struct cq_two left = cq_dwconv2d_left(cq_load_three(column), w, channel->start);   \
                const struct cq_three_words x = cq_load_three(column + rows);                      \
                struct cq_two right = cq_dwconv2d_left(x, w, channel->start);                      \
                w = cq_next_three(&weights);                                                       \
                left = cq_dwconv2d_right(x, w, left);                                              \
                right = cq_dwconv2d_right(cq_load_three(column + 2 * rows), w, right);             \
                w = cq_next_three(&weights);                                                       \
                const int32_t zero_point = cq_to_signed(w.w2);                                     \
                to[0] = (int8_t)cq_requantize_##form(left.acc0, w.w0, w.w1, zero_point);           \
                to[out_step] = (int8_t)cq_requantize_##form(left.acc1, w.w0, w.w1, zero_point);    \
                to[2 * out_step] =                                                                 \
                    (int8_t)cq_requantize_##form(right.acc0, w.w0, w.w1, zero_point);              \
                to[3 * out_step] =                                                                 \
                    (int8_t)cq_requantize_##form(right.acc1, w.w0, w.w1, zero_point);              \
                to += out_row;                                                                     \
                column += stride;                                                                  \
            }                                                                                      \
            column = next;                                                                         \
            out += 4 * out_step;                                                                   \
        }                                                                                          \
    }

CQ_DWCONV2D_FOURS(short)
CQ_DWCONV2D_FOURS(relu)

/* Two neighbouring columns of outputs: 38 instructions for 18 products (Cortex-M4, gcc 12). */
CQ_FAST_CODE CQ_NOINLINE static void cq_dwconv2d_pair(const struct cq_dwconv2d_band *band,
                                                      const uint32_t *column,
                                                      const struct cq_dwconv2d_channel *channel,
                                                      int8_t *out)
{
    const int32_t rows = band->rows;
    const int32_t stride = band->stride.h;
    const uint32_t *const end = column + band->out_rows * stride;
    for (; column != end; column += stride, out += band->out_row) {
        const uint32_t *weights = channel->words;
        struct cq_three_words w = cq_next_three(&weights);
        struct cq_two two = cq_dwconv2d_left(cq_load_three(column), w, channel->start);
        w = cq_next_three(&weights);
        two = cq_dwconv2d_right(cq_load_three(column + rows), w, two);
        w = cq_next_three(&weights);
        const int32_t zero_point = cq_to_signed(w.w2);
        out[0] = (int8_t)cq_requantize_short(two.acc0, w.w0, w.w1, zero_point);
        out[band->out_step] = (int8_t)cq_requantize_short(two.acc1, w.w0, w.w1, zero_point);
    }
}

/* The same with stride 2, where every window starts in a lower lane, as often as there are pairs:
 * 41 instructions. */
CQ_FAST_CODE CQ_NOINLINE static void cq_dwconv2d_pairs_s2(const struct cq_dwconv2d_band *band,
                                                          const uint32_t *column,
                                                          const struct cq_dwconv2d_channel *channel,
                                                          int8_t *out)
{
    const int32_t rows = band->rows;
    const int32_t out_step = band->out_step;
    const int32_t out_row = band->out_row;
    const int32_t stride = band->stride.h;
    const int32_t words = band->out_rows * stride;
    for (int32_t pair = band->out_width / 2; pair > 0; --pair) {
        const uint32_t *const end = column + words;
        const uint32_t *const next = column + 2 * rows;
        int8_t *to = out;
        for (; column != end; column += stride, to += out_row) {
            const uint32_t *weights = channel->words;
            struct cq_three_words w = cq_next_three(&weights);
            int32_t acc0 = cq_dwconv2d_lower(cq_load_three(column), w, channel->start);
            const struct cq_three_words x = cq_load_three(column + rows);
            int32_t acc1 = cq_dwconv2d_lower(x, w, channel->start);
            w = cq_next_three(&weights);
            acc0 = cq_dwconv2d_last(x, w, acc0);
            acc1 = cq_dwconv2d_last(cq_load_three(column + 2 * rows), w, acc1);
            w = cq_next_three(&weights);
            const int32_t zero_point = cq_to_signed(w.w2);
            to[0] = (int8_t)cq_requantize_short(acc0, w.w0, w.w1, zero_point);
            to[out_step] = (int8_t)cq_requantize_short(acc1, w.w0, w.w1, zero_point);
        }
        column = next;
        out += 2 * out_step;
    }
}

/* One column of outputs, whose windows start in the lower lanes of `column`: 26 instructions for 9
 * products (Cortex-M4, gcc 12). */
CQ_FAST_CODE CQ_NOINLINE static void cq_dwconv2d_single(const struct cq_dwconv2d_band *band,
                                                        const uint32_t *column,
                                                        const struct cq_dwconv2d_channel *channel,
                                                        int8_t *out)
{
    const int32_t rows = band->rows;
    const int32_t stride = band->stride.h;
    const uint32_t *const end = column + band->out_rows * stride;
    for (; column != end; column += stride, out += band->out_row) {
        const uint32_t *weights = channel->words;
        struct cq_three_words w = cq_next_three(&weights);
        int32_t acc = cq_dwconv2d_lower(cq_load_three(column), w, channel->start);
        w = cq_next_three(&weights);
        acc = cq_dwconv2d_last(cq_load_three(column + rows), w, acc);
        w = cq_next_three(&weights);
        *out = (int8_t)cq_requantize_short(acc, w.w0, w.w1, cq_to_signed(w.w2));
    }
}

/* One output: its window starts in the lower lane of words, or in the upper one. */
static int32_t cq_dwconv2d_one(const uint32_t *word, int32_t rows, int is_upper,
                               const struct cq_dwconv2d_channel *channel)
{
    const struct cq_two left =
        cq_dwconv2d_left(cq_load_three(word), cq_load_three(channel->words), channel->start);
    const struct cq_two two =
        cq_dwconv2d_right(cq_load_three(word + rows), cq_load_three(channel->words + 3), left);
    return is_upper ? two.acc1 : two.acc0;
}

/* All outputs of a channel one at a time, for any factor. */
CQ_SELDOM static void cq_dwconv2d_slowly(const struct cq_dwconv2d_band *band, const uint32_t *plane,
                                         const struct cq_dwconv2d_channel *channel, int8_t *out)
{
    const struct cq_channel general = cq_load_channel(channel->requant, channel->channel);
    for (int32_t row = 0; row < band->out_rows; ++row, plane += band->stride.h) {
        for (int32_t column = 0; column < band->out_width; ++column) {
            const int32_t x = column * band->stride.w;
            const int32_t acc =
                cq_dwconv2d_one(plane + x / 2 * band->rows, band->rows, x % 2 != 0, channel);
            out[row * band->out_row + column * band->out_step] =
                cq_requantize_channel(acc, general);
        }
    }
}

/* All outputs of a channel of a band. */
static void cq_dwconv2d_multiply(const struct cq_dwconv2d_band *band, const uint32_t *plane,
                                 const struct cq_dwconv2d_channel *channel, int8_t *out)
{
    if (!channel->is_short) {
        cq_dwconv2d_slowly(band, plane, channel, out);
        return;
    }
    int32_t left;
    if (band->stride.w == 2) {
        cq_dwconv2d_pairs_s2(band, plane, channel, out);
        left = band->out_width % 2;
    } else {
        if (cq_is_relu(channel->requant)) {
            cq_dwconv2d_fours_relu(band, plane, channel, out);
        } else {
            cq_dwconv2d_fours_short(band, plane, channel, out);
        }
        left = band->out_width % 4;
    }
    const int32_t done = band->out_width - left;
    plane += done * band->stride.w / 2 * band->rows;
    out += done * band->out_step;
    if (left >= 2) {
        cq_dwconv2d_pair(band, plane, channel, out);
        plane += band->rows;
        out += 2 * band->out_step;
    }
    if (left % 2 != 0) {
        cq_dwconv2d_single(band, plane, channel, out);
    }
}

static void cq_dwconv2d_load_channel(const struct cq_rows *rows, const struct cq_requant *requant,
                                     int32_t oc, struct cq_dwconv2d_channel *channel)
{
    int8_t decoded[12];
    const int8_t *weight = cq_read_row(rows, oc, 0, rows->length, decoded);
    for (int32_t row = 0; row < 3; ++row, weight += 3) {
        const uint32_t w1 = (uint32_t)(int32_t)weight[1];
        channel->words[row] = cq_pkhbt((uint32_t)(int32_t)weight[0], w1);
        channel->words[row + 3] = cq_pkhbt(w1, (uint32_t)(int32_t)weight[2]);
    }
    const struct cq_channel general = cq_load_channel(requant, oc);
    struct cq_factor factor;
    channel->is_short = cq_short_factor(general.multiplier, general.exponent, &factor);
    channel->words[6] = factor.multiplier;
    channel->words[7] = factor.scale;
    channel->words[8] = (uint32_t)general.zero_point;
    channel->start = general.bias;
    channel->requant = requant;
    channel->channel = oc;
}

/* Rows that two bands share move from the end of the first to the beginning of the second. */
static void cq_dwconv2d_scroll(const struct cq_dwconv2d_band *band, int32_t shared)
{
    uint32_t *column = band->plane;
    const uint32_t *const end = column + 4 * band->plane_words;
    for (; column != end; column += band->rows) {
        for (int32_t row = 0; row < shared; ++row) {
            column[row] = column[band->rows - shared + row];
        }
    }
}

/* Four neighbouring channels of the whole image, band by band. */
static void cq_dwconv2d_four_channels(const struct cq_dwconv2d_params *params,
                                      struct cq_dwconv2d_band band,
                                      const struct cq_dwconv2d_channel *channels, const int8_t *in,
                                      int8_t *out)
{
    const int32_t shared = cq_limit(3 - band.stride.h, 0, 3);
    const int32_t band_rows = band.out_rows;
    int32_t ready = 0;
    for (int32_t oy = 0; oy < params->out.h; oy += band_rows) {
        const int32_t y = oy * band.stride.h - params->pad.h;
        band.out_rows = cq_limit(params->out.h - oy, 1, band_rows);
        cq_dwconv2d_widen(params, in, &band, ready, (band.out_rows - 1) * band.stride.h + 3,
                          y + ready);
        for (int32_t i = 0; i < 4; ++i) {
            cq_dwconv2d_multiply(&band, band.plane + i * band.plane_words, &channels[i],
                                 out + oy * band.out_row + i);
        }
        if (oy + band_rows < params->out.h) {
            cq_dwconv2d_scroll(&band, shared);
            ready = shared;
        }
    }
}

static enum cq_status cq_dwconv2d_3x3(const struct cq_row_reader *reader, uint32_t bits,
                                      const struct cq_dwconv2d_params *params, const int8_t *in,
                                      int8_t *out, void *scratch)
{
    const int32_t columns = params->stride.w == 1 ? (params->out.w + 1) / 2 + 1 : params->out.w + 1;
    const int32_t fitting = (CQ_BAND_BYTES / (16 * columns) - 3) / params->stride.h + 1;
    const int32_t out_rows =
        cq_limit(cq_limit(fitting, CQ_MIN_BAND, params->out.h), 1, params->out.h);
    const int32_t band_rows = (out_rows - 1) * params->stride.h + 3;
    const struct cq_dwconv2d_band band = {
        .plane = scratch,
        .plane_words = columns * band_rows,
        .columns = columns,
        .rows = band_rows,
        .out_rows = out_rows,
        .out_width = params->out.w,
        .out_step = params->out.c,
        .out_row = params->out.w * params->out.c,
        .stride = params->stride,
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
