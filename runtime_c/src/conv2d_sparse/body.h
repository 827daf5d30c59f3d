/* SPDX-License-Identifier: Apache-2.0 */
/* Convolution with sparse weights: each weight that is not zero is added to sixteen pixels at once.
 * Spec: NUMERICS.md [conv2d-C7]. */
#ifndef CODEQ_SRC_CONV2D_SPARSE_BODY_H
#define CODEQ_SRC_CONV2D_SPARSE_BODY_H

#include "lanes.h"
#include "store.h"
#include "strip.h"
#include "taps.h"

static inline const uint32_t *cq_at(const uint8_t *x, uint32_t place)
{
    return (const uint32_t *)(const void *)(x + place);
}

/* Negated products of weights 2 and -2, twice what was added up. */
static inline struct cq_lanes cq_lanes_of_twos(const uint8_t *x, const struct cq_taps *taps)
{
    struct cq_lanes sum = cq_lanes_same(0u);
    const uint16_t *list = taps->plus2;
    for (uint32_t place = *--list; place != CQ_END; place = *--list) {
        sum = cq_lanes_add(sum, cq_at(x, place));
    }
    sum = cq_lanes_subtract_from(taps->start / 2u, sum);
    list = taps->minus2;
    for (uint32_t place = *list++; place != CQ_END; place = *list++) {
        sum = cq_lanes_add(sum, cq_at(x, place));
    }
    return cq_lanes_double(sum);
}

/* The first segment of the lists, for a run of groups of sixteen pixels. */
CQ_FAST_CODE CQ_HOT_LOOP static void cq_run_segment(const uint8_t *x, const struct cq_taps *shared,
                                                    int32_t groups, uint32_t *registers)
{
    const struct cq_taps taps = *shared; /* what is stored may alias nothing of it */
    const uint32_t *const end = registers + groups * CQ_REGISTERS;
    for (; registers != end; registers += CQ_REGISTERS, x += 4 * CQ_GROUP) {
        const uint16_t *list = taps.minus;
        uint32_t place = *list++;
        struct cq_lanes sum;
        if (taps.has_twos) {
            sum = cq_lanes_of_twos(x, &taps);
        } else if (place != CQ_END) {
            sum = cq_lanes_first(taps.start, cq_at(x, place));
            place = *list++;
        } else {
            sum = cq_lanes_same(taps.start);
        }
        for (; place != CQ_END; place = *list++) {
            sum = cq_lanes_add(sum, cq_at(x, place));
        }
        list = taps.others;
        for (place = *list; place != CQ_END; place = *(list += 2)) {
            sum = cq_lanes_multiply_add(sum, cq_at(x, place), (uint32_t)(int32_t)(int16_t)list[1]);
        }
        sum = cq_lanes_subtract_from(taps.from, sum);
        list = taps.plus;
        for (place = *--list; place != CQ_END; place = *--list) {
            sum = cq_lanes_add(sum, cq_at(x, place));
        }
        cq_lanes_store(registers, sum);
    }
}

static inline void cq_add_registers(int32_t *sums, const uint32_t *registers, int32_t groups)
{
    for (; groups > 0; --groups, sums += 2 * CQ_REGISTERS, registers += CQ_REGISTERS) {
        for (int32_t i = 0; i < CQ_REGISTERS; ++i) {
            sums[i] = cq_smlabb(registers[i], 1u, sums[i]);
            sums[i + CQ_REGISTERS] = cq_smlatb(registers[i], 1u, sums[i + CQ_REGISTERS]);
        }
    }
}

/* Other requantizations. */
CQ_SELDOM static void cq_store_registers(const struct cq_output *output, const uint32_t *registers,
                                         const struct cq_place *place, int8_t *out)
{
    int32_t sums[2 * CQ_REGISTERS * CQ_RUN] = {0};
    cq_add_registers(sums, registers, place->groups);
    cq_store_sums(output, sums, place, out);
}

/* Rows of several segments as well. */
CQ_SELDOM static void cq_run_sums(const uint8_t *x, struct cq_taps taps,
                                  const struct cq_output *output, const struct cq_place *place,
                                  uint32_t *registers, int8_t *out)
{
    int32_t sums[2 * CQ_REGISTERS * CQ_RUN] = {0};
    cq_run_segment(x, &taps, place->groups, registers);
    cq_add_registers(sums, registers, place->groups);
    for (int32_t segment = 1; segment < taps.segments; ++segment) {
        cq_taps_skip(&taps);
        cq_run_segment(x, &taps, place->groups, registers);
        cq_add_registers(sums, registers, place->groups);
    }
    cq_store_sums(output, sums, place, out);
}

/* A strip, and what all its channels share. */
struct cq_frame {
    struct cq_pair from, end; /* output words */
    int32_t first;            /* bytes from the output's first pixel to the strip's */
    int32_t row_step;         /* bytes to the next row */
    int32_t run;              /* words that are computed in turn */
    struct cq_pair whole;     /* runs from rows and columns below these on are in all parts */
    struct cq_place full;     /* place of such a run */
    struct cq_place cut;      /* of the run of fewer pixels that was met last, */
    struct cq_pair cut_at;    /* and where that is */
};

static struct cq_frame cq_frame_of(const struct cq_strip *strip, struct cq_pair from)
{
    const int32_t step = strip->out.c;
    const int32_t next = (strip->part.h * strip->out.w + strip->part.w) * step;
    const struct cq_pair end = {cq_limit(from.h + strip->size.h, 0, strip->rows),
                                cq_limit(from.w + strip->size.w, 0, strip->columns)};
    const int32_t run = cq_limit(strip->size.w, 0, CQ_RUN_WORDS);
    const struct cq_frame frame = {
        .from = from,
        .end = end,
        .first = (from.h * strip->out.w + from.w) * step,
        .row_step = strip->out.w * step,
        .run = run,
        .whole = {strip->whole.h, cq_limit(strip->whole.w, 0, end.w) - (run - 1)},
        .full = {step, next, {run, run, run, run}, cq_divide_up(run, CQ_GROUP)},
        .cut = {.step = step, .next = next},
        .cut_at = {-1, -1},
    };
    return frame;
}

/* How many pixels each part of the output has in the run from `column` on: the same for every
 * channel. */
CQ_NOINLINE static const struct cq_place *
cq_frame_cut(struct cq_frame *frame, const struct cq_strip *strip, int32_t row, int32_t column)
{
    struct cq_place *const place = &frame->cut;
    const int32_t most = cq_limit(frame->end.w - column, 0, frame->run);
    if (row < strip->whole.h) {
        row = 0; /* all alike */
    }
    if (row == frame->cut_at.h && column == frame->cut_at.w) {
        return place;
    }
    frame->cut_at.h = row;
    frame->cut_at.w = column;
    place->groups = cq_divide_up(most, CQ_GROUP);
    for (int32_t part = 0; part < CQ_LANES; ++part) {
        const int32_t in_image = strip->out.w - part * strip->part.w - column;
        const int32_t width = cq_limit(in_image, 0, most);
        place->widths[part] = row + part * strip->part.h < strip->out.h ? width : 0;
    }
    return place;
}

/* All runs of a strip for one output channel, whose first pixel is at `out`. */
CQ_FAST_CODE CQ_HOT_LOOP static void cq_strip_channel(const struct cq_strip *strip,
                                                      struct cq_frame *frame,
                                                      const struct cq_taps *taps,
                                                      const struct cq_output *output, int8_t *out)
{
    uint32_t registers[CQ_REGISTERS * CQ_RUN];
    const uint32_t *row_words = strip->words;
    const int32_t run = frame->run;
    const int32_t run_bytes = run * frame->full.step;
    out += frame->first;
    for (int32_t row = frame->from.h; row < frame->end.h; ++row) {
        const int32_t whole = row < frame->whole.h ? frame->whole.w : 0;
        const uint32_t *words = row_words;
        int8_t *to = out;
        for (int32_t column = frame->from.w; column < frame->end.w; column += run) {
            const struct cq_place *const place =
                column < whole ? &frame->full : cq_frame_cut(frame, strip, row, column);
            const uint8_t *const x = (const uint8_t *)words;
            if (output->form == CQ_ANY) {
                cq_run_sums(x, *taps, output, place, registers, to);
            } else {
                cq_run_segment(x, taps, place->groups, registers);
                cq_store(output, registers, place, to);
            }
            to += run_bytes;
            words += run;
        }
        row_words += strip->row;
        out += frame->row_step;
    }
}

/* Scratch behind the strip and the padding. */
struct cq_sparse_scratch {
    void *chunk;             /* the decoder's */
    int32_t *origins;        /* one a tap */
    struct cq_row *rows;     /* one a row that is kept */
    struct cq_stacks stacks; /* empty */
};

static struct cq_sparse_scratch cq_sparse_scratch_of(const struct cq_strip *strip,
                                                     const struct cq_conv2d_params *params)
{
    const struct cq_sparse *const sparse = &params->sparse;
    const int32_t taps = params->kernel.h * params->kernel.w;
    const int32_t chunk_bytes = 2 * cq_limit(taps * strip->channels, 1, CQ_CHUNK);
    int8_t *const chunk = strip->padding + (strip->channels + 3) / 4 * 4;
    int32_t *const origins = (int32_t *)(void *)(chunk + (chunk_bytes + 3) / 4 * 4);
    struct cq_row *const rows = (struct cq_row *)(void *)(origins + taps);
    uint16_t *const ones = (uint16_t *)(void *)(rows + sparse->kept);
    uint16_t *const twos = ones + sparse->ones;
    uint16_t *const others = twos + sparse->twos;
    const struct cq_sparse_scratch scratch = {
        chunk,
        origins,
        rows,
        {ones, twos, twos, others, others, others + sparse->others, sparse->twos != 0u}};
    return scratch;
}

/* Lists of the next `count` rows, which are the output channels from `channel` on. */
static void cq_sparse_read(struct cq_taps_reader *reader, const struct cq_sparse_scratch *scratch,
                           const struct cq_requant *requant, int32_t channel, int32_t count)
{
    struct cq_row_writer writer = {.to = scratch->stacks};
    for (int32_t row = 0; row < count; ++row) {
        cq_row_read(scratch->rows + row, reader, &scratch->stacks, &writer, requant, channel + row);
    }
}

/*
 * Records of gaps, as they stand, times twelve pixels in lanes of 16 bits, for as many twelves as
 * there are: 15 instructions a weight, whatever it is (Cortex-M4, gcc 12).  `x` is a pitch before
 * the first channel.
 */
typedef void cq_direct_fn(uintptr_t x, int32_t pitch, const int8_t *record, const int8_t *end,
                          uint32_t *registers, const uint32_t *registers_end, int is_first);

#define CQ_MIDDLE 0x80008000u /* lanes that are kept above zero, and made signed by it */

static CQ_INLINE void cq_direct(uintptr_t x, int32_t pitch, const int8_t *record, const int8_t *end,
                                uint32_t *registers, const uint32_t *registers_end, int is_first,
                                uint32_t code_at)
{
    do {
        const int8_t *next = record;
        uintptr_t at = x;
        uint32_t r0 = CQ_MIDDLE;
        uint32_t r1 = CQ_MIDDLE;
        uint32_t r2 = CQ_MIDDLE;
        uint32_t r3 = CQ_MIDDLE;
        uint32_t r4 = CQ_MIDDLE;
        uint32_t r5 = CQ_MIDDLE;
        if (!is_first) {
            r0 ^= registers[0];
            r1 ^= registers[1];
            r2 ^= registers[2];
            r3 ^= registers[3];
            r4 ^= registers[4];
            r5 ^= registers[5];
        }
        while (next != end) {
            const int32_t both = *next++;
            const uint32_t weight = (uint32_t)cq_shift_right(both, code_at);
            uint32_t even;
            uint32_t odd;
            at += (uintptr_t)((both & ((1 << code_at) - 1)) * pitch);
            const uint32_t *const words = (const uint32_t *)at;
            cq_load_words01(words, &even, &odd);
            r0 += even * weight;
            r1 += odd * weight;
            cq_load_words23(words, &even, &odd);
            r2 += even * weight;
            r3 += odd * weight;
            cq_load_words45(words, &even, &odd);
            r4 += even * weight;
            r5 += odd * weight;
        }
        registers[0] = r0 ^ CQ_MIDDLE;
        registers[1] = r1 ^ CQ_MIDDLE;
        registers[2] = r2 ^ CQ_MIDDLE;
        registers[3] = r3 ^ CQ_MIDDLE;
        registers[4] = r4 ^ CQ_MIDDLE;
        registers[5] = r5 ^ CQ_MIDDLE;
        registers += 6;
        x += 24u;
    } while (registers != registers_end);
}

/* True where records lead on, and not out of `channels` channels. */
static inline int cq_direct_fits(const int8_t *record, const int8_t *end, uint32_t code_at,
                                 int32_t channels)
{
    int32_t at = 0;
    for (; record != end; ++record) {
        const int32_t distance = *record & ((1 << code_at) - 1);
        at = distance > 0 ? at + distance : channels + 1;
    }
    return at <= channels;
}

/* Lanes of the next row of a small pointwise convolution, without lists: each weight is used for
 * the whole image as it is read. */
static void cq_row_direct(struct cq_taps_reader *reader, const struct cq_strip *strip,
                          cq_direct_fn *direct, uint32_t *registers)
{
    const uint32_t *const end = registers + 2 * strip->size.w;
    uintptr_t x = (uintptr_t)strip->words - (uintptr_t)reader->pitch;
    for (int32_t left = reader->length; left > 0; left -= CQ_CHUNK) {
        int32_t count;
        const int8_t *const record = (const int8_t *)cq_gap_records(&reader->cursor.codes, &count);
        CQ_ASSERT(cq_direct_fits(record, record + count, 8u - reader->cursor.map.width,
                                 cq_limit(left, 1, CQ_CHUNK)));
        direct(x, reader->pitch, record, record + count, registers, end, left == reader->length);
        x += (uintptr_t)(CQ_CHUNK * reader->pitch);
    }
}

/* One group of channels of a small image. */
CQ_HOT_LOOP static void cq_sparse_group_direct(struct cq_taps_reader *reader,
                                               const struct cq_strip *strip,
                                               const struct cq_conv2d_params *params,
                                               cq_direct_fn *direct, const int8_t *in,
                                               int32_t first_channel, int8_t *out)
{
    const struct cq_pair from = {0, 0};
    struct cq_frame frame = cq_frame_of(strip, from);
    const struct cq_place *const place = cq_frame_cut(&frame, strip, 0, 0);
    uint32_t registers[2 * CQ_DIRECT_MOST];
    CQ_ASSERT(strip->size.w % CQ_DIRECT_WORDS == 0 && strip->size.w <= CQ_DIRECT_MOST);
    cq_strip_gather(strip, params, in, from);
    const int32_t end = first_channel + params->out.c / params->groups;
    for (int32_t channel = first_channel; channel < end; ++channel) {
        struct cq_output output;
        cq_row_direct(reader, strip, direct, registers);
        cq_row_output(&output, &params->requant, channel, reader->unit, 0);
        if (output.form == CQ_ANY) {
            cq_store_registers(&output, registers, place, out + channel);
        } else {
            cq_store(&output, registers, place, out + channel);
        }
    }
}

/* One group of channels.  Either all its rows are kept as lists, or each is read again for each
 * strip. */
static void cq_sparse_group(struct cq_taps_reader *reader, const struct cq_strip *strip,
                            const struct cq_conv2d_params *params,
                            const struct cq_sparse_scratch *scratch, const int8_t *in,
                            int32_t first_channel, int8_t *out)
{
    const int32_t channels = params->out.c / params->groups;
    const int is_kept = params->sparse.kept == channels;
    const struct cq_cursor start = reader->cursor;
    struct cq_pair from;
    if (is_kept) {
        cq_sparse_read(reader, scratch, &params->requant, first_channel, channels);
    }
    for (from.h = 0; from.h < strip->rows; from.h += strip->size.h) {
        for (from.w = 0; from.w < strip->columns; from.w += strip->size.w) {
            const struct cq_row *row = scratch->rows;
            struct cq_frame frame = cq_frame_of(strip, from);
            cq_strip_gather(strip, params, in, from);
            if (!is_kept) {
                reader->cursor = start;
            }
            for (int32_t channel = 0; channel < channels; ++channel) {
                if (!is_kept) {
                    cq_sparse_read(reader, scratch, &params->requant, first_channel + channel, 1);
                }
                const struct cq_taps taps = cq_row_taps(row, &scratch->stacks);
                cq_strip_channel(strip, &frame, &taps, &row->output, out + first_channel + channel);
                row += is_kept;
            }
        }
    }
}

CQ_SELDOM static enum cq_status cq_conv2d_sparse(const struct cq_decoder *decoder,
                                                 cq_direct_fn *direct, uint32_t bits,
                                                 const struct cq_conv2d_params *params,
                                                 const int8_t *in, int8_t *out, void *memory)
{
    const struct cq_strip strip = cq_strip_of(params, memory);
    const struct cq_sparse_scratch scratch = cq_sparse_scratch_of(&strip, params);
    struct cq_weights weights = params->weights;
    struct cq_taps_reader reader;
    reader.unit = 1;
    if (bits == 2u && weights.levels == NULL) {
        /* lanes count how often the only magnitude was added */
        reader.unit = weights.gap + 1;
        weights.gap = 0u;
    }
    reader.length = params->kernel.h * params->kernel.w * strip.channels;
    reader.pitch = strip.pitch * 4;
    reader.span = strip.channels * reader.pitch;
    reader.origins = scratch.origins;
    reader.origins_end = scratch.origins + params->kernel.h * params->kernel.w;
    reader.is_split = params->sparse.is_split;
    reader.has_gaps = decoder == &cq_gap && !reader.is_split;
    reader.chunk = scratch.chunk;
    reader.decoder = decoder;
    decoder->init(&reader.cursor, &weights, bits, params->out.c * reader.length);
    cq_fill(strip.padding, params->in_zero, strip.channels);
    cq_strip_origins(&strip, params, scratch.origins);
    for (int32_t group = 0; group < params->groups; ++group) {
        const int32_t first_channel = group * (params->out.c / params->groups);
        const int8_t *const group_in = in + group * strip.channels;
        if (params->sparse.kept == 0) {
            cq_sparse_group_direct(&reader, &strip, params, direct, group_in, first_channel, out);
        } else {
            cq_sparse_group(&reader, &strip, params, &scratch, group_in, first_channel, out);
        }
    }
    return CQ_OK;
}

#endif
