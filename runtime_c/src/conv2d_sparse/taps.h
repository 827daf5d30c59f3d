/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of weights as lists of places in a strip, in segments whose sums fit a lane.  Spec:
 * NUMERICS.md [conv2d-C7]. */
#ifndef CODEQ_SRC_CONV2D_SPARSE_TAPS_H
#define CODEQ_SRC_CONV2D_SPARSE_TAPS_H

#include "../attributes.h"
#include "../decode/gap.h"
#include "lanes.h"
#include "strip.h"

#define CQ_END 1u /* places are multiples of 4: this one ends a list */

/*
 * Entries of 16 bits in three stacks.  An entry is the byte offset of a place in the strip; those
 * of weights -1 and -2 are written upwards from the beginning of their stack, those of 1 and 2
 * downwards from its end.  Others are a place and a weight each; before them stands, for each
 * segment, sum |w| of all its weights below zero, and the number of its weights 2.  CQ_END closes
 * all five lists of a segment.
 */
struct cq_stacks {
    uint16_t *minus, *plus;   /* 1 */
    uint16_t *minus2, *plus2; /* 2 */
    uint16_t *others;
    const uint16_t *end; /* of the others */
};

/* The lists of one row. */
struct cq_taps {
    const uint16_t *minus, *plus, *minus2, *plus2, *others;
    int32_t segments;
};

/* The same, to be kept: entries counted from the beginning of each stack. */
struct cq_row_lists {
    uint16_t minus, plus, minus2, plus2, others;
    uint16_t segments;
    int32_t magnitude;  /* sum |w| */
    int32_t correction; /* what the lanes hold in excess of the products, negated */
};

/* Rows of a stream, and where their taps begin in the strip. */
struct cq_taps_reader {
    const struct cq_decoder *decoder;
    struct cq_cursor cursor;
    int32_t length;         /* weights of a row */
    int32_t channels;       /* weights of a tap */
    int32_t pitch;          /* bytes from a channel to the next */
    const int32_t *origins; /* byte offset of each tap's first channel */
    int is_split;           /* some row has several segments */
    void *chunk;            /* scratch of the decoder */
};

/* A row that is being read. */
struct cq_row_writer {
    struct cq_stacks to;
    struct cq_stacks start; /* of the open segment */
    int32_t magnitude;      /* of the segment: sum |w| of weights that are neither 1 nor -1, */
    int32_t sum;            /* and their sum */
};

static inline int32_t cq_segment_ones(const struct cq_row_writer *writer)
{
    return (int32_t)((writer->start.plus - writer->to.plus) +
                     (writer->to.minus - writer->start.minus));
}

static inline void cq_segment_open(struct cq_row_writer *writer)
{
    CQ_ASSERT(writer->to.end - writer->to.others > 2);
    writer->start = writer->to;
    writer->to.others += 2;
    writer->magnitude = 0;
    writer->sum = 0;
}

/* By value: a writer whose address is known elsewhere would not stay in registers. */
CQ_NOINLINE static struct cq_stacks cq_segment_close(struct cq_row_writer writer,
                                                     struct cq_row_lists *row)
{
    const struct cq_stacks start = writer.start;
    struct cq_stacks to = writer.to;
    const int32_t magnitude = writer.magnitude + cq_segment_ones(&writer);
    const int32_t sum = writer.sum + (int32_t)((start.plus - to.plus) - (to.minus - start.minus));
    const int32_t below = (magnitude - sum) / 2;
    CQ_ASSERT(magnitude <= CQ_LANE_BUDGET);
    CQ_ASSERT(to.plus - to.minus >= 2 && to.plus2 - to.minus2 >= 2 && to.others != to.end);
    start.others[0] = (uint16_t)below;
    start.others[1] = (uint16_t)(start.plus2 - to.plus2);
    *to.minus++ = CQ_END;
    *to.minus2++ = CQ_END;
    *--to.plus = CQ_END;
    *--to.plus2 = CQ_END;
    *to.others++ = CQ_END;
    row->segments = (uint16_t)(row->segments + 1u);
    row->magnitude += magnitude;
    /* lanes start with 255 for each unit below zero, and every input has 128 in excess */
    row->correction -= 255 * below + 128 * sum;
    return to;
}

/* Each stack keeps room for what closes its lists. */
static CQ_INLINE void cq_row_push(struct cq_row_writer *writer, int32_t entry, int32_t weight)
{
    struct cq_stacks *const to = &writer->to;
    if (weight == 1) {
        CQ_ASSERT(to->plus - to->minus > 2);
        *--to->plus = (uint16_t)entry;
    } else if (weight == -1) {
        CQ_ASSERT(to->plus - to->minus > 2);
        *to->minus++ = (uint16_t)entry;
    } else {
        writer->sum += weight;
        writer->magnitude += weight < 0 ? -weight : weight;
        if (weight == 2) {
            CQ_ASSERT(to->plus2 - to->minus2 > 2);
            *--to->plus2 = (uint16_t)entry;
        } else if (weight == -2) {
            CQ_ASSERT(to->plus2 - to->minus2 > 2);
            *to->minus2++ = (uint16_t)entry;
        } else {
            CQ_ASSERT(to->end - to->others > 2);
            to->others[0] = (uint16_t)entry;
            to->others[1] = (uint16_t)weight;
            to->others += 2;
        }
    }
}

/* The tap that the next weights of a row belong to. */
struct cq_tap {
    const int32_t *next; /* origin of the next one */
    int32_t end;         /* its weights, counted from the chunk's first on */
    int32_t origin;      /* what is added to the offset of the chunk's weights */
};

/* The entry of a weight, which is not before those that were asked for earlier. */
static CQ_INLINE int32_t cq_tap_entry(struct cq_tap *tap, int32_t channels, int32_t pitch,
                                      int32_t place)
{
    while (place >= tap->end) {
        tap->origin = *tap->next++ - tap->end * pitch;
        tap->end += channels;
    }
    return tap->origin + place * pitch;
}

/* A weight of the row, in a segment of its own if it does not fit into the open one. */
static CQ_INLINE void cq_row_add(struct cq_row_writer *writer, struct cq_row_lists *row,
                                 int32_t entry, int32_t weight, int is_split)
{
    if (is_split && writer->magnitude + cq_segment_ones(writer) + (weight < 0 ? -weight : weight) >
                        CQ_LANE_BUDGET) {
        writer->to = cq_segment_close(*writer, row);
        cq_segment_open(writer);
    }
    cq_row_push(writer, entry, weight);
}

/*
 * Decode the next row onto the stacks, which begin at `base`; without `is_split` every row is one
 * segment.  Gaps are not worth a list of their own: they are read as they stand.
 */
static CQ_INLINE void cq_row_read(struct cq_row_lists *row, struct cq_taps_reader *reader,
                                  const struct cq_stacks *base, struct cq_stacks *stacks,
                                  int is_split, int is_gap)
{
    struct cq_row_writer writer;
    const int32_t pitch = reader->pitch;
    const int32_t channels = reader->channels;
    const uint32_t code_at = 8u - reader->cursor.map.width;
    struct cq_tap tap = {reader->origins + 1, channels, reader->origins[0]};
    writer.to = *stacks;
    cq_segment_open(&writer);
    row->minus = (uint16_t)(writer.start.minus - base->minus);
    row->plus = (uint16_t)(writer.start.plus - base->minus);
    row->minus2 = (uint16_t)(writer.start.minus2 - base->minus2);
    row->plus2 = (uint16_t)(writer.start.plus2 - base->minus2);
    row->others = (uint16_t)(writer.start.others - base->others);
    row->segments = 0u;
    row->magnitude = 0;
    row->correction = 0;
    for (int32_t left = reader->length; left > 0; left -= CQ_CHUNK) {
        if (is_gap) {
            int32_t place = -1;
            int32_t records;
            const uint8_t *record = cq_gap_records(&reader->cursor.codes, &records);
            for (const uint8_t *const end = record + records; record != end; ++record) {
                const int32_t weight = cq_shift_right((int8_t)*record, code_at);
                const uint32_t distance = *record & ((1u << code_at) - 1u);
                CQ_ASSERT(distance != 0u);
                place += (int32_t)distance;
                if (weight != 0) {
                    CQ_ASSERT(place < cq_limit(left, 1, CQ_CHUNK));
                    cq_row_add(&writer, row, cq_tap_entry(&tap, channels, pitch, place), weight,
                               is_split);
                }
            }
        } else {
            const struct cq_chunk chunk =
                reader->decoder->next(&reader->cursor, cq_limit(left, 1, CQ_CHUNK), reader->chunk);
            const struct cq_nonzero *nonzero = chunk.data;
            for (const struct cq_nonzero *const end = nonzero + chunk.count; nonzero != end;
                 ++nonzero) {
                cq_row_add(&writer, row, cq_tap_entry(&tap, channels, pitch, nonzero->offset),
                           nonzero->weight, is_split);
            }
        }
        tap.end -= CQ_CHUNK;
        tap.origin += CQ_CHUNK * pitch;
    }
    *stacks = cq_segment_close(writer, row);
}

CQ_FAST_CODE CQ_NOINLINE static void cq_row_read_whole(struct cq_row_lists *row,
                                                       struct cq_taps_reader *reader,
                                                       const struct cq_stacks *base,
                                                       struct cq_stacks *stacks)
{
    cq_row_read(row, reader, base, stacks, 0, 0);
}

CQ_FAST_CODE CQ_NOINLINE static void cq_row_read_whole_gap(struct cq_row_lists *row,
                                                           struct cq_taps_reader *reader,
                                                           const struct cq_stacks *base,
                                                           struct cq_stacks *stacks)
{
    cq_row_read(row, reader, base, stacks, 0, 1);
}

CQ_FAST_CODE CQ_NOINLINE static void cq_row_read_split(struct cq_row_lists *row,
                                                       struct cq_taps_reader *reader,
                                                       const struct cq_stacks *base,
                                                       struct cq_stacks *stacks)
{
    cq_row_read(row, reader, base, stacks, 1, 0);
}

static inline struct cq_taps cq_row_taps(const struct cq_row_lists *row,
                                         const struct cq_stacks *base)
{
    const struct cq_taps taps = {base->minus + row->minus,   base->minus + row->plus,
                                 base->minus2 + row->minus2, base->minus2 + row->plus2,
                                 base->others + row->others, row->segments};
    return taps;
}

/** @brief The lists from the next segment on. */
static inline void cq_taps_skip(struct cq_taps *taps)
{
    while (*taps->minus++ != CQ_END) {
    }
    while (*--taps->plus != CQ_END) {
    }
    while (*taps->minus2++ != CQ_END) {
    }
    while (*--taps->plus2 != CQ_END) {
    }
    for (taps->others += 2; *taps->others != CQ_END; taps->others += 2) {
    }
    taps->others += 1;
}

#endif
