/* SPDX-License-Identifier: Apache-2.0 */
/* Pixels four to a word: the inputs of a strip of output pixels, transposed.  Spec: NUMERICS.md
 * [conv2d-C7]. */
#ifndef CODEQ_SRC_CONV2D_SPARSE_STRIP_H
#define CODEQ_SRC_CONV2D_SPARSE_STRIP_H

#include <codeq/conv2d.h>

#include "../attributes.h"
#include "../bytes.h"
#include "../dsp.h"
#include "../numerics.h"
#include "lanes.h"

/*
 * The output is cut into four parts of equal size, one above the other or side by side; a word
 * holds the pixels at one place of all four, so that a step of the kernel window is a step to
 * another word, never a shift.  In memory: slot (row of input words), channel, column; columns that
 * one tap meets in turn are neighbours, also with a stride.
 */
struct cq_strip {
    struct cq_shape in, out; /* a pointwise convolution is one row of pixels */
    struct cq_pair part;     /* from a pixel to the pixel of the next part */
    int32_t rows, columns;   /* output words in one part */
    struct cq_pair whole;    /* rows and columns below these are in all parts */
    int32_t channels;        /* input channels of a group */
    struct cq_pair size;     /* rows and columns of output words gathered at a time */
    int32_t slots;           /* rows of input words that these meet, */
    int32_t fresh;           /* of them those that the strip above does not meet */
    int32_t slot_step;       /* input rows from slot to slot */
    int32_t tap_step;        /* slots from a row of the window to the next */
    int32_t phases;          /* columns whose number has the same remainder by stride.w: */
    int32_t phase;           /* words a phase */
    int32_t width;           /* words for four pixels: 1, or 2 without lists */
    int32_t pitch;           /* words of a channel */
    int32_t row;             /* words from a row of outputs to the next */
    uint32_t *words;
    int8_t *padding; /* one pixel of in_zero */
};

static inline int32_t cq_divide_up(int32_t a, int32_t b)
{
    return (a + b - 1) / b;
}

/* True where an output pixel's patch is the input pixel at the same place, which then is at the
 * same place of a single row. */
static inline int cq_is_flat(const struct cq_conv2d_params *params)
{
    return params->kernel.h == 1 && params->kernel.w == 1 && params->stride.h == 1 &&
           params->stride.w == 1 && params->in.h == params->out.h && params->in.w == params->out.w;
}

/* Cuts the output where fewer groups of words cover it; above each other if that is a tie, for
 * columns then have neighbours on both sides. */
static inline void cq_strip_split(struct cq_strip *strip)
{
    const int32_t h = cq_divide_up(strip->out.h, CQ_LANES);
    const int32_t w = cq_divide_up(strip->out.w, CQ_LANES);
    const int32_t above = h * cq_divide_up(strip->out.w, CQ_GROUP);
    const int32_t beside = strip->out.h * cq_divide_up(w, CQ_GROUP);
    strip->part.h = above <= beside ? h : 0;
    strip->part.w = above <= beside ? 0 : w;
    strip->rows = above <= beside ? h : strip->out.h;
    strip->columns = above <= beside ? strip->out.w : w;
    if (strip->width == 2) {
        /* all at once: parts may overlap, so that all are whole */
        strip->part.w = cq_divide_up(strip->out.w - w, CQ_LANES - 1);
    }
    strip->whole.h = strip->out.h - (CQ_LANES - 1) * strip->part.h;
    strip->whole.w = strip->out.w - (CQ_LANES - 1) * strip->part.w;
}

CQ_SELDOM static struct cq_strip cq_strip_of(const struct cq_conv2d_params *params, void *scratch)
{
    struct cq_strip strip;
    strip.in = params->in;
    strip.out = params->out;
    if (cq_is_flat(params)) {
        strip.in.w *= strip.in.h;
        strip.in.h = 1;
        strip.out.w = strip.in.w;
        strip.out.h = 1;
    }
    strip.width = params->sparse.kept == 0 ? 2 : 1;
    cq_strip_split(&strip);
    strip.channels = params->in.c / params->groups;
    strip.size.h = params->sparse.rows;
    strip.size.w = params->sparse.columns;
    const int32_t reach = (params->kernel.w - 1) * params->dilation.w + 1;
    const int32_t span = (strip.size.w - 1) * params->stride.w + reach;
    /* the rows of one row of outputs are those that the window meets; of several, all between */
    const int is_row = strip.size.h == 1;
    strip.slot_step = is_row ? params->dilation.h : 1;
    strip.tap_step = is_row ? 1 : params->dilation.h;
    strip.slots =
        (strip.size.h - 1) * params->stride.h + (params->kernel.h - 1) * strip.tap_step + 1;
    const int32_t step = strip.size.h * params->stride.h;
    const int32_t is_column = strip.size.w >= strip.columns && step % strip.slot_step == 0;
    strip.fresh = is_column ? cq_limit(step / strip.slot_step, 0, strip.slots) : strip.slots;
    strip.phases = reach < params->stride.w ? reach : params->stride.w;
    strip.phase = cq_divide_up(span, params->stride.w);
    strip.pitch = strip.phases * strip.phase * strip.width;
    strip.row = params->stride.h * strip.channels * strip.pitch;
    strip.words = scratch;
    strip.padding = (int8_t *)(strip.words + strip.slots * strip.channels * strip.pitch);
    return strip;
}

/* Byte offset of the first channel of each tap. */
static void cq_strip_origins(const struct cq_strip *strip, const struct cq_conv2d_params *params,
                             int32_t *origins)
{
    for (int32_t ky = 0; ky < params->kernel.h; ++ky) {
        const int32_t slot = ky * strip->tap_step * strip->channels * strip->pitch;
        for (int32_t kx = 0; kx < params->kernel.w; ++kx) {
            const int32_t x = kx * params->dilation.w;
            const int32_t column = x % params->stride.w * strip->phase + x / params->stride.w;
            *origins++ = (slot + column) * 4;
        }
    }
}

/* Of words with bytes 0 to 3 the words with bytes 0 and 2 of both, in turn, and with 1 and 3. */
static inline struct cq_pair_of_words cq_interleave(uint32_t first, uint32_t second)
{
    const uint32_t even = cq_uxtb16(second);
    const struct cq_pair_of_words words = {cq_uxtab16(even << 8, first),
                                           cq_uxtab16_ror8(second - even, first)};
    return words;
}

/* Four pixels of four channels, transposed: a word for each channel, and 128 is added to every
 * value, so that bytes are never negative.  Returns what is behind the last word. */
static inline uint32_t *cq_transpose(struct cq_words pixels, int32_t pitch, uint32_t *to)
{
    const uint32_t p0 = pixels.w0 ^ 0x80808080u;
    const uint32_t p1 = pixels.w1 ^ 0x80808080u;
    const uint32_t p2 = pixels.w2 ^ 0x80808080u;
    const uint32_t p3 = pixels.w3 ^ 0x80808080u;
    const struct cq_pair_of_words low = cq_interleave(cq_pkhbt(p0, p2), cq_pkhbt(p1, p3));
    const struct cq_pair_of_words high = cq_interleave(cq_pkhtb(p0, p2), cq_pkhtb(p1, p3));
    *to = low.w0;
    to += pitch;
    *to = low.w1;
    to += pitch;
    *to = high.w0;
    to += pitch;
    *to = high.w1;
    return to + pitch;
}

/* Four pixels, and how far it is to those of the next column. */
struct cq_pixels {
    const int8_t *at[CQ_LANES];
    int32_t step[CQ_LANES];
};

static inline void cq_pixels_advance(struct cq_pixels *pixels)
{
    for (int32_t lane = 0; lane < CQ_LANES; ++lane) {
        pixels->at[lane] += pixels->step[lane];
    }
}

/* One or more columns of the strip from `to` on: every channel of four pixels each. */
CQ_FAST_CODE CQ_HOT_LOOP static void cq_strip_columns(struct cq_pixels *pixels, int32_t columns,
                                                      int32_t channels, int32_t pitch, uint32_t *to)
{
    for (;; ++to) {
        const int8_t *pixel0 = pixels->at[0];
        const int8_t *pixel1 = pixels->at[1];
        const int8_t *pixel2 = pixels->at[2];
        const int8_t *pixel3 = pixels->at[3];
        uint32_t *word = to;
        int32_t c = channels & ~3;
        for (const int8_t *const end = pixel0 + c; pixel0 != end;) {
            const struct cq_words four = {cq_next4(&pixel0), cq_next4(&pixel1), cq_next4(&pixel2),
                                          cq_next4(&pixel3)};
            word = cq_transpose(four, pitch, word);
        }
        for (; c < channels; ++c, word += pitch) {
            uint32_t bytes = 0u;
            for (int32_t lane = CQ_LANES - 1; lane >= 0; --lane) {
                bytes = bytes << 8 | ((uint32_t)(int32_t)pixels->at[lane][c] & 0xffu);
            }
            *word = bytes ^ 0x80808080u;
        }
        if (--columns == 0) {
            return;
        }
        cq_pixels_advance(pixels);
    }
}

/* Two signed pixels in a number, whose multiples are those of both as long as no sum of the lower
 * one leaves its 16 bits. */
static inline uint32_t cq_lanes_of(int32_t low, int32_t high)
{
    return (uint32_t)low + ((uint32_t)high << 16);
}

/* The same as pairs of signed pixels: 0 and 2, then 1 and 3. */
CQ_FAST_CODE CQ_HOT_LOOP static void cq_strip_columns_wide(struct cq_pixels *pixels,
                                                           int32_t columns, int32_t channels,
                                                           int32_t pitch, uint32_t *to)
{
    for (;; to += 2) {
        const int8_t *pixel0 = pixels->at[0];
        const int8_t *pixel1 = pixels->at[1];
        const int8_t *pixel2 = pixels->at[2];
        const int8_t *pixel3 = pixels->at[3];
        uint32_t *words = to;
        for (int32_t c = channels; c > 0; --c, words += pitch) {
            words[0] = cq_lanes_of(*pixel0++, *pixel2++);
            words[1] = cq_lanes_of(*pixel1++, *pixel3++);
        }
        if (--columns == 0) {
            return;
        }
        cq_pixels_advance(pixels);
    }
}

/* What the strip above has gathered already moves up.  Returns the slots that it fills. */
static int32_t cq_strip_scroll(const struct cq_strip *strip)
{
    const int32_t shared = strip->slots - strip->fresh;
    const int32_t slot = strip->channels * strip->pitch;
    const uint32_t *from = strip->words + strip->fresh * slot;
    uint32_t *to = strip->words;
    int32_t left = shared * slot;
    for (; left >= 4; left -= 4, to += 4) {
        const struct cq_words words = cq_next_words(&from);
        cq_put_two(to, words.w0, words.w1);
        cq_put_two(to + 2, words.w2, words.w3);
    }
    for (; left > 0; --left) {
        *to++ = *from++;
    }
    return shared;
}

/* The inputs of the output words from `from` on, of the group whose channels begin at `in`: columns
 * at a time whose pixels are all inside of the image, or all beside it, in each of the four parts.
 */
CQ_FAST_CODE CQ_HOT_LOOP static void cq_strip_gather(const struct cq_strip *strip,
                                                     const struct cq_conv2d_params *params,
                                                     const int8_t *in, struct cq_pair from)
{
    const int32_t stride = params->stride.w;
    const int32_t top = from.h * params->stride.h - params->pad.h;
    const int32_t left = from.w * stride - params->pad.w;
    const struct cq_pair jump = {strip->part.h * params->stride.h, strip->part.w * stride};
    for (int32_t slot = from.h > 0 ? cq_strip_scroll(strip) : 0; slot < strip->slots; ++slot) {
        uint32_t *const to = strip->words + slot * strip->channels * strip->pitch;
        const int32_t y = top + slot * strip->slot_step;
        /* pixels of a row outside of the image are the padding, and so is what is beside it */
        const int8_t *row[CQ_LANES];
        int32_t width[CQ_LANES];
        for (int32_t lane = 0; lane < CQ_LANES; ++lane) {
            const int32_t at = y + lane * jump.h;
            const int is_inside = at >= 0 && at < strip->in.h;
            width[lane] = is_inside ? strip->in.w : 0;
            row[lane] = is_inside ? in + at * strip->in.w * strip->in.c : in;
        }
        for (int32_t phase = 0; phase < strip->phases; ++phase) {
            int32_t count;
            for (int32_t i = 0; i < strip->phase; i += count) {
                struct cq_pixels pixels;
                int32_t x = left + phase + i * stride;
                uint32_t *const column = to + (phase * strip->phase + i) * strip->width;
                count = strip->phase - i;
                for (int32_t lane = 0; lane < CQ_LANES; ++lane, x += jump.w) {
                    const int is_inside = x >= 0 && x < width[lane];
                    const int32_t alike = is_inside ? width[lane] - x : -x;
                    pixels.at[lane] = is_inside ? row[lane] + x * strip->in.c : strip->padding;
                    pixels.step[lane] = is_inside ? stride * strip->in.c : 0;
                    if (alike > 0 && count * stride > alike) {
                        count = cq_divide_up(alike, stride);
                    }
                }
                if (strip->width == 1) {
                    cq_strip_columns(&pixels, count, strip->channels, strip->pitch, column);
                } else {
                    cq_strip_columns_wide(&pixels, count, strip->channels, strip->pitch, column);
                }
            }
        }
    }
}

#endif
