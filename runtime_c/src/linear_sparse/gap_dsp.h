/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks of gaps: places are sums of distances. */
#ifndef CODEQ_SRC_LINEAR_SPARSE_GAP_DSP_H
#define CODEQ_SRC_LINEAR_SPARSE_GAP_DSP_H

#include "../decode/gap.h"
#include "rows_dsp.h"

/* What the width of a code says about the records of a word. */
struct cq_gap_masks {
    uint32_t distances; /* in every byte */
    uint32_t codes;     /* in the upper byte of each half */
};

/*
 * Four records: 16 instructions, 34 for eight with the loop (Cortex-M4, gcc 12).  Codes stand in
 * the upper bits of 16, so that the sum is 2^(16 - bits) times what it should be; a record that
 * only skips or fills up adds nothing.
 */
static inline int32_t cq_gap_word(uint32_t word, struct cq_gap_masks masks, const int8_t *x,
                                  int32_t length, uint32_t *place, int32_t sum)
{
    const uint32_t distances = word & masks.distances;
    const uint32_t even = word << 8 & masks.codes;
    const uint32_t odd = word & masks.codes;
    const uint32_t place0 = cq_uxtab(*place, distances);
    const uint32_t place1 = cq_uxtab_ror8(place0, distances);
    const uint32_t place2 = cq_uxtab_ror16(place1, distances);
    const uint32_t place3 = cq_uxtab_ror24(place2, distances);
    *place = place3;
    CQ_ASSERT(place0 < (uint32_t)length && place3 < (uint32_t)length);
    (void)length;
    sum = cq_smlabb((uint32_t)x[place0], even, sum);
    sum = cq_smlabb((uint32_t)x[place1], odd, sum);
    sum = cq_smlabt((uint32_t)x[place2], even, sum);
    return cq_smlabt((uint32_t)x[place3], odd, sum);
}

/* Of a block at most 256 products of 22 bits are added before they are brought down. */
static CQ_INLINE int32_t cq_gap_records_dsp(struct cq_records *records, int32_t first, int32_t acc)
{
    const uint32_t reach = (1u << (8u - records->bits)) - 1u;
    const struct cq_gap_masks masks = {reach * 0x01010101u, (0xffu - reach) * 0x01000100u};
    const int8_t *const x = (const int8_t *)records->x + first;
    const int32_t length = records->length - first;
    int32_t words;
    const int8_t *at = (const int8_t *)cq_gap_block(&records->stream, &words);
    const int8_t *const end = at + 4 * words;
    uint32_t place = UINT32_MAX; /* one before the first */
    int32_t sum = 0;
    if ((words & 1) != 0) {
        sum = cq_gap_word(cq_next4(&at), masks, x, length, &place, sum);
    }
    while (at != end) {
        sum = cq_gap_word(cq_next4(&at), masks, x, length, &place, sum);
        sum = cq_gap_word(cq_next4(&at), masks, x, length, &place, sum);
    }
    return acc + cq_shift_right(sum, 16u - records->bits);
}

CQ_RECORDS_WAY(cq_gap_records_dsp, CQ_CHUNK)

#endif
