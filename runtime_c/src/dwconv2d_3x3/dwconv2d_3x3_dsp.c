/* SPDX-License-Identifier: Apache-2.0 */
/* Depthwise 3x3 with SMLAD: planes of four channels, two outputs at a time. */
#include <codeq/dwconv2d.h>

#include "../attributes.h"
#include "../rectify_dsp.h"
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
 *
 * Rows are the image's rows, or its columns where more of those outputs then have neighbours: the
 * image is turned.
 */
struct cq_dwconv2d_axis {
    int32_t size, out_size; /* pixels of the image, and of the output */
    int32_t step, out_step; /* bytes from one to the next */
    int32_t stride, pad;
    int32_t tap; /* weights from one to the next */
};

struct cq_dwconv2d_band {
    struct cq_dwconv2d_axis along;  /* a row: pixels side by side */
    struct cq_dwconv2d_axis across; /* rows */
    uint32_t *plane;                /* of the first channel */
    int32_t plane_words;            /* to the next channel */
    int32_t columns;                /* of words */
    int32_t rows;                   /* of a column */
    int32_t out_rows;
};

/* How the outputs of four channels are requantized. */
enum cq_dwconv2d_form {
    CQ_SLOWLY, /* as numerics.h writes it */
    CQ_SHORT,
    CQ_RECTIFYING,
};

/* One channel: its weights, and its requantization. */
struct cq_dwconv2d_channel {
    uint32_t words[9]; /* by threes, as they are loaded: w0 w1 of each kernel row; w1 w2; multiplier
                          and what the form needs: scale and zero point, or rounding */
    int32_t start;     /* of the accumulators */
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

/* Rows first..end - 1 of all columns of the band are padding. */
CQ_NOINLINE static void cq_dwconv2d_pad(const struct cq_dwconv2d_band *band, int32_t first,
                                        int32_t end, int8_t padding)
{
    const uint32_t word = cq_sxtb16((uint8_t)padding * 0x10001u);
    uint32_t *column = band->plane;
    const uint32_t *const last = column + 4 * band->plane_words;
    for (; first < end && column != last; column += band->rows) {
        for (int32_t row = first; row < end; ++row) {
            column[row] = word;
        }
    }
}

/* Rows first..end - 1 of the band, the first of which is row y of the image: 16 instructions for 8
 * pixels (Cortex-M4, gcc 12). */
CQ_FAST_CODE CQ_NOINLINE static void cq_dwconv2d_widen(const struct cq_dwconv2d_band *band,
                                                       int32_t first, int32_t end, int32_t y,
                                                       const int8_t *in, int8_t in_zero)
{
    const uint32_t padding = (uint8_t)in_zero * UINT32_C(0x01010101);
    const int32_t row_step = band->across.step;
    const int32_t plane_words = band->plane_words;
    uint32_t *column = band->plane + first;
    int32_t x = -band->along.pad;
    in += y * row_step;
    for (const uint32_t *const last = column + plane_words; column != last; column += band->rows) {
        const int8_t *sides[2];
        int32_t steps[2];
        for (int32_t i = 0; i < 2; ++i, ++x) {
            const int is_inside = x >= 0 && x < band->along.size;
            sides[i] = is_inside ? in + x * band->along.step : (const int8_t *)&padding;
            steps[i] = is_inside ? row_step : 0;
        }
        uint32_t *to = column;
        for (const uint32_t *const below = to + (end - first); to != below; ++to) {
            cq_dwconv2d_put(to, plane_words, cq_load4(sides[0]), cq_load4(sides[1]));
            sides[0] += steps[0];
            sides[1] += steps[1];
        }
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
    struct cq_two two;
    two.acc0 = cq_smlad_from(x.w0, w.w0, start);
    two.acc1 = cq_smlatb(x.w0, w.w0, start);
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
    acc = cq_smlad_from(x.w0, w.w0, acc);
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

/* An output from its accumulator and the last three words of its channel. */
static inline int8_t cq_dwconv2d_short(int32_t acc, struct cq_three_words w)
{
    return (int8_t)cq_requantize_short(acc, w.w0, w.w1, cq_to_signed(w.w2));
}

static inline int8_t cq_dwconv2d_rectified(int32_t acc, struct cq_three_words w)
{
    return (int8_t)cq_rectify(acc, cq_to_signed(w.w0), cq_to_signed(w.w1));
}

/* `width` outputs side by side of four channels, in all rows of a band: `plane` is the first
 * channel's where the first of them is, `out` that output. */
typedef void cq_dwconv2d_loop(const struct cq_dwconv2d_band *band, const uint32_t *plane,
                              const struct cq_dwconv2d_channel *channel, int8_t *out,
                              int32_t width);

/* Four neighbours at a time, stride 1, rectified: 57 instructions for 36 products (Cortex-M4, gcc
 * 12). */
CQ_FAST_CODE CQ_NOINLINE static void cq_dwconv2d_fours(const struct cq_dwconv2d_band *band,
                                                       const uint32_t *plane,
                                                       const struct cq_dwconv2d_channel *channel,
                                                       int8_t *out, int32_t width)
{
    const int32_t rows = band->rows;
    const int32_t out_step = band->along.out_step;
    const int32_t out_row = band->across.out_step;
    const int32_t stride = band->across.stride;
    const int32_t words = band->out_rows * stride;
    const struct cq_dwconv2d_channel *const last = channel + 4;
    for (; channel != last; ++channel, ++out, plane += band->plane_words) {
        const uint32_t *column = plane;
        int8_t *four = out;
        for (int32_t left_over = width; left_over >= 4; left_over -= 4) {
            const uint32_t *const end = column + words;
            const uint32_t *const next = column + 2 * rows;
            int8_t *to = four;
            while (column != end) {
                const uint32_t *weights = channel->words;
                struct cq_three_words w = cq_next_three(&weights);
                struct cq_two left = cq_dwconv2d_left(cq_load_three(column), w, channel->start);
                const struct cq_three_words x = cq_load_three(column + rows);
                struct cq_two right = cq_dwconv2d_left(x, w, channel->start);
                w = cq_next_three(&weights);
                left = cq_dwconv2d_right(x, w, left);
                right = cq_dwconv2d_right(cq_load_three(column + 2 * rows), w, right);
                w = cq_next_three(&weights);
                to[0] = cq_dwconv2d_rectified(left.acc0, w);
                to[out_step] = cq_dwconv2d_rectified(left.acc1, w);
                to[2 * out_step] = cq_dwconv2d_rectified(right.acc0, w);
                to[3 * out_step] = cq_dwconv2d_rectified(right.acc1, w);
                to += out_row;
                column += stride;
            }
            column = next;
            four += 4 * out_step;
        }
    }
}

/*
 * Two neighbours at a time, stride 1: 35 instructions for 18 products if they are rectified.  A
 * single one at the end is a pair whose right one it overwrites.
 *
 * And with stride 2, where every window starts in a lower lane: 37, for an even number.
 */
#define CQ_DWCONV2D_PAIRS(form)                                                                    \
    CQ_FAST_CODE CQ_NOINLINE static void cq_dwconv2d_pairs_##form(                                 \
        const struct cq_dwconv2d_band *band, const uint32_t *plane,                                \
        const struct cq_dwconv2d_channel *channel, int8_t *out, int32_t width)                     \
    {                                                                                              \
        const int32_t rows = band->rows;                                                           \
        const int32_t out_row = band->across.out_step;                                             \
        const int32_t stride = band->across.stride;                                                \
        const int32_t words = band->out_rows * stride;                                             \
        const struct cq_dwconv2d_channel *const last = channel + 4;                                \
        for (; channel != last; ++channel, ++out, plane += band->plane_words) {                    \
            const uint32_t *column = plane;                                                        \
            int8_t *pair = out;                                                                    \
            for (int32_t left = width; left > 0; left -= 2) {                                      \
                const int32_t out_step = left > 1 ? band->along.out_step : 0;                      \
                const uint32_t *const end = column + words;                                        \
                const uint32_t *const next = column + rows;                                        \
                int8_t *to = pair;                                                                 \
                for (; column != end; column += stride, to += out_row) {                           \
                    const uint32_t *weights = channel->words;                                      \
                    struct cq_three_words w = cq_next_three(&weights);                             \
                    struct cq_two two =                                                            \
                        cq_dwconv2d_left(cq_load_three(column), w, channel->start);                \
                    w = cq_next_three(&weights);                                                   \
                    two = cq_dwconv2d_right(cq_load_three(column + rows), w, two);                 \
                    w = cq_next_three(&weights);                                                   \
                    to[out_step] = cq_dwconv2d_##form(two.acc1, w);                                \
                    to[0] = cq_dwconv2d_##form(two.acc0, w);                                       \
                }                                                                                  \
                column = next;                                                                     \
                pair += 2 * out_step;                                                              \
            }                                                                                      \
        }                                                                                          \
    }                                                                                              \
                                                                                                   \
    CQ_FAST_CODE CQ_NOINLINE static void cq_dwconv2d_pairs_s2_##form(                              \
        const struct cq_dwconv2d_band *band, const uint32_t *plane,                                \
        const struct cq_dwconv2d_channel *channel, int8_t *out, int32_t width)                     \
    {                                                                                              \
        const int32_t rows = band->rows;                                                           \
        const int32_t out_step = band->along.out_step;                                             \
        const int32_t out_row = band->across.out_step;                                             \
        const int32_t stride = band->across.stride;                                                \
        const int32_t words = band->out_rows * stride;                                             \
        const struct cq_dwconv2d_channel *const last = channel + 4;                                \
        for (; channel != last; ++channel, ++out, plane += band->plane_words) {                    \
            const uint32_t *column = plane;                                                        \
            int8_t *pair = out;                                                                    \
            for (int32_t left = width; left > 0; left -= 2) {                                      \
                const uint32_t *const end = column + words;                                        \
                const uint32_t *const next = column + 2 * rows;                                    \
                int8_t *to = pair;                                                                 \
                for (; column != end; column += stride, to += out_row) {                           \
                    const uint32_t *weights = channel->words;                                      \
                    struct cq_three_words w = cq_next_three(&weights);                             \
                    int32_t acc0 = cq_dwconv2d_lower(cq_load_three(column), w, channel->start);    \
                    const struct cq_three_words x = cq_load_three(column + rows);                  \
                    int32_t acc1 = cq_dwconv2d_lower(x, w, channel->start);                        \
                    w = cq_next_three(&weights);                                                   \
                    acc0 = cq_dwconv2d_last(x, w, acc0);                                           \
                    acc1 = cq_dwconv2d_last(cq_load_three(column + 2 * rows), w, acc1);            \
                    w = cq_next_three(&weights);                                                   \
                    to[0] = cq_dwconv2d_##form(acc0, w);                                           \
                    to[out_step] = cq_dwconv2d_##form(acc1, w);                                    \
                }                                                                                  \
                column = next;                                                                     \
                pair += 2 * out_step;                                                              \
            }                                                                                      \
        }                                                                                          \
    }

CQ_DWCONV2D_PAIRS(short)
CQ_DWCONV2D_PAIRS(rectified)

/* All outputs of a band: as many side by side as there are loops for, then what is left over. */
static void cq_dwconv2d_multiply(const struct cq_dwconv2d_band *band,
                                 const struct cq_dwconv2d_channel *channels, int is_rectified,
                                 int8_t *out)
{
    const int is_strided = band->along.stride == 2;
    cq_dwconv2d_loop *const pairs =
        is_rectified ? cq_dwconv2d_pairs_rectified : cq_dwconv2d_pairs_short;
    cq_dwconv2d_loop *loop = is_rectified ? cq_dwconv2d_fours : cq_dwconv2d_pairs_short;
    if (is_strided) {
        loop = is_rectified ? cq_dwconv2d_pairs_s2_rectified : cq_dwconv2d_pairs_s2_short;
    }
    const int32_t left = band->along.out_size % (is_strided || !is_rectified ? 2 : 4);
    const int32_t done = band->along.out_size - left;
    if (done > 0) {
        loop(band, band->plane, channels, out, done);
    }
    if (left > 0) {
        pairs(band, band->plane + done * band->along.stride / 2 * band->rows, channels,
              out + done * band->along.out_step, left);
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
                                         const struct cq_dwconv2d_channel *channel,
                                         struct cq_channel general, int8_t *out)
{
    for (int32_t row = 0; row < band->out_rows; ++row, plane += band->across.stride) {
        for (int32_t column = 0; column < band->along.out_size; ++column) {
            const int32_t x = column * band->along.stride;
            const int32_t acc =
                cq_dwconv2d_one(plane + x / 2 * band->rows, band->rows, x % 2 != 0, channel);
            out[row * band->across.out_step + column * band->along.out_step] =
                cq_requantize_channel(acc, general);
        }
    }
}

/* The form that serves a channel, and those before it. */
static enum cq_dwconv2d_form cq_dwconv2d_form_of(struct cq_channel channel, int is_relu,
                                                 enum cq_dwconv2d_form form)
{
    const int32_t left = cq_rectify_left(-channel.exponent);
    /* weights stay int16, and the accumulators int32 */
    const int32_t most = (INT32_MAX >> 8) - 9 * 128 * 128;
    if (form == CQ_RECTIFYING && is_relu && left >= 2 && left <= 8 && channel.bias < most &&
        channel.bias > -most) {
        return CQ_RECTIFYING;
    }
    struct cq_factor factor;
    const int is_short = cq_short_factor(channel.multiplier, channel.exponent, &factor) != 0u;
    return is_short && form != CQ_SLOWLY ? CQ_SHORT : CQ_SLOWLY;
}

/* A channel whose weights and accumulators are shifted to the left. */
static void cq_dwconv2d_set_weights(struct cq_dwconv2d_channel *channel,
                                    const struct cq_dwconv2d_band *band, const int8_t *weight,
                                    int32_t bias, int32_t left)
{
    const int32_t tap = band->along.tap;
    for (int32_t row = 0; row < 3; ++row, weight += band->across.tap) {
        const uint32_t w0 = (uint32_t)(int32_t)weight[0] << left;
        const uint32_t w1 = (uint32_t)(int32_t)weight[tap] << left;
        const uint32_t w2 = (uint32_t)(int32_t)weight[2 * tap] << left;
        channel->words[row] = cq_pkhbt(w0, w1);
        channel->words[row + 3] = cq_pkhbt(w1, w2);
    }
    channel->start = cq_to_signed((uint32_t)bias << left);
}

/* Four channels. */
struct cq_dwconv2d_channels {
    enum cq_dwconv2d_form form; /* the best that serves all of them */
    struct cq_channel general[4];
    struct cq_dwconv2d_channel each[4];
};

/* Those from `first` on. */
static void cq_dwconv2d_load(struct cq_dwconv2d_channels *channels,
                             const struct cq_dwconv2d_band *band, const struct cq_rows *rows,
                             const struct cq_requant *requant, int32_t first)
{
    channels->form = CQ_RECTIFYING;
    for (int32_t i = 0; i < 4; ++i) {
        channels->general[i] = cq_load_channel(requant, first + i);
        channels->form =
            cq_dwconv2d_form_of(channels->general[i], cq_is_relu(requant), channels->form);
    }
    for (int32_t i = 0; i < 4; ++i) {
        int8_t decoded[12];
        const int8_t *const weights = cq_read_row(rows, first + i, 0, rows->length, decoded);
        const struct cq_channel general = channels->general[i];
        struct cq_dwconv2d_channel *const channel = &channels->each[i];
        uint32_t *const words = channel->words;
        int32_t left = 0;
        if (channels->form == CQ_RECTIFYING) {
            left = cq_rectify_left(-general.exponent);
            words[6] = (uint32_t)general.multiplier;
            words[7] = (uint32_t)cq_rectify_rounding(-general.exponent, general.zero_point);
        } else {
            struct cq_factor factor;
            (void)cq_short_factor(general.multiplier, general.exponent, &factor);
            words[6] = factor.multiplier;
            words[7] = factor.scale;
            words[8] = (uint32_t)general.zero_point;
        }
        cq_dwconv2d_set_weights(channel, band, weights, general.bias, left);
    }
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

/* Four neighbouring channels of the whole image from `first` on, band by band. */
static void cq_dwconv2d_four_channels(const struct cq_dwconv2d_params *params,
                                      const struct cq_rows *rows, struct cq_dwconv2d_band band,
                                      int32_t first, const int8_t *in, int8_t *out)
{
    struct cq_dwconv2d_channels channels;
    const struct cq_dwconv2d_axis across = band.across;
    const int32_t shared = cq_limit(3 - across.stride, 0, 3);
    const int32_t band_rows = band.out_rows;
    int32_t ready = 0;
    cq_dwconv2d_load(&channels, &band, rows, &params->requant, first);
    for (int32_t row = 0; row < across.out_size; row += band_rows) {
        const int32_t y = row * across.stride - across.pad;
        band.out_rows = cq_limit(across.out_size - row, 1, band_rows);
        const int32_t end = (band.out_rows - 1) * across.stride + 3;
        const int32_t inside = cq_limit(-y, ready, end);
        const int32_t below = cq_limit(across.size - y, inside, end);
        if (first == 0 || band_rows < across.out_size) {
            /* the only band of an image keeps its padding */
            cq_dwconv2d_pad(&band, ready, inside, params->in_zero);
            cq_dwconv2d_pad(&band, below, end, params->in_zero);
        }
        cq_dwconv2d_widen(&band, inside, below, y + inside, in, params->in_zero);
        if (channels.form != CQ_SLOWLY) {
            cq_dwconv2d_multiply(&band, channels.each, channels.form == CQ_RECTIFYING, out);
        } else {
            for (int32_t i = 0; i < 4; ++i) {
                cq_dwconv2d_slowly(&band, band.plane + i * band.plane_words, &channels.each[i],
                                   channels.general[i], out + i);
            }
        }
        out += band_rows * across.out_step;
        if (row + band_rows < across.out_size) {
            cq_dwconv2d_scroll(&band, shared);
            ready = shared;
        }
    }
}

/* What the outputs that are left over behind each four neighbours cost, by their number: a pair
 * five instructions more than two of four, a single one fifteen more. */
static inline int32_t cq_dwconv2d_left_over(int32_t width)
{
    return width % 4 / 2 * 5 + width % 2 * 15;
}

/* The band of all rows of outputs, turned if that is faster. */
static struct cq_dwconv2d_band cq_dwconv2d_band_of(const struct cq_dwconv2d_params *params)
{
    const struct cq_shape in = params->in;
    const struct cq_shape out = params->out;
    const struct cq_dwconv2d_axis x = {in.w,          out.w, in.c, out.c, params->stride.w,
                                       params->pad.w, 1};
    const struct cq_dwconv2d_axis y = {
        in.h, out.h, in.w * in.c, out.w * out.c, params->stride.h, params->pad.h, 3};
    const int is_turned =
        x.stride == 1 && y.stride == 1 &&
        out.w * cq_dwconv2d_left_over(out.h) < out.h * cq_dwconv2d_left_over(out.w);
    const struct cq_dwconv2d_band band = {.along = is_turned ? y : x,
                                          .across = is_turned ? x : y,
                                          .out_rows = is_turned ? out.w : out.h};
    return band;
}

static enum cq_status cq_dwconv2d_3x3(const struct cq_row_reader *reader, uint32_t bits,
                                      const struct cq_dwconv2d_params *params, const int8_t *in,
                                      int8_t *out, void *scratch)
{
    struct cq_dwconv2d_band band = cq_dwconv2d_band_of(params);
    const int32_t width = band.along.out_size;
    band.columns = band.along.stride == 1 ? (width + 1) / 2 + 1 : width + 1;
    const int32_t fitting = (CQ_BAND_BYTES / (16 * band.columns) - 3) / band.across.stride + 1;
    band.out_rows = cq_limit(cq_limit(fitting, CQ_MIN_BAND, band.out_rows), 1, band.out_rows);
    band.rows = (band.out_rows - 1) * band.across.stride + 3;
    band.plane = scratch;
    band.plane_words = band.columns * band.rows;
    const struct cq_rows rows = {reader, &params->weights, bits, 9};
    CQ_ASSERT(params->in.c == params->out.c && params->in.c >= 4 && params->stride.w <= 2);
    for (int32_t c = 0; c < params->in.c; c += 4) {
        /* where there are not four left, some are computed again */
        const int32_t first = cq_limit(c, 0, params->in.c - 4);
        cq_dwconv2d_four_channels(params, &rows, band, first, in + first, out + first);
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
