/* SPDX-License-Identifier: Apache-2.0 */
/* dwconv2d without SIMD instructions: the rows that windows meet are kept as words, one channel at
 * a time and with their padding, so that every tap is a load at a constant distance. */
#include <codeq/dwconv2d.h>

#include "../decode/dense.h"
#include "../decode/ternary.h"
#include "../requant_swar.h"

/* Rows of one channel, from the top of the windows on: row i is in slot (first + i) modulo count.
 */
struct cq_dwconv2d_rows {
    int32_t *words;
    int32_t count; /* rows that a window reaches over */
    int32_t width; /* words of a row, its padding included */
    int32_t first;
};

static const int32_t *cq_dwconv2d_row(const struct cq_dwconv2d_rows *rows, int32_t i)
{
    const int32_t slot = rows->first + i;
    return rows->words + (slot < rows->count ? slot : slot - rows->count) * rows->width;
}

/* Row y of a channel as `width` words; outside the image it is padding. */
CQ_FAST_CODE CQ_ALONE static void cq_dwconv2d_widen(const struct cq_dwconv2d_params *params,
                                                    const int8_t *in, int32_t y, int32_t *to,
                                                    int32_t width)
{
    const int32_t *const end = to + width;
    const int32_t zero = params->in_zero;
    if (y >= 0 && y < params->in.h) {
        const int32_t step = params->in.c;
        const int8_t *x = in + y * params->in.w * step;
        const int32_t *const left = to + cq_limit(params->pad.w, 0, width);
        while (to != left) {
            *to++ = zero;
        }
        const int32_t *const inside = to + cq_limit(params->in.w, 0, (int32_t)(end - to));
        for (; to != inside; x += step) {
            *to++ = *x;
        }
    }
    while (to != end) {
        *to++ = zero;
    }
}

/* Sums of four windows. */
struct cq_four_sums {
    int32_t s0, s1, s2, s3;
};

/* One tap of four windows: the weight that has been loaded serves all of them. */
static CQ_MERGED void cq_dwconv2d_add_tap(struct cq_four_sums *sums, const int32_t *x, int32_t w,
                                          int32_t stride)
{
    sums->s0 = cq_add_product(sums->s0, x[0], w);
    sums->s1 = cq_add_product(sums->s1, x[stride], w);
    sums->s2 = cq_add_product(sums->s2, x[2 * stride], w);
    sums->s3 = cq_add_product(sums->s3, x[3 * stride], w);
}

/* Three neighbouring taps. */
static CQ_MERGED void cq_dwconv2d_add_taps(struct cq_four_sums *sums, const int32_t *x,
                                           const int32_t *weight, int32_t stride)
{
    cq_dwconv2d_add_tap(sums, x, weight[0], stride);
    cq_dwconv2d_add_tap(sums, x + 1, weight[1], stride);
    cq_dwconv2d_add_tap(sums, x + 2, weight[2], stride);
}

static CQ_MERGED int32_t cq_dwconv2d_dot_3(int32_t sum, const int32_t *x, const int32_t *weight)
{
    sum = cq_add_product(sum, x[0], weight[0]);
    sum = cq_add_product(sum, x[1], weight[1]);
    return cq_add_product(sum, x[2], weight[2]);
}

/* Windows of 3x3 neighbours, four at a time as long as there are three: 117 instructions for 36
 * products on Armv6-M. */
static CQ_MERGED void cq_dwconv2d_sum_3x3(const struct cq_dwconv2d_rows *rows,
                                          const int32_t *weight, int32_t stride, int32_t count,
                                          int32_t *sums)
{
    const int32_t *top = cq_dwconv2d_row(rows, 0);
    const int32_t *middle = cq_dwconv2d_row(rows, 1);
    const int32_t *bottom = cq_dwconv2d_row(rows, 2);
    for (; count > 2; count -= 4) {
        struct cq_four_sums four = {0, 0, 0, 0};
        cq_dwconv2d_add_taps(&four, top, weight, stride);
        cq_dwconv2d_add_taps(&four, middle, weight + 3, stride);
        cq_dwconv2d_add_taps(&four, bottom, weight + 6, stride);
        *sums++ = four.s0;
        *sums++ = four.s1;
        *sums++ = four.s2;
        *sums++ = four.s3;
        top += 4 * stride;
        middle += 4 * stride;
        bottom += 4 * stride;
    }
    for (; count > 0; --count) {
        const int32_t sum = cq_dwconv2d_dot_3(0, top, weight);
        *sums++ = cq_dwconv2d_dot_3(cq_dwconv2d_dot_3(sum, middle, weight + 3), bottom, weight + 6);
        top += stride;
        middle += stride;
        bottom += stride;
    }
}

CQ_FAST_CODE CQ_ALONE static void cq_dwconv2d_sum_3x3_s1(const struct cq_dwconv2d_rows *rows,
                                                         const int32_t *weight, int32_t count,
                                                         int32_t *sums)
{
    cq_dwconv2d_sum_3x3(rows, weight, 1, count, sums);
}

CQ_FAST_CODE CQ_ALONE static void cq_dwconv2d_sum_3x3_s2(const struct cq_dwconv2d_rows *rows,
                                                         const int32_t *weight, int32_t count,
                                                         int32_t *sums)
{
    cq_dwconv2d_sum_3x3(rows, weight, 2, count, sums);
}

/* Any other windows. */
CQ_FAST_CODE static void cq_dwconv2d_sum(const struct cq_dwconv2d_params *params,
                                         const struct cq_dwconv2d_rows *rows, const int32_t *weight,
                                         int32_t *sums)
{
    for (int32_t ox = 0; ox < params->out.w; ++ox) {
        const int32_t *w = weight;
        int32_t sum = 0;
        for (int32_t ky = 0; ky < params->kernel.h; ++ky) {
            const int32_t *x =
                cq_dwconv2d_row(rows, ky * params->dilation.h) + ox * params->stride.w;
            for (int32_t kx = 0; kx < params->kernel.w; ++kx, x += params->dilation.w) {
                sum += *x * *w++;
            }
        }
        sums[ox] = sum;
    }
}

/* One row of outputs. */
static void cq_dwconv2d_sum_row(const struct cq_dwconv2d_params *params,
                                const struct cq_dwconv2d_rows *rows, const int32_t *weight,
                                int32_t *sums)
{
    const int is_3x3 = rows->count == 3 && params->kernel.h == 3 && params->kernel.w == 3 &&
                       params->dilation.w == 1;
    if (is_3x3 && params->stride.w == 1) {
        cq_dwconv2d_sum_3x3_s1(rows, weight, params->out.w, sums);
    } else if (is_3x3 && params->stride.w == 2) {
        cq_dwconv2d_sum_3x3_s2(rows, weight, params->out.w, sums);
    } else {
        cq_dwconv2d_sum(params, rows, weight, sums);
    }
}

/* Sums that are collected before they are written, those of one row at least. */
static inline int32_t cq_dwconv2d_sums(const struct cq_dwconv2d_params *params)
{
    return params->out.w > CQ_SWAR_SUMS ? params->out.w : CQ_SWAR_SUMS;
}

/* One output channel from one input channel; `in` and `out` point to the first value of each. */
static void cq_dwconv2d_channel(const struct cq_dwconv2d_params *params, const int8_t *in,
                                int8_t *out, const int32_t *weight, struct cq_dwconv2d_rows *rows,
                                const struct cq_outputs *outputs, int32_t *sums)
{
    const int32_t most = cq_dwconv2d_sums(params) - params->out.w;
    int32_t next = -params->pad.h; /* the first row that has not been read, and its slot */
    int32_t slot = 0;
    int32_t count = 0; /* sums */
    for (int32_t oy = 0; oy < params->out.h; ++oy) {
        const int32_t top = oy * params->stride.h - params->pad.h;
        for (; next < top + rows->count; ++next) {
            if (next >= top) {
                cq_dwconv2d_widen(params, in, next, rows->words + slot * rows->width, rows->width);
            }
            slot = slot + 1 < rows->count ? slot + 1 : 0;
        }
        rows->first = slot; /* the row after these would replace the top one */
        cq_dwconv2d_sum_row(params, rows, weight, sums + count);
        count += params->out.w;
        if (count > most || oy + 1 == params->out.h) {
            cq_store_outputs(outputs, sums, 1, count, out, params->out.c);
            out += count * params->out.c;
            count = 0;
        }
    }
}

/*
 * The scratch holds the rows, sums, one channel's weights as words, and the same decoded.  Four
 * windows are summed where three are wanted: there is room for one more.
 */
static enum cq_status cq_dwconv2d_swar(const struct cq_decoder *decoder, uint32_t bits,
                                       const struct cq_dwconv2d_params *params, const int8_t *in,
                                       int8_t *out, void *scratch)
{
    const int32_t taps = params->kernel.h * params->kernel.w;
    const int32_t multiplier = params->out.c / params->in.c;
    struct cq_dwconv2d_rows rows = {
        scratch,
        (params->kernel.h - 1) * params->dilation.h + 1,
        params->out.w * params->stride.w + (params->kernel.w - 1) * params->dilation.w + 1,
        0,
    };
    int32_t *const sums = rows.words + rows.count * rows.width;
    int32_t *const weight = sums + cq_dwconv2d_sums(params) + 1;
    struct cq_cursor cursor;
    decoder->init(&cursor, &params->weights, bits, params->out.c * taps);
    for (int32_t oc = 0; oc < params->out.c; ++oc) {
        struct cq_outputs outputs;
        const struct cq_chunk decoded = decoder->next(&cursor, taps, weight + taps);
        const int8_t *const values = decoded.data;
        for (int32_t i = 0; i < taps; ++i) {
            weight[i] = -values[i];
        }
        outputs.channel = cq_load_channel(&params->requant, oc);
        cq_prepare_outputs(&outputs, params->out.h * params->out.w);
        cq_dwconv2d_channel(params, in + oc / multiplier, out + oc, weight, &rows, &outputs, sums);
    }
    return CQ_OK;
}

#define CQ_DWCONV2D_SWAR(width, packing)                                                           \
    enum cq_status cq_dwconv2d_s8_w##width##_##packing##_swar(                                     \
        const struct cq_dwconv2d_params *params, const int8_t *in, int8_t *out, void *scratch)     \
    {                                                                                              \
        return cq_dwconv2d_swar(&cq_##packing, width, params, in, out, scratch);                   \
    }

CQ_DWCONV2D_SWAR(1, dense)
CQ_DWCONV2D_SWAR(2, dense)
CQ_DWCONV2D_SWAR(3, dense)
CQ_DWCONV2D_SWAR(4, dense)
CQ_DWCONV2D_SWAR(5, dense)
CQ_DWCONV2D_SWAR(6, dense)
CQ_DWCONV2D_SWAR(7, dense)
CQ_DWCONV2D_SWAR(8, dense)
CQ_DWCONV2D_SWAR(2, ternary)
