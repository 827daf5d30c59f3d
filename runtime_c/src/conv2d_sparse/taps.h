/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of weights as lists of places in a strip, in segments whose sums fit a lane.  Spec:
 * NUMERICS.md [conv2d-C7]. */
#ifndef CODEQ_SRC_CONV2D_SPARSE_TAPS_H
#define CODEQ_SRC_CONV2D_SPARSE_TAPS_H

#include "../attributes.h"
#include "../decode/gap.h"
#include "lanes.h"
#include "store.h"
#include "strip.h"

#define CQ_END 1u /* places are multiples of 4: this one ends a list */

/*
 * Entries of 16 bits in three stacks.  An entry is the byte offset of a place in the strip; those
 * of weights -1 and -2 are written upwards from the beginning of their stack, those of 1 and 2
 * downwards from its end.  Others are a place and a negated weight each; before them stand, for
 * each segment, what lanes are subtracted from and what they start with.  CQ_END closes all lists
 * of a segment.  Weights 2 and -2 may be among the others instead.
 */
struct cq_stacks {
    uint16_t *minus, *plus;   /* 1 */
    uint16_t *minus2, *plus2; /* 2 */
    uint16_t *others;
    const uint16_t *end; /* of the others */
    int has_twos;        /* weights 2 and -2 have lists of their own */
};

/* The lists of one row. */
struct cq_taps {
    const uint16_t *minus, *plus, *minus2, *plus2, *others;
    uint32_t start; /* of lanes, */
    uint32_t from;  /* and what they are subtracted from */
    int32_t segments;
    int has_twos; /* there are lists of weights 2 and -2, and something is in them */
};

/* The same, to be kept: entries from the beginning of the first stack; and what sums become. */
struct cq_row {
    uint16_t minus, plus, minus2, plus2, others;
    uint16_t segments;
    struct cq_output output;
};

/* Rows of a stream, and where their taps begin in the strip. */
struct cq_taps_reader {
    const struct cq_decoder *decoder;
    struct cq_cursor cursor;
    int32_t length;         /* weights of a row */
    int32_t pitch;          /* bytes from a channel to the next */
    int32_t span;           /* bytes from a tap's first channel to what is behind its last */
    const int32_t *origins; /* byte offset of each tap's first channel */
    const int32_t *origins_end;
    int is_split; /* some row has several segments */
    int has_gaps; /* none has, and records of gaps are read as they stand */
    int32_t unit; /* lanes count multiples of it */
    void *chunk;  /* scratch of the decoder */
};

/* A weight that is neither 1 nor -1.  Each stack keeps room for what closes its lists. */
static CQ_INLINE void cq_stacks_push_other(struct cq_stacks *to, int32_t entry, int32_t weight)
{
    const int32_t magnitude = weight < 0 ? -weight : weight;
    if (magnitude != 2 || !to->has_twos) {
        CQ_ASSERT(to->end - to->others > 2);
        to->others[0] = (uint16_t)entry;
        to->others[1] = (uint16_t)-weight;
        to->others += 2;
    } else if (weight > 0) {
        CQ_ASSERT(to->plus2 - to->minus2 > 2);
        *--to->plus2 = (uint16_t)entry;
    } else {
        CQ_ASSERT(to->plus2 - to->minus2 > 2);
        *to->minus2++ = (uint16_t)entry;
    }
}

static inline void cq_stacks_push(struct cq_stacks *to, int32_t entry, int32_t weight)
{
    if (weight == 1) {
        CQ_ASSERT(to->plus - to->minus > 2);
        *--to->plus = (uint16_t)entry;
    } else if (weight == -1) {
        CQ_ASSERT(to->plus - to->minus > 2);
        *to->minus++ = (uint16_t)entry;
    } else {
        cq_stacks_push_other(to, entry, weight);
    }
}

/* The tap that a place belongs to. */
struct cq_tap {
    const int32_t *next; /* origin of the next one */
    int32_t place;       /* a weight's: its tap is this one, or one behind it */
    int32_t end;         /* what is behind the tap's last place */
};

/* Chunks begin at multiples of CQ_CHUNK weights from here. */
static inline struct cq_tap cq_tap_first(const struct cq_taps_reader *reader)
{
    const int32_t origin = reader->origins[0];
    const struct cq_tap tap = {reader->origins + 1, origin, origin + reader->span};
    return tap;
}

/* Move on to the tap of the place. */
static CQ_INLINE void cq_tap_find(struct cq_tap *tap, const struct cq_taps_reader *reader,
                                  int32_t span)
{
    while (tap->place >= tap->end) {
        CQ_ASSERT(tap->next != reader->origins_end);
        tap->place += *tap->next - tap->end;
        tap->end = *tap->next++ + span;
    }
}

/* Records of one chunk, on which `tap` has not met any: 15 instructions for a weight of 1
 * (Cortex-M4, gcc 12). */
CQ_FAST_CODE CQ_HOT_LOOP static void cq_gaps_read(const int8_t *record, const int8_t *end,
                                                  struct cq_tap tap,
                                                  const struct cq_taps_reader *reader,
                                                  struct cq_stacks *stacks)
{
    const uint32_t code_at = 8u - reader->cursor.map.width;
    const int32_t distances = (1 << code_at) - 1;
    const int32_t pitch = reader->pitch;
    uint16_t *minus = stacks->minus;
    uint16_t *plus = stacks->plus;
    tap.place -= pitch;
    while (record != end) {
        const int32_t both = *record++;
        const int32_t weight = cq_shift_right(both, code_at);
        CQ_ASSERT((both & distances) != 0);
        tap.place += (both & distances) * pitch;
        if (weight != 0) {
            cq_tap_find(&tap, reader, reader->span);
            if (weight == 1) {
                CQ_ASSERT(plus - minus > 2);
                *--plus = (uint16_t)tap.place;
            } else if (weight == -1) {
                CQ_ASSERT(plus - minus > 2);
                *minus++ = (uint16_t)tap.place;
            } else {
                cq_stacks_push_other(stacks, tap.place, weight);
            }
        }
    }
    stacks->minus = minus;
    stacks->plus = plus;
}

/* A row of one segment whose gaps are read as they stand. */
static void cq_row_read_gaps(struct cq_taps_reader *reader, struct cq_stacks *stacks)
{
    struct cq_tap tap = cq_tap_first(reader);
    for (int32_t left = reader->length; left > 0; left -= CQ_CHUNK) {
        int32_t count;
        const int8_t *const record = (const int8_t *)cq_gap_records(&reader->cursor.codes, &count);
        cq_gaps_read(record, record + count, tap, reader, stacks);
        tap.place += CQ_CHUNK * reader->pitch;
    }
}

/* Rows that are being read. */
struct cq_row_writer {
    struct cq_stacks to;
    /* the open segment: where its lists begin, what stands before its others, */
    const uint16_t *minus, *plus, *minus2, *plus2;
    uint16_t *head;
    int32_t segments; /* and those of the row that are closed */
};

static inline void cq_segment_open(struct cq_row_writer *writer)
{
    CQ_ASSERT(writer->to.end - writer->to.others > 2);
    writer->minus = writer->to.minus;
    writer->plus = writer->to.plus;
    writer->minus2 = writer->to.minus2;
    writer->plus2 = writer->to.plus2;
    writer->head = writer->to.others;
    writer->to.others += 2;
}

/* Put the sums of the open segment in front of its others, and close its lists. */
CQ_NOINLINE static void cq_segment_close(struct cq_row_writer *writer)
{
    struct cq_stacks *const to = &writer->to;
    uint16_t *const head = writer->head;
    const int32_t ones = (int32_t)(writer->plus - to->plus);
    int32_t below = (int32_t)(to->minus - writer->minus);
    int32_t above = 0; /* without 1 */
    for (const uint16_t *other = head + 2; other != to->others; other += 2) {
        const int32_t negated = (int16_t)other[1];
        if (negated > 0) {
            below += negated;
        } else {
            above -= negated;
        }
    }
    if (to->has_twos) {
        CQ_ASSERT(to->plus2 - to->minus2 >= 2);
        below += 2 * (int32_t)(to->minus2 - writer->minus2);
        above += 2 * (int32_t)(writer->plus2 - to->plus2);
        *to->minus2++ = CQ_END;
        *--to->plus2 = CQ_END;
    }
    CQ_ASSERT(ones + above + below <= CQ_LANE_BUDGET);
    CQ_ASSERT(to->plus - to->minus >= 2 && to->others != to->end);
    *to->minus++ = CQ_END;
    *--to->plus = CQ_END;
    *to->others++ = CQ_END;
    /* every input has 128 in excess */
    head[0] = (uint16_t)(CQ_LANE_START * above - 128 * (ones + above - below));
    head[1] = (uint16_t)(CQ_LANE_START * above);
    writer->segments += 1;
}

/* A row of any packing, in as many segments as it needs. */
CQ_FAST_CODE CQ_HOT_LOOP static void cq_row_read_pairs(struct cq_taps_reader *reader,
                                                       struct cq_row_writer *writer)
{
    struct cq_tap first = cq_tap_first(reader);
    int32_t held = 0;
    for (int32_t left = reader->length; left > 0; left -= CQ_CHUNK) {
        const struct cq_chunk chunk =
            reader->decoder->next(&reader->cursor, cq_limit(left, 1, CQ_CHUNK), reader->chunk);
        const struct cq_nonzero *nonzero = chunk.data;
        struct cq_tap tap = first;
        int32_t offset = 0;
        for (const struct cq_nonzero *const end = nonzero + chunk.count; nonzero != end;
             ++nonzero) {
            const int32_t weight = nonzero->weight;
            if (reader->is_split) {
                const int32_t magnitude = weight < 0 ? -weight : weight;
                held += magnitude;
                if (held > CQ_LANE_BUDGET) {
                    cq_segment_close(writer);
                    cq_segment_open(writer);
                    held = magnitude;
                }
            }
            tap.place += (nonzero->offset - offset) * reader->pitch;
            offset = nonzero->offset;
            cq_tap_find(&tap, reader, reader->span);
            cq_stacks_push(&writer->to, tap.place, weight);
        }
        first.place += CQ_CHUNK * reader->pitch;
    }
}

/* How far a stack has been filled. */
static inline uint16_t cq_stack_at(const struct cq_stacks *base, const uint16_t *at)
{
    return (uint16_t)(at - base->minus);
}

/* What the sums of an output channel become; cq_output_of(). */
CQ_NOINLINE static void cq_row_output(struct cq_output *output, const struct cq_requant *requant,
                                      int32_t channel, int32_t unit, int is_split)
{
    *output = cq_output_of(cq_load_channel(requant, channel), unit, is_split);
}

/* Lists of the next row, which is output channel `channel`, onto the stacks, which begin at `base`;
 * lanes count multiples of `unit`. */
static void cq_row_read(struct cq_row *row, struct cq_taps_reader *reader,
                        const struct cq_stacks *base, struct cq_row_writer *writer,
                        const struct cq_requant *requant, int32_t channel)
{
    writer->segments = 0;
    cq_segment_open(writer);
    row->minus = cq_stack_at(base, writer->minus);
    row->plus = cq_stack_at(base, writer->plus);
    row->minus2 = cq_stack_at(base, writer->minus2);
    row->plus2 = cq_stack_at(base, writer->plus2);
    row->others = cq_stack_at(base, writer->head);
    if (reader->has_gaps) {
        cq_row_read_gaps(reader, &writer->to);
    } else {
        cq_row_read_pairs(reader, writer);
    }
    cq_segment_close(writer);
    row->segments = (uint16_t)writer->segments;
    cq_row_output(&row->output, requant, channel, reader->unit, writer->segments > 1);
}

/* True where one of the lists of weights 2 and -2 is not empty. */
static inline int cq_taps_have_twos(const struct cq_taps *taps)
{
    return taps->plus2[-1] != CQ_END || *taps->minus2 != CQ_END;
}

/* What stands before the others of a segment. */
static inline void cq_taps_open(struct cq_taps *taps)
{
    taps->from = cq_in_lanes(taps->others[0]);
    taps->start = cq_in_lanes(taps->others[1]);
    taps->others += 2;
}

static inline struct cq_taps cq_row_taps(const struct cq_row *row, const struct cq_stacks *base)
{
    const uint16_t *const at = base->minus;
    struct cq_taps taps = {at + row->minus,
                           at + row->plus,
                           at + row->minus2,
                           at + row->plus2,
                           at + row->others,
                           0u,
                           0u,
                           row->segments,
                           0};
    cq_taps_open(&taps);
    taps.has_twos = base->has_twos && (row->segments > 1 || cq_taps_have_twos(&taps));
    return taps;
}

/** @brief The lists from the next segment on. */
static inline void cq_taps_skip(struct cq_taps *taps)
{
    while (*taps->minus++ != CQ_END) {
    }
    while (*--taps->plus != CQ_END) {
    }
    if (taps->has_twos) {
        while (*taps->minus2++ != CQ_END) {
        }
        while (*--taps->plus2 != CQ_END) {
        }
    }
    for (; *taps->others != CQ_END; taps->others += 2) {
    }
    taps->others += 1;
    cq_taps_open(taps);
}

#endif
