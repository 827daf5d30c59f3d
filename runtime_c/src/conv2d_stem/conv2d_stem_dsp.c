/* SPDX-License-Identifier: Apache-2.0 */
/* conv2d of few input channels with SMLAD: windows are read from rows in 16 bits. */
#include <codeq/conv2d.h>

#include "../attributes.h"
#include "../quad_dsp.h"
#include "../rectify_dsp.h"
#include "../rows.h"

/*
 * A band of input rows is widened once for all output channels, with its padding: no window leaves
 * it.  A row of a window is one piece of it, read by pairs of neighbours at any halfword; behind an
 * odd number the weight is 0.
 *
 * Four channels are a stream: their starts, what a pair of inputs meets, how outputs are rescaled.
 * Each pair says where the inputs of the next one are, so that windows of all shapes are one loop,
 * and no load waits for its address.
 */
struct cq_stem_pair {
    uint32_t weights[4]; /* two of each channel */
    int32_t next;        /* bytes from the window to the next pair's inputs */
};

/* Pairs of a loop step: a window of 3x3x3 is three, one of 10x4 four. */
#define CQ_STEM_STEP 5

struct cq_stem {
    const struct cq_conv2d_params *params;
    int32_t *start;             /* accumulators of four channels */
    struct cq_stem_pair *pairs; /* whole steps of them */
    struct cq_factor *factors;  /* behind them; multiplier and rounding of cq_rectify() */
    int8_t *decoded;            /* weights of a channel */
    int16_t *band;
    int32_t row;    /* inputs from one row of the band to the next, even */
    int32_t inputs; /* of a row, with padding */
    int32_t first;  /* of the band: the image's first input is at the beginning of a word */
};

/* Outputs of four channels in 3 instructions each. */
static inline void cq_stem_rectify(struct cq_sums sums, const uint32_t *factors, int8_t *out)
{
    struct cq_words f = cq_next_words(&factors);
    out[0] = (int8_t)cq_rectify(sums.s0, cq_to_signed(f.w0), cq_to_signed(f.w1));
    out[1] = (int8_t)cq_rectify(sums.s1, cq_to_signed(f.w2), cq_to_signed(f.w3));
    f = cq_next_words(&factors);
    out[2] = (int8_t)cq_rectify(sums.s2, cq_to_signed(f.w0), cq_to_signed(f.w1));
    out[3] = (int8_t)cq_rectify(sums.s3, cq_to_signed(f.w2), cq_to_signed(f.w3));
}

/* And where they are not rectified. */
CQ_HOT_LOOP static void cq_stem_store(const struct cq_stem *stem, const struct cq_quad *quad,
                                      struct cq_sums sums, int8_t *out)
{
    if (quad->is_short) {
        cq_store_short(sums, stem->factors, quad->requant->zero_point, out);
        return;
    }
    const int32_t acc[4] = {sums.s0, sums.s1, sums.s2, sums.s3};
    cq_store_quad(quad, acc, out);
}

/* Two inputs times four channels. */
CQ_STEP_OF_LOOP static inline struct cq_sums cq_stem_pair(struct cq_sums sums, const int8_t *window,
                                                          int32_t *at, const uint32_t **pairs)
{
    const uint32_t x = cq_load4(window + *at);
    const struct cq_five_words w = cq_next_five(pairs);
    sums.s0 = cq_smlad(x, w.w0, sums.s0);
    sums.s1 = cq_smlad(x, w.w1, sums.s1);
    sums.s2 = cq_smlad(x, w.w2, sums.s2);
    sums.s3 = cq_smlad(x, w.w3, sums.s3);
    *at = cq_to_signed(w.w4);
    return sums;
}

/* `rows` rows of outputs of four channels: 32 instructions for 40 products (Cortex-M4, gcc 12). */
CQ_FAST_CODE CQ_HOT_LOOP static void cq_stem_multiply(const struct cq_stem *stem,
                                                      const struct cq_quad *quad, int is_rectified,
                                                      int32_t rows, int8_t *out)
{
    const struct cq_conv2d_params *const params = stem->params;
    const uint32_t *const factors = (const uint32_t *)stem->factors;
    const int32_t out_step = params->out.c;
    const int32_t out_row = params->out.w * out_step;
    const int32_t step = 2 * params->stride.w * params->in.c;
    const int32_t skip = 2 * params->stride.h * stem->row - params->out.w * step;
    const int8_t *window = (const int8_t *)(stem->band + stem->first);
    for (; rows > 0; --rows, window += skip) {
        const int8_t *const end = out + out_row;
        do {
            const uint32_t *pairs = (const uint32_t *)stem->start;
            const struct cq_pair_of_words s01 = cq_next_two(&pairs);
            const struct cq_pair_of_words s23 = cq_next_two(&pairs);
            struct cq_sums sums = {cq_to_signed(s01.w0), cq_to_signed(s01.w1), cq_to_signed(s23.w0),
                                   cq_to_signed(s23.w1)};
            int32_t at = 0;
            do {
                sums = cq_stem_pair(sums, window, &at, &pairs);
                sums = cq_stem_pair(sums, window, &at, &pairs);
                sums = cq_stem_pair(sums, window, &at, &pairs);
                sums = cq_stem_pair(sums, window, &at, &pairs);
                sums = cq_stem_pair(sums, window, &at, &pairs);
            } while (pairs != factors);
            if (is_rectified) {
                cq_stem_rectify(sums, pairs, out);
            } else {
                cq_stem_store(stem, quad, sums, out);
            }
            window += step;
            out += out_step;
        } while (out != end);
    }
}

/* Where inputs of pairs are, the same for all channels.  Pairs that fill up the last step read the
 * first input, and have no weights. */
CQ_SELDOM static void cq_stem_set_places(const struct cq_stem *stem)
{
    const struct cq_conv2d_params *const params = stem->params;
    const int32_t run = params->kernel.w * params->in.c;
    struct cq_stem_pair *pair = stem->pairs;
    int32_t first;
    int32_t *place = &first;
    memset(pair, 0, (size_t)((const char *)stem->factors - (const char *)pair));
    for (int32_t ky = 0; ky < params->kernel.h; ++ky) {
        for (int32_t i = 0; i < run; i += 2, ++pair) {
            *place = 2 * (ky * stem->row + i);
            place = &pair->next;
        }
    }
}

/* Weights of a channel, shifted to the left, from its place in the first pair on. */
CQ_HOT_LOOP static void cq_stem_set_weights(const struct cq_conv2d_params *params, uint32_t *to,
                                            const int8_t *weight, uint32_t left)
{
    const int32_t step = sizeof(struct cq_stem_pair) / sizeof *to;
    const int32_t run = params->kernel.w * params->in.c;
    const int32_t odd = run % 2;
    /* runs without an odd end are one */
    int32_t runs = odd != 0 ? params->kernel.h : 1;
    const int32_t even = odd != 0 ? run - 1 : run * params->kernel.h;
    do {
        for (const int8_t *const end = weight + even; weight != end; weight += 2, to += step) {
            *to = cq_pkhbt((uint32_t)(int32_t)weight[0] << left,
                           (uint32_t)(int32_t)weight[1] << left);
        }
        if (odd != 0) {
            *to = ((uint32_t)(int32_t)*weight++ << left) & 0xffffu;
            to += step;
        }
    } while (--runs > 0);
}

/* The stream of up to four channels from `first` on; true if their outputs are rectified. */
CQ_HOT_LOOP static int cq_stem_load(const struct cq_stem *stem, const struct cq_rows *rows,
                                    int32_t first, struct cq_quad *quad)
{
    const struct cq_conv2d_params *const params = stem->params;
    const int32_t channels = cq_limit(params->out.c, 1, 4);
    struct cq_shifted shifted[4];
    const int is_rectified =
        cq_rectify_quad(quad, &params->requant, first, channels, rows->length, shifted);
    for (int32_t i = 0; i < channels; ++i) {
        stem->start[i] = shifted[i].start;
        stem->factors[i] = shifted[i].factor;
        cq_stem_set_weights(params, stem->pairs->weights + i,
                            cq_read_row(rows, first + i, 0, rows->length, stem->decoded),
                            shifted[i].left);
    }
    return is_rectified;
}

CQ_HOT_LOOP static int16_t *cq_stem_fill(int16_t *to, int32_t count, int16_t padding)
{
    for (; count > 0; --count) {
        *to++ = padding;
    }
    return to;
}

/* Four inputs from a word on. */
static inline void cq_stem_widen_four(int16_t *to, uint32_t four)
{
    const uint32_t even = cq_sxtb16(four);
    const uint32_t odd = cq_sxtb16_ror8(four);
    cq_put_two((uint32_t *)(void *)to, cq_pkhbt(even, odd), cq_pkhtb(even, odd));
}

/* `count` inputs from a word on: 15 instructions for 8 (Cortex-M4, gcc 12). */
CQ_FAST_CODE CQ_HOT_LOOP static int16_t *cq_stem_widen(int16_t *to, const int8_t *from,
                                                       int32_t count)
{
    for (; count >= 8; count -= 8, to += 8) {
        cq_stem_widen_four(to, cq_next4(&from));
        cq_stem_widen_four(to + 4, cq_next4(&from));
    }
    for (; count > 0; --count) {
        *to++ = *from++;
    }
    return to;
}

/* `rows` rows of the band, the first of which is row y of the image. */
CQ_SELDOM static void cq_stem_widen_band(const struct cq_stem *stem, const int8_t *in, int32_t y,
                                         int32_t rows)
{
    const struct cq_conv2d_params *const params = stem->params;
    const int32_t row = params->in.w * params->in.c;
    const int32_t left = cq_limit(params->pad.w * params->in.c, 0, stem->inputs);
    const int32_t inside = cq_limit(stem->inputs - left, 0, row);
    int16_t *to = stem->band + stem->first;
    for (const int32_t end = y + rows; y < end; ++y, to += stem->row - stem->inputs) {
        if (y < 0 || y >= params->in.h) {
            to = cq_stem_fill(to, stem->inputs, params->in_zero);
            continue;
        }
        to = cq_stem_fill(to, left, params->in_zero);
        to = cq_stem_widen(to, in + y * row, inside);
        to = cq_stem_fill(to, stem->inputs - left - inside, params->in_zero);
    }
}

/* Scratch is the stream, a decoded row, and a band. */
CQ_SELDOM static struct cq_stem cq_stem_of(const struct cq_conv2d_params *params,
                                           const struct cq_rows *rows, int32_t *scratch)
{
    const int32_t run = params->kernel.w * params->in.c;
    const int32_t pairs = params->kernel.h * ((run + 1) / 2);
    const int32_t filled = (pairs + CQ_STEM_STEP - 1) / CQ_STEM_STEP * CQ_STEM_STEP;
    const int32_t decoded = cq_rows_are_bytes(rows) ? 0 : (rows->length + 3) / 4 * 4;
    const int32_t inputs =
        ((params->out.w - 1) * params->stride.w + params->kernel.w) * params->in.c;
    struct cq_stem stem;
    stem.params = params;
    stem.start = scratch;
    stem.pairs = (struct cq_stem_pair *)(scratch + 4);
    stem.factors = (struct cq_factor *)(stem.pairs + filled);
    stem.decoded = (int8_t *)(stem.factors + 4);
    stem.band = (int16_t *)(void *)(stem.decoded + decoded);
    stem.inputs = inputs;
    stem.row = (inputs + 1) / 2 * 2;
    stem.first = params->pad.w * params->in.c % 2;
    return stem;
}

CQ_SELDOM static enum cq_status cq_conv2d_stem(const struct cq_row_reader *reader, uint32_t bits,
                                               const struct cq_conv2d_params *params,
                                               const int8_t *in, int8_t *out, void *scratch)
{
    const struct cq_rows rows = {reader, &params->weights, bits,
                                 params->kernel.h * params->kernel.w * params->in.c};
    const struct cq_stem stem = cq_stem_of(params, &rows, scratch);
    const int32_t stride = params->stride.h;
    const int32_t fitting = (CQ_STEM_BYTES / (2 * stem.row) - params->kernel.h) / stride + 1;
    const int32_t band = cq_limit(fitting, 1, params->out.h);
    int8_t *row = out;
    CQ_ASSERT(params->groups == 1 && params->dilation.h == 1 && params->dilation.w == 1);
    cq_stem_set_places(&stem);
    for (int32_t oy = 0; oy < params->out.h; oy += band) {
        const int32_t count = cq_limit(params->out.h - oy, 1, band);
        cq_stem_widen_band(&stem, in, oy * stride - params->pad.h,
                           (count - 1) * stride + params->kernel.h);
        for (int32_t channel = 0; channel < params->out.c; channel += 4) {
            const int32_t oc = cq_quad_at(channel, params->out.c);
            struct cq_quad quad;
            const int is_rectified = cq_stem_load(&stem, &rows, oc, &quad);
            cq_stem_multiply(&stem, &quad, is_rectified, count, row + oc);
        }
        row += count * params->out.w * params->out.c;
    }
    cq_clamp_dsp(out, params->out.h * params->out.w * params->out.c, params->requant.clamp_min,
                 params->requant.clamp_max);
    return CQ_OK;
}

#define CQ_CONV2D_STEM_DSP(width, packing)                                                         \
    enum cq_status cq_conv2d_stem_s8_w##width##_##packing##_dsp(                                   \
        const struct cq_conv2d_params *params, const int8_t *in, int8_t *out, void *scratch)       \
    {                                                                                              \
        return cq_conv2d_stem(CQ_ROW_READER(width, packing), width, params, in, out, scratch);     \
    }

CQ_CONV2D_STEM_DSP(1, dense)
CQ_CONV2D_STEM_DSP(2, dense)
CQ_CONV2D_STEM_DSP(3, dense)
CQ_CONV2D_STEM_DSP(4, dense)
CQ_CONV2D_STEM_DSP(5, dense)
CQ_CONV2D_STEM_DSP(6, dense)
CQ_CONV2D_STEM_DSP(7, dense)
CQ_CONV2D_STEM_DSP(8, dense)
CQ_CONV2D_STEM_DSP(2, ternary)
