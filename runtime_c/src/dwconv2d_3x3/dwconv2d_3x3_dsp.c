/* SPDX-License-Identifier: Apache-2.0 */
/* Depthwise 3x3 with SMLAD: planes of four channels, two outputs at a time. */
#include <codeq/dwconv2d.h>

#include "../attributes.h"
#include "../quad_dsp.h"
#include "../rectify_dsp.h"
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

/* One channel: its weights, and its requantization. */
struct cq_dwconv2d_channel {
    uint32_t words[10]; /* by threes, as they are loaded: w0 w1 of each kernel row; w1 w2;
                           multiplier, scale and zero point, or rounding and bytes from one output
                           of a row to the next; then CQ_START */
};

/* Where a channel's accumulators start, behind the three times three words. */
#define CQ_START 9

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
CQ_HOT_LOOP static void cq_dwconv2d_pad(const struct cq_dwconv2d_band *band, int32_t first,
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
CQ_FAST_CODE CQ_HOT_LOOP static void cq_dwconv2d_widen(const struct cq_dwconv2d_band *band,
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

/* Four neighbours at a time, both strides 1, rectified: 54 instructions for 36 products (Cortex-M4,
 * gcc 12). */
CQ_FAST_CODE CQ_HOT_LOOP static void cq_dwconv2d_fours(const struct cq_dwconv2d_band *band,
                                                       const uint32_t *plane,
                                                       const struct cq_dwconv2d_channel *channel,
                                                       int8_t *out, int32_t width)
{
    const int32_t rows = band->rows;
    const int32_t out_row = band->across.out_step;
    const int32_t words = band->out_rows;
    const struct cq_dwconv2d_channel *const last = channel + 4;
    for (; channel != last; ++channel, ++out, plane += band->plane_words) {
        const uint32_t *weights = channel->words;
        const uint32_t *column = plane;
        int8_t *four = out;
        for (int32_t left_over = width; left_over >= 4; left_over -= 4) {
            const uint32_t *const end = column + words;
            int8_t *to = four;
            do {
                const int32_t start = cq_to_signed(weights[CQ_START]);
                struct cq_three_words w = cq_next_three(&weights);
                struct cq_two left = cq_dwconv2d_left(cq_load_three(column), w, start);
                const struct cq_three_words x = cq_load_three(column + rows);
                struct cq_two right = cq_dwconv2d_left(x, w, start);
                w = cq_next_three(&weights);
                left = cq_dwconv2d_right(x, w, left);
                right = cq_dwconv2d_right(cq_load_three(column + 2 * rows), w, right);
                w = cq_next_three(&weights);
                weights -= CQ_START;
                const int32_t step = cq_to_signed(w.w2);
                to[0] = cq_dwconv2d_rectified(left.acc0, w);
                to[step] = cq_dwconv2d_rectified(left.acc1, w);
                to[2 * step] = cq_dwconv2d_rectified(right.acc0, w);
                to[3 * step] = cq_dwconv2d_rectified(right.acc1, w);
                to += out_row;
            } while (++column != end);
            column += 2 * rows - words;
            four += 4 * band->along.out_step;
        }
    }
}

/* Accumulators of two neighbours, the weights of a channel being next. */
static inline struct cq_two cq_dwconv2d_pair(const uint32_t *column, int32_t rows,
                                             const uint32_t **weights)
{
    const int32_t start = cq_to_signed((*weights)[CQ_START]);
    struct cq_three_words w = cq_next_three(weights);
    const struct cq_two two = cq_dwconv2d_left(cq_load_three(column), w, start);
    w = cq_next_three(weights);
    return cq_dwconv2d_right(cq_load_three(column + rows), w, two);
}

/* The same with stride 2: both windows start in a lower lane. */
static inline struct cq_two cq_dwconv2d_pair_s2(const uint32_t *column, int32_t rows,
                                                const uint32_t **weights)
{
    const int32_t start = cq_to_signed((*weights)[CQ_START]);
    struct cq_three_words w = cq_next_three(weights);
    struct cq_two two;
    two.acc0 = cq_dwconv2d_lower(cq_load_three(column), w, start);
    const struct cq_three_words x = cq_load_three(column + rows);
    two.acc1 = cq_dwconv2d_lower(x, w, start);
    w = cq_next_three(weights);
    two.acc0 = cq_dwconv2d_last(x, w, two.acc0);
    two.acc1 = cq_dwconv2d_last(cq_load_three(column + 2 * rows), w, two.acc1);
    return two;
}

/*
 * Two neighbours at a time: 34 instructions for 18 products if they are rectified, 36 with stride 2
 * (Cortex-M4, gcc 12).  A single one at the end is a pair whose right one it overwrites.
 */
#define CQ_DWCONV2D_PAIRS(pair_of, pitch, form)                                                    \
    CQ_FAST_CODE CQ_HOT_LOOP static void cq_dwconv2d_##pair_of##_##form(                           \
        const struct cq_dwconv2d_band *band, const uint32_t *plane,                                \
        const struct cq_dwconv2d_channel *channel, int8_t *out, int32_t width)                     \
    {                                                                                              \
        const int32_t rows = band->rows;                                                           \
        const int32_t out_row = band->across.out_step;                                             \
        const int32_t stride = band->across.stride;                                                \
        const int32_t words = band->out_rows * stride;                                             \
        const struct cq_dwconv2d_channel *const last = channel + 4;                                \
        for (; channel != last; ++channel, ++out, plane += band->plane_words) {                    \
            const uint32_t *weights = channel->words;                                              \
            const uint32_t *column = plane;                                                        \
            int8_t *pair = out;                                                                    \
            for (int32_t left = width; left > 0; left -= 2) {                                      \
                const int32_t out_step = left > 1 ? band->along.out_step : 0;                      \
                const uint32_t *const end = column + words;                                        \
                int8_t *to = pair;                                                                 \
                do {                                                                               \
                    const struct cq_two two = cq_dwconv2d_##pair_of(column, rows, &weights);       \
                    const struct cq_three_words w = cq_next_three(&weights);                       \
                    weights -= CQ_START;                                                           \
                    to[out_step] = cq_dwconv2d_##form(two.acc1, w);                                \
                    to[0] = cq_dwconv2d_##form(two.acc0, w);                                       \
                    to += out_row;                                                                 \
                    column += stride;                                                              \
                } while (column != end);                                                           \
                column += (pitch) * rows - words;                                                  \
                pair += 2 * out_step;                                                              \
            }                                                                                      \
        }                                                                                          \
    }

CQ_DWCONV2D_PAIRS(pair, 1, short)
CQ_DWCONV2D_PAIRS(pair, 1, rectified)
CQ_DWCONV2D_PAIRS(pair_s2, 2, short)
CQ_DWCONV2D_PAIRS(pair_s2, 2, rectified)

/* All outputs of a band: as many side by side as there are loops for, then what is left over. */
static void cq_dwconv2d_multiply(const struct cq_dwconv2d_band *band,
                                 const struct cq_dwconv2d_channel *channels, int is_rectified,
                                 int8_t *out)
{
    cq_dwconv2d_loop *const pairs =
        is_rectified ? cq_dwconv2d_pair_rectified : cq_dwconv2d_pair_short;
    cq_dwconv2d_loop *loop = pairs;
    int32_t at_once = 2;
    if (band->along.stride == 2) {
        loop = is_rectified ? cq_dwconv2d_pair_s2_rectified : cq_dwconv2d_pair_s2_short;
    } else if (is_rectified && band->across.stride == 1) {
        loop = cq_dwconv2d_fours;
        at_once = 4;
    }
    const int32_t left = band->along.out_size % at_once;
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
    int32_t acc = cq_to_signed(channel->words[CQ_START]);
    for (int32_t row = 0; row < 3; ++row) {
        uint32_t left = word[row];
        uint32_t right = word[row + rows];
        if (is_upper) {
            left = left >> 16 | right << 16;
            right >>= 16;
        }
        acc = cq_smlad(left, channel->words[row], acc);
        acc = cq_smlabt(right, channel->words[row + 3], acc);
    }
    return acc;
}

/* All outputs of a band one at a time, for any factor. */
CQ_SELDOM static void cq_dwconv2d_slowly(const struct cq_dwconv2d_band *band,
                                         const struct cq_dwconv2d_channel *channels,
                                         const struct cq_quad *quad, int8_t *out)
{
    for (int32_t row = 0; row < band->out_rows; ++row) {
        for (int32_t column = 0; column < band->along.out_size; ++column) {
            const int32_t x = column * band->along.stride;
            const uint32_t *word = band->plane + x / 2 * band->rows + row * band->across.stride;
            int32_t acc[4];
            for (int32_t i = 0; i < 4; ++i, word += band->plane_words) {
                acc[i] = cq_dwconv2d_one(word, band->rows, x % 2 != 0, &channels[i]);
            }
            cq_store_quad(quad, acc,
                          out + row * band->across.out_step + column * band->along.out_step);
        }
    }
}

/* The weights of a channel, shifted to the left. */
static void cq_dwconv2d_set_weights(struct cq_dwconv2d_channel *channel,
                                    const struct cq_dwconv2d_band *band, const int8_t *weight,
                                    uint32_t left)
{
    const int32_t tap = band->along.tap;
    for (int32_t row = 0; row < 3; ++row, weight += band->across.tap) {
        const uint32_t w0 = (uint32_t)(int32_t)weight[0] << left;
        const uint32_t w1 = (uint32_t)(int32_t)weight[tap] << left;
        const uint32_t w2 = (uint32_t)(int32_t)weight[2 * tap] << left;
        channel->words[row] = cq_pkhbt(w0, w1);
        channel->words[row + 3] = cq_pkhbt(w1, w2);
    }
}

/* Four channels from `first` on; true if their outputs are rectified. */
CQ_HOT_LOOP static int cq_dwconv2d_load(struct cq_dwconv2d_channel *channel,
                                        const struct cq_dwconv2d_band *band,
                                        const struct cq_rows *rows,
                                        const struct cq_requant *requant, int32_t first,
                                        struct cq_quad *quad)
{
    struct cq_shifted shifted[4];
    const int is_rectified = cq_rectify_quad(quad, requant, first, 4, 9, shifted);
    const int32_t last = is_rectified ? band->along.out_step : requant->zero_point;
    int8_t decoded[4 * 9];
    const int8_t *weight = cq_read_row(rows, first, 0, 4 * 9, decoded);
    for (int32_t i = 0; i < 4; ++i, ++channel, weight += 9) {
        const struct cq_shifted *const from = &shifted[i];
        cq_dwconv2d_set_weights(channel, band, weight, from->left);
        channel->words[6] = from->factor.multiplier;
        channel->words[7] = from->factor.scale;
        channel->words[8] = (uint32_t)last;
        channel->words[CQ_START] = (uint32_t)from->start;
    }
    return is_rectified;
}

/* Rows that two bands share, one or two, move from the end of the first to the beginning of the
 * second. */
static void cq_dwconv2d_scroll(const struct cq_dwconv2d_band *band, int32_t shared)
{
    const int32_t rows = band->rows;
    uint32_t *column = band->plane;
    const uint32_t *const end = column + 4 * band->plane_words;
    for (; column != end; column += rows) {
        const uint32_t *const from = column + rows - shared;
        column[0] = from[0];
        column[shared - 1] = from[shared - 1];
    }
}

/* Four neighbouring channels of the whole image from `first` on, band by band. */
static void cq_dwconv2d_four_channels(const struct cq_dwconv2d_params *params,
                                      const struct cq_rows *rows, struct cq_dwconv2d_band *band,
                                      int32_t band_rows, int32_t first, const int8_t *in,
                                      int8_t *out)
{
    struct cq_dwconv2d_channel channels[4];
    const struct cq_dwconv2d_axis across = band->across;
    const int32_t shared = cq_limit(3 - across.stride, 0, 3);
    int32_t ready = 0;
    struct cq_quad quad;
    const int is_rectified = cq_dwconv2d_load(channels, band, rows, &params->requant, first, &quad);
    for (int32_t row = 0; row < across.out_size; row += band_rows) {
        const int32_t y = row * across.stride - across.pad;
        band->out_rows = cq_limit(across.out_size - row, 1, band_rows);
        const int32_t end = (band->out_rows - 1) * across.stride + 3;
        const int32_t inside = cq_limit(-y, ready, end);
        const int32_t below = cq_limit(across.size - y, inside, end);
        if (first == 0 || band_rows < across.out_size) {
            /* the only band of an image keeps its padding */
            cq_dwconv2d_pad(band, ready, inside, params->in_zero);
            cq_dwconv2d_pad(band, below, end, params->in_zero);
        }
        cq_dwconv2d_widen(band, inside, below, y + inside, in, params->in_zero);
        if (is_rectified || quad.is_short) {
            cq_dwconv2d_multiply(band, channels, is_rectified, out);
        } else {
            cq_dwconv2d_slowly(band, channels, &quad, out);
        }
        out += band_rows * across.out_step;
        if (shared > 0 && row + band_rows < across.out_size) {
            cq_dwconv2d_scroll(band, shared);
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
CQ_SELDOM static struct cq_dwconv2d_band
cq_dwconv2d_band_of(const struct cq_dwconv2d_params *params)
{
    const struct cq_shape in = params->in;
    const struct cq_shape out = params->out;
    struct cq_dwconv2d_band band = {
        .along = {in.w, out.w, in.c, out.c, params->stride.w, params->pad.w, 1},
        .across = {in.h, out.h, in.w * in.c, out.w * out.c, params->stride.h, params->pad.h, 3}};
    if (params->stride.w == 1 && params->stride.h == 1 &&
        out.w * cq_dwconv2d_left_over(out.h) < out.h * cq_dwconv2d_left_over(out.w)) {
        const struct cq_dwconv2d_axis x = band.along;
        band.along = band.across;
        band.across = x;
    }
    band.out_rows = band.across.out_size;
    return band;
}

CQ_SELDOM static enum cq_status cq_dwconv2d_3x3(const struct cq_row_reader *reader, uint32_t bits,
                                                const struct cq_dwconv2d_params *params,
                                                const int8_t *in, int8_t *out, void *scratch)
{
    struct cq_dwconv2d_band band = cq_dwconv2d_band_of(params);
    const int32_t width = band.along.out_size;
    band.columns = band.along.stride == 1 ? (width + 1) / 2 + 1 : width + 1;
    const int32_t fitting = (CQ_BAND_BYTES / (16 * band.columns) - 3) / band.across.stride + 1;
    const int32_t band_rows =
        cq_limit(cq_limit(fitting, CQ_MIN_BAND, band.out_rows), 1, band.out_rows);
    band.rows = (band_rows - 1) * band.across.stride + 3;
    band.plane = scratch;
    band.plane_words = band.columns * band.rows;
    const struct cq_rows rows = {reader, &params->weights, bits, 9};
    CQ_ASSERT(params->in.c == params->out.c && params->in.c >= 4 && params->stride.w <= 2);
    for (int32_t c = 0; c < params->in.c; c += 4) {
        /* where there are not four left, some are computed again */
        const int32_t first = cq_limit(c, 0, params->in.c - 4);
        cq_dwconv2d_four_channels(params, &rows, &band, band_rows, first, in + first, out + first);
    }
    cq_clamp_dsp(out, params->out.h * params->out.w * params->out.c, params->requant.clamp_min,
                 params->requant.clamp_max);
    return CQ_OK;
}

#define CQ_DWCONV2D_3X3_DSP(width, packing)                                                        \
    enum cq_status cq_dwconv2d_3x3_s8_w##width##_##packing##_dsp(                                  \
        const struct cq_dwconv2d_params *params, const int8_t *in, int8_t *out, void *scratch)     \
    {                                                                                              \
        return cq_dwconv2d_3x3(CQ_ROW_READER(width, packing), width, params, in, out, scratch);    \
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
