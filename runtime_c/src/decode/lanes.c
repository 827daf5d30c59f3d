/* SPDX-License-Identifier: Apache-2.0 */
/* Packings `dense` and `ternary` with Helium, a register of weights at a time. */
#include "lanes.h"

#include "../mve.h"

#ifdef CQ_HAS_MVE

#include "dense.h"
#include "ternary.h"

/* Fields of 4 bits that begin at a byte, 16 at a time: every byte is spread over two, each code at
 * the top of its own. */
static inline int32_t cq_lanes_of_4_bits(const uint8_t *at, int32_t count, int8_t *weight)
{
    int32_t done = 0;
    for (; count - done >= 16; done += 16, at += 8) {
        const uint16x8_t pairs = vldrbq_u16(at);
        const uint16x8_t apart = vsliq_n_u16(vshlq_n_u16(pairs, 4), pairs, 8);
        vstrbq_s8(weight + done, vshrq_n_s8(vreinterpretq_s8_u16(apart), 4));
    }
    return done;
}

/* Fields of 2 bits, likewise: every byte is spread over four. */
static inline int32_t cq_lanes_of_2_bits(const uint8_t *at, int32_t count, int8_t *weight)
{
    int32_t done = 0;
    for (; count - done >= 16; done += 16, at += 4) {
        const uint32x4_t fours = vldrbq_u32(at);
        uint32x4_t apart = vsliq_n_u32(vshlq_n_u32(fours, 6), fours, 12);
        apart = vsliq_n_u32(apart, fours, 18);
        apart = vsliq_n_u32(apart, fours, 24);
        vstrbq_s8(weight + done, vshrq_n_s8(vreinterpretq_s8_u32(apart), 6));
    }
    return done;
}

/*
 * Any fields from any bit on, eight at a time, which are as many bytes as a field has bits: the
 * bytes with the first and the last bit of each are gathered, so that none is read that holds no
 * field.
 */
static inline int32_t cq_lanes_of_bits(const uint8_t *at, uint32_t bit, uint32_t width,
                                       int32_t count, int8_t *weight)
{
    const uint16x8_t fields = vmulq_n_u16(vidupq_n_u16(0, 1), (uint16_t)width);
    const uint16x8_t first = vaddq_n_u16(fields, (uint16_t)bit);
    const uint16x8_t low = vshrq_n_u16(first, 3);
    const uint16x8_t high = vshrq_n_u16(vaddq_n_u16(first, (uint16_t)(width - 1u)), 3);
    const uint16x8_t in_byte = vandq_u16(first, vdupq_n_u16(7u));
    const int16x8_t up =
        vreinterpretq_s16_u16(vsubq_u16(vdupq_n_u16((uint16_t)(16u - width)), in_byte));
    int32_t done = 0;
    for (; count - done >= 8; done += 8, at += width) {
        /* where both are one byte it stands twice, and the field is in the lower one */
        const uint16x8_t bytes =
            vsliq_n_u16(vldrbq_gather_offset_u16(at, low), vldrbq_gather_offset_u16(at, high), 8);
        const int16x8_t top = vreinterpretq_s16_u16(vshlq_u16(bytes, up));
        vstrbq_s16(weight + done, vshlq_r_s16(top, (int32_t)width - 16));
    }
    return done;
}

/* Codes become weights, as cq_map_code() has it. */
static inline void cq_map_lanes(struct cq_code_map map, int8_t *weight, int32_t count)
{
    const uint8x16_t mask = vdupq_n_u8((uint8_t)((1u << map.width) - 1u));
    for (; count > 0; count -= 16, weight += 16) {
        const mve_pred16_t lanes = cq_first_lanes(count);
        const int8x16_t code = vldrbq_z_s8(weight, lanes);
        int8x16_t mapped;
        if (map.levels != NULL) {
            const uint8x16_t position = vandq_u8(vreinterpretq_u8_s8(code), mask);
            mapped = vldrbq_gather_offset_z_s8(map.levels, position, lanes);
        } else {
            const int8x16_t sign = vmaxq_s8(vminq_s8(code, vdupq_n_s8(1)), vdupq_n_s8(-1));
            mapped = vmlaq_n_s8(code, sign, (int8_t)map.gap);
        }
        vstrbq_p_s8(weight, mapped, lanes);
    }
}

/* As cq_dense, which decodes what fills no register. */
CQ_FAST_CODE static struct cq_chunk cq_dense_lanes_next(struct cq_cursor *cursor, int32_t count,
                                                        void *scratch)
{
    const struct cq_chunk chunk = {scratch, count};
    const uint32_t width = cursor->map.width;
    struct cq_bits *const codes = &cursor->codes;
    int8_t *const weight = scratch;
    /* a cursor within a byte has taken all of it */
    const uint8_t *const at = codes->at - (codes->count != 0u);
    const uint32_t bit = (8u - codes->count) % 8u;
    int32_t done = 0;
    CQ_ASSERT((uint32_t)count * width <= 8u * (uint32_t)(codes->end - codes->at) + codes->count);
    if (bit == 0u && width == 4u) {
        done = cq_lanes_of_4_bits(at, count, weight);
    } else if (bit == 0u && width == 2u) {
        done = cq_lanes_of_2_bits(at, count, weight);
    } else {
        done = cq_lanes_of_bits(at, bit, width, count, weight);
    }
    const uint32_t next = bit + (uint32_t)done * width;
    *codes = cq_bits_at(at + next / 8u, codes->end);
    if (next % 8u != 0u) {
        (void)cq_bits_take(codes, next % 8u);
    }
    if (cq_maps_codes(cursor->map)) {
        cq_map_lanes(cursor->map, weight, done);
    }
    if (done != count) {
        (void)cq_dense.next(cursor, count - done, weight + done);
    }
    return chunk;
}

/* Digits of 16 bytes, which are stored five apart. */
static inline void cq_lanes_of_digits(const uint8_t *at, int8_t *weight)
{
    const uint8x16_t fifths = vmulq_n_u8(vidupq_n_u8(0, 1), 5u);
    uint8x16_t digits = vldrbq_u8(at);
    for (int32_t i = 0; i < 5; ++i) {
        const uint8x16_t others = vshrq_n_u8(vmulhq_u8(digits, vdupq_n_u8(171u)), 1); /* a third */
        const uint8x16_t lowest = vsubq_u8(digits, vmulq_n_u8(others, 3u));
        const int8x16_t code = vreinterpretq_s8_u8(vsubq_n_u8(lowest, 1u));
        vstrbq_scatter_offset_s8(weight + i, fifths, code);
        digits = others;
    }
}

/* As cq_ternary, which decodes what fills no register. */
CQ_FAST_CODE static struct cq_chunk cq_ternary_lanes_next(struct cq_cursor *cursor, int32_t count,
                                                          void *scratch)
{
    const struct cq_chunk chunk = {scratch, count};
    int8_t *weight = scratch;
    const int32_t ahead = cq_limit((int32_t)cursor->digits_left, 0, count);
    (void)cq_ternary.next(cursor, ahead, weight);
    weight += ahead;
    count -= ahead;
    const int32_t bytes = count / 5;
    CQ_ASSERT(bytes <= cursor->codes.end - cursor->codes.at);
    if (bytes >= 16) {
        /* the last 16 bytes may overlap those before */
        for (int32_t i = 0; i < bytes; i += 16) {
            const int32_t from = cq_limit(i, 0, bytes - 16);
            cq_lanes_of_digits(cursor->codes.at + from, weight + 5 * from);
        }
        cursor->codes.at += bytes;
        weight += 5 * bytes;
        count -= 5 * bytes;
    }
    (void)cq_ternary.next(cursor, count, weight);
    return chunk;
}

const struct cq_decoder cq_dense_lanes = {cq_cursor_init, cq_dense_lanes_next};
const struct cq_decoder cq_ternary_lanes = {cq_cursor_init, cq_ternary_lanes_next};

#endif
