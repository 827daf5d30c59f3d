/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of places: one load finds a place, another what stands there. */
#ifndef CODEQ_SRC_LINEAR_SPARSE_CSR_DSP_H
#define CODEQ_SRC_LINEAR_SPARSE_CSR_DSP_H

#include "../decode/csr.h"
#include "../rows.h"
#include "rows_dsp.h"

/* Four cases that fall through. */
#define CQ_CASES(macro, n) macro(n) macro((n) - 1) macro((n) - 2) macro((n) - 3)

/* Four values and minus each of them, in 16 bits. */
static inline void cq_csr_both(uint32_t word, uint32_t *to)
{
    const uint32_t even = cq_sxtb16(word);
    const uint32_t odd = cq_sxtb16_ror8(word);
    const uint32_t minus_even = cq_ssub16(0u, even);
    const uint32_t minus_odd = cq_ssub16(0u, odd);
    cq_put_two(to, cq_pkhbt(even, minus_even), cq_pkhbt(odd, minus_odd));
    cq_put_two(to + 2, cq_pkhtb(even, minus_even), cq_pkhtb(odd, minus_odd));
}

/* A vector for signs: a record is the place of a value, or of minus it. */
static void cq_csr_widen(const struct cq_records *records, const int8_t *in, uint32_t *to)
{
    int32_t left = records->length;
    for (; left >= 4; left -= 4, to += 4) {
        cq_csr_both(cq_next4(&in), to);
    }
    if (left > 0) {
        cq_csr_both(cq_last_bytes(in, left), to);
    }
}

/* A list of signs: three instructions a record, and five for the list (Cortex-M4, gcc 12). */
static CQ_INLINE int32_t cq_csr_signs_dsp(struct cq_records *records, int32_t first, int32_t acc)
{
    const int16_t *const x = (const int16_t *)records->x + 2 * first;
    CQ_ASSERT(cq_csr_has_list(&records->stream, 2u));
    const uint8_t *at = records->stream.at;
    uint32_t left = *at++;
#define CQ_RECORD                                                                                  \
    do {                                                                                           \
        const uint32_t record = *at++;                                                             \
        CQ_ASSERT(record / 2u < (uint32_t)(records->length - first));                              \
        acc += x[record];                                                                          \
    } while (0)
#define CQ_CASE(n)                                                                                 \
    case n:                                                                                        \
        CQ_RECORD;                                                                                 \
        CQ_FALLTHROUGH;
    for (;;) {
        switch (left) {
        default:
            CQ_RECORD;
            CQ_RECORD;
            CQ_RECORD;
            CQ_RECORD;
            CQ_RECORD;
            CQ_RECORD;
            CQ_RECORD;
            CQ_RECORD;
            /* gcc would count in places */
            left = cq_in_register(left - 8u);
            continue;
            CQ_CASES(CQ_CASE, 20)
            CQ_CASES(CQ_CASE, 16)
            CQ_CASES(CQ_CASE, 12)
            CQ_CASES(CQ_CASE, 8)
            CQ_CASES(CQ_CASE, 4)
        case 0:
            records->stream.at = at;
            return acc;
        }
    }
#undef CQ_CASE
#undef CQ_RECORD
}

CQ_RECORDS_WAY(cq_csr_signs_dsp, CQ_CSR_SIGNS)

/* Pair `left` of a group as lanes, from the last one, 0, on: codes at the top of 16 bits, or bytes.
 */
static CQ_INLINE uint32_t cq_csr_lanes(uint32_t bits, uint32_t codes, uint32_t left, uint32_t mask)
{
    if (bits == 4u) {
        return codes << (12u - 4u * left) & mask;
    }
    return left == 0u ? cq_sxtb16(codes) : cq_sxtb16_ror8(codes);
}

/* Two records: three instructions each, and one for both codes. */
static CQ_INLINE int32_t cq_csr_pair(uint32_t lanes, const int8_t *x, int32_t length,
                                     const int8_t **at, int32_t sum)
{
    const uint32_t place0 = cq_next1(at);
    const uint32_t place1 = cq_next1(at);
    CQ_ASSERT(place0 < (uint32_t)length && place1 < (uint32_t)length);
    (void)length;
    sum = cq_smlabb((uint32_t)x[place0], lanes, sum);
    return cq_smlabt((uint32_t)x[place1], lanes, sum);
}

/*
 * A list of codes of 4 bits or of bytes, a word of which belongs to each group of places.  Shifted
 * to the top of 16 bits lanes hold 2^12 times codes of 4 bits: nothing is extended, and the shift
 * of a mask is free.  At most 256 products of 22 bits are added before they are brought down.
 */
static CQ_INLINE int32_t cq_csr_codes(uint32_t bits, struct cq_records *records, int32_t first,
                                      int32_t acc)
{
    const uint32_t mask = cq_in_register(UINT32_C(0xf000f000));
    const uint32_t group = CQ_CSR_GROUP(bits);
    const int8_t *const x = (const int8_t *)records->x + first;
    const int32_t length = records->length - first;
    CQ_ASSERT(cq_csr_has_list(&records->stream, bits));
    const int8_t *at = (const int8_t *)records->stream.at;
    uint32_t left = cq_next1(&at);
    uint32_t codes = cq_next4(&at);
    uint32_t further = 0u; /* passes of all 16 cases */
    int32_t sum = 0;
#define CQ_CASE(n)                                                                                 \
    case n:                                                                                        \
        sum =                                                                                      \
            cq_csr_pair(cq_csr_lanes(bits, codes, ((n) - 1u) % group, mask), x, length, &at, sum); \
        if ((n) > 1u && ((n) - 1u) % group == 0u) {                                                \
            codes = cq_next4(&at);                                                                 \
        }                                                                                          \
        CQ_FALLTHROUGH;
    for (;;) {
        switch (left) {
        default:
            further = (left - 1u) / 16u;
            left = (left - 1u) % 16u + 1u;
            continue;
            CQ_CASES(CQ_CASE, 16u)
            CQ_CASES(CQ_CASE, 12u)
            CQ_CASES(CQ_CASE, 8u)
            CQ_CASES(CQ_CASE, 4u)
        case 0:
            break;
        }
        if (further == 0u) {
            records->stream.at = (const uint8_t *)at;
            return acc + cq_shift_right(sum, bits == 4u ? 12u : 0u);
        }
        further -= 1u;
        left = 16u;
        codes = cq_next4(&at);
    }
#undef CQ_CASE
}

static CQ_INLINE int32_t cq_csr_nibbles_dsp(struct cq_records *records, int32_t first, int32_t acc)
{
    return cq_csr_codes(4u, records, first, acc);
}

static CQ_INLINE int32_t cq_csr_bytes_dsp(struct cq_records *records, int32_t first, int32_t acc)
{
    return cq_csr_codes(8u, records, first, acc);
}

CQ_RECORDS_WAY(cq_csr_nibbles_dsp, CQ_CHUNK)
CQ_RECORDS_WAY(cq_csr_bytes_dsp, CQ_CHUNK)

#endif
