/* SPDX-License-Identifier: Apache-2.0 */
/* The inputs of output pixels, each in one piece, in words at any address. */
#ifndef CODEQ_SRC_CONV2D_GATHER_DSP_H
#define CODEQ_SRC_CONV2D_GATHER_DSP_H

#include <codeq/conv2d.h>

#include "../attributes.h"
#include "../conv2d_1x1/tile_dsp.h"
#include "../window.h"

/* The window of an output row, along that axis. */
CQ_NOINLINE static struct cq_window cq_conv2d_rows_at(const struct cq_conv2d_params *params,
                                                      int32_t oy)
{
    return cq_window_at(oy, params->stride.h, params->pad.h, params->kernel.h, params->dilation.h,
                        params->in.h);
}

/* Of an output column, and how many from it on have the same taps inside. */
CQ_NOINLINE static struct cq_window cq_conv2d_columns_at(const struct cq_conv2d_params *params,
                                                         int32_t ox, int32_t *alike)
{
    const struct cq_window columns = cq_window_at(
        ox, params->stride.w, params->pad.w, params->kernel.w, params->dilation.w, params->in.w);
    const int32_t reach = (params->kernel.w - 1) * params->dilation.w + 1;
    *alike = 1;
    if (columns.first == 0 && columns.end == params->kernel.w) {
        const int32_t steps = (params->in.w - reach - columns.start) / params->stride.w;
        *alike = cq_limit(steps + 1, 1, params->out.w - ox);
    }
    return columns;
}

/* What all patches of a group have in common. */
struct cq_patches {
    const struct cq_conv2d_params *params;
    const int8_t *in; /* the group's first input */
    int32_t channels; /* of the group */
    int32_t bytes;    /* of a patch, filled up to words */
};

/* The inputs of `count` neighbouring pixels, whose windows have the same taps inside, in the order
 * of the weights: kh, kw, channel of the group. */
static void cq_gather_alike(const struct cq_patches *patches, struct cq_window rows,
                            struct cq_window columns, int32_t count, int8_t *to)
{
    const struct cq_conv2d_params *const params = patches->params;
    const int32_t channels = patches->channels;
    const int32_t pixel = params->in.c;
    const int32_t row_step = params->dilation.h * params->in.w * pixel;
    const int32_t to_step = params->kernel.w * channels;
    const int32_t height = rows.end - rows.first;
    const int32_t width = columns.end - columns.first;
    const int32_t y = rows.start + rows.first * params->dilation.h;
    const int32_t x = columns.start + columns.first * params->dilation.w;
    const int8_t *from = patches->in + (y * params->in.w + x) * pixel;
    if (height < params->kernel.h || width < params->kernel.w) {
        const uint32_t padding = (uint8_t)params->in_zero * UINT32_C(0x01010101);
        for (int32_t i = 0; i < count * patches->bytes; i += 4) {
            cq_store4(to + i, padding);
        }
    }
    to += rows.first * to_step + columns.first * channels;
    for (; count > 0; --count, to += patches->bytes, from += params->stride.w * pixel) {
        if (params->dilation.w == 1 && channels == pixel) {
            cq_copy_pieces(to, to_step, from, row_step, width * pixel, height);
            continue;
        }
        for (int32_t row = 0; row < height; ++row) {
            cq_copy_pieces(to + row * to_step, channels, from + row * row_step,
                           params->dilation.w * pixel, channels, width);
        }
    }
}

/* Patches of `count` output pixels from `pixel` on. */
static void cq_gather_patches(const struct cq_patches *patches, int32_t pixel, int32_t count,
                              int8_t *to)
{
    const struct cq_conv2d_params *const params = patches->params;
    int32_t oy = pixel / params->out.w;
    int32_t ox = pixel % params->out.w;
    for (; count > 0; ++oy, ox = 0) {
        const struct cq_window rows = cq_conv2d_rows_at(params, oy);
        while (count > 0 && ox < params->out.w) {
            int32_t alike;
            const struct cq_window columns = cq_conv2d_columns_at(params, ox, &alike);
            alike = cq_limit(alike, 1, count);
            cq_gather_alike(patches, rows, columns, alike, to);
            to += alike * patches->bytes;
            ox += alike;
            count -= alike;
        }
    }
}

#endif
