/* SPDX-License-Identifier: Apache-2.0 */
/* conv2d with SMLAD: four output channels at a time, from rows that are decoded once. */
#include "gather_dsp.h"

/* What all channels of a convolution share that reads its windows from the image. */
struct cq_conv2d_image {
    const struct cq_conv2d_params *params;
    const int8_t *in;
    const uint32_t *cache;
    const int32_t *sums; /* in_zero times the weights of each tap, four channels a tap */
};

/*
 * Windows are read from the image.  A window that leaves it meets the weights inside only: what the
 * padding adds is in_zero times the weights outside, summed a tap once for all pixels.
 */
static inline int cq_conv2d_reads_image(const struct cq_conv2d_params *params)
{
    return params->groups == 1 && params->dilation.w == 1 && params->in.c % CQ_STEP == 0 &&
           params->kernel.h * params->kernel.w * params->in.c <= CQ_ROW_CACHE;
}

/* in_zero times the weights of each tap, four channels a tap. */
static void cq_conv2d_sum_taps(const struct cq_conv2d_params *params, const uint32_t *weights,
                               int32_t *sums)
{
    const uint32_t ones = 0x00010001u;
    const int32_t taps = params->kernel.h * params->kernel.w;
    for (int32_t tap = 0; tap < taps; ++tap, sums += 4) {
        const uint32_t *const end = weights + 2 * params->in.c;
        int32_t s0 = 0;
        int32_t s1 = 0;
        int32_t s2 = 0;
        int32_t s3 = 0;
        while (weights != end) {
            const struct cq_words w = cq_next_words(&weights);
            s0 = cq_smlad(w.w0, ones, s0);
            s1 = cq_smlad(w.w1, ones, s1);
            s2 = cq_smlad(w.w2, ones, s2);
            s3 = cq_smlad(w.w3, ones, s3);
        }
        sums[0] = s0 * params->in_zero;
        sums[1] = s1 * params->in_zero;
        sums[2] = s2 * params->in_zero;
        sums[3] = s3 * params->in_zero;
    }
}

/* Accumulators of four channels before the taps inside: the others meet padding. */
static void cq_conv2d_start(const struct cq_conv2d_params *params, const int32_t *bias,
                            const int32_t *sums, struct cq_window rows, struct cq_window columns,
                            int32_t *start)
{
    memcpy(start, bias, 4 * sizeof *start);
    for (int32_t ky = 0; ky < params->kernel.h; ++ky) {
        for (int32_t kx = 0; kx < params->kernel.w; ++kx, sums += 4) {
            if (ky < rows.first || ky >= rows.end || kx < columns.first || kx >= columns.end) {
                for (int32_t i = 0; i < 4; ++i) {
                    start[i] += sums[i];
                }
            }
        }
    }
}

/* The pixels of one row of outputs from `ox` on that meet the same taps; returns their number. */
static int32_t cq_conv2d_image_span(const struct cq_conv2d_image *image, const struct cq_quad *quad,
                                    struct cq_window rows, int32_t ox, int8_t *out)
{
    const struct cq_conv2d_params *const params = image->params;
    const int32_t pixel = params->in.c;
    const int32_t row = params->in.w * pixel;
    int32_t alike;
    const struct cq_window columns = cq_conv2d_columns_at(params, ox, &alike);
    const int32_t run = (columns.end - columns.first) * pixel;
    const int32_t left_out = params->kernel.w * pixel - run;
    const int is_whole = left_out == 0 && rows.end - rows.first == params->kernel.h;
    int32_t start[4];
    if (!is_whole) {
        cq_conv2d_start(params, quad->start, image->sums, rows, columns, start);
    }
    const struct cq_span span = {
        image->in + (rows.start + rows.first * params->dilation.h) * row +
            (columns.start + columns.first) * pixel,
        params->stride.w * pixel,
        alike,
        rows.end - rows.first,
        params->dilation.h * row,
        run / CQ_STEP,
        image->cache + 2 * (rows.first * params->kernel.w + columns.first) * pixel,
        2 * left_out,
        is_whole ? quad->start : start,
        out,
        params->out.c,
    };
    if (run > 0 && span.runs > 0) {
        cq_multiply_span(&span, quad);
    } else {
        for (int32_t v = 0; v < span.count; ++v) {
            cq_store_quad(quad, start, out + v * span.out_step); /* padding only */
        }
    }
    return span.count;
}

/* Four channels of all pixels; `out` is the first one's. */
static void cq_conv2d_image_quad(const struct cq_conv2d_image *image, const struct cq_quad *quad,
                                 int8_t *out)
{
    const struct cq_conv2d_params *const params = image->params;
    for (int32_t oy = 0; oy < params->out.h; ++oy) {
        const struct cq_window rows = cq_conv2d_rows_at(params, oy);
        for (int32_t ox = 0; ox < params->out.w;) {
            const int32_t count = cq_conv2d_image_span(image, quad, rows, ox, out);
            out += count * params->out.c;
            ox += count;
        }
    }
}

/* Channel by channel, over the whole image: every weight is decoded once. */
static void cq_conv2d_image(const struct cq_conv2d_params *params, const struct cq_rows *rows,
                            const int8_t *in, int8_t *out, void *scratch)
{
    const int32_t channels = cq_limit(params->out.c, 1, 4);
    uint32_t *const cache = scratch;
    int32_t *const sums = (int32_t *)scratch + 16 * cq_steps(rows->length);
    int8_t *const decoded = (int8_t *)(sums + 4 * params->kernel.h * params->kernel.w);
    const struct cq_conv2d_image image = {params, in, cache, sums};
    struct cq_quad quad;
    quad.requant = NULL;
    for (int32_t channel = 0; channel < params->out.c; channel += 4) {
        const int32_t oc = cq_quad_at(channel, params->out.c);
        cq_load_quad(&quad, &params->requant, oc, channels);
        cq_cache_rows(rows, oc, channels, 0, rows->length, decoded, cache);
        cq_conv2d_sum_taps(params, cache, sums);
        cq_conv2d_image_quad(&image, &quad, out + oc);
    }
}

/* Any other convolution: tiles of patches, for each of which the weights are decoded again.  So a
 * 1x1 convolution may write over its input. */
static void cq_conv2d_patches(const struct cq_conv2d_params *params, const struct cq_rows *rows,
                              const int8_t *in, int8_t *out, void *scratch)
{
    const int32_t pixels = params->out.h * params->out.w;
    const int32_t in_channels = params->in.c / params->groups;
    const int32_t out_channels = params->out.c / params->groups;
    const int32_t patch = CQ_STEP * cq_steps(rows->length);
    const int32_t tile = cq_conv2d_patches_of(patch, pixels);
    int8_t *const patches = scratch;
    uint32_t *const cache = (uint32_t *)scratch + tile * patch / 4;
    int8_t *const decoded = (int8_t *)(cache + 2 * cq_limit(patch, 0, CQ_ROW_CACHE));
    struct cq_span span = {patches, patch,        0, 1, 0, patch / CQ_STEP, cache, 0, NULL,
                           out,     params->out.c};
    for (int32_t group = 0; group < params->groups; ++group) {
        const int32_t first_channel = group * out_channels;
        const struct cq_patches gathered = {params, in + group * in_channels, in_channels, patch};
        for (int32_t pixel = 0; pixel < pixels; pixel += tile) {
            span.count = cq_limit(pixels - pixel, 1, tile);
            cq_gather_patches(&gathered, pixel, span.count, patches);
            span.out = out + pixel * params->out.c + first_channel;
            cq_conv2d_tile(rows, &span, &params->requant, first_channel, out_channels, decoded,
                           cache);
        }
    }
}

CQ_SELDOM static enum cq_status cq_conv2d_dsp(const struct cq_row_reader *reader, uint32_t bits,
                                              const struct cq_conv2d_params *params,
                                              const int8_t *in, int8_t *out, void *scratch)
{
    const struct cq_rows rows = {reader, &params->weights, bits,
                                 params->kernel.h * params->kernel.w * params->in.c /
                                     params->groups};
    if (cq_conv2d_reads_image(params) && in != out) {
        cq_conv2d_image(params, &rows, in, out, scratch);
    } else {
        cq_conv2d_patches(params, &rows, in, out, scratch);
    }
    cq_clamp_dsp(out, params->out.h * params->out.w * params->out.c, params->requant.clamp_min,
                 params->requant.clamp_max);
    return CQ_OK;
}

#define CQ_CONV2D_DSP(width, packing)                                                              \
    enum cq_status cq_conv2d_s8_w##width##_##packing##_dsp(                                        \
        const struct cq_conv2d_params *params, const int8_t *in, int8_t *out, void *scratch)       \
    {                                                                                              \
        return cq_conv2d_dsp(CQ_ROW_READER(width, packing), width, params, in, out, scratch);      \
    }

CQ_CONV2D_DSP(1, dense)
CQ_CONV2D_DSP(2, dense)
CQ_CONV2D_DSP(3, dense)
CQ_CONV2D_DSP(4, dense)
CQ_CONV2D_DSP(5, dense)
CQ_CONV2D_DSP(6, dense)
CQ_CONV2D_DSP(7, dense)
CQ_CONV2D_DSP(8, dense)
CQ_CONV2D_DSP(2, ternary)

#define CQ_CONV2D_HUFFMAN_DSP(width)                                                               \
    enum cq_status cq_conv2d_s8_w##width##_huffman_dsp(                                            \
        const struct cq_conv2d_params *params, const int8_t *in, int8_t *out, void *scratch)       \
    {                                                                                              \
        struct cq_bookmarks bookmarks;                                                             \
        const struct cq_row_reader reader = cq_huffman_reader(&bookmarks);                         \
        return cq_conv2d_dsp(&reader, width, params, in, out, scratch);                            \
    }

CQ_CONV2D_HUFFMAN_DSP(2)
CQ_CONV2D_HUFFMAN_DSP(3)
CQ_CONV2D_HUFFMAN_DSP(4)
CQ_CONV2D_HUFFMAN_DSP(5)
CQ_CONV2D_HUFFMAN_DSP(6)
CQ_CONV2D_HUFFMAN_DSP(7)
CQ_CONV2D_HUFFMAN_DSP(8)
