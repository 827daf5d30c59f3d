/* SPDX-License-Identifier: Apache-2.0 */
/* One convolution in all four packings against loops over the definition. */
#include <codeq/conv2d.h>

#include "check.h"

enum { SIZE = 5, CHANNELS = 2, FILTERS = 3, ROW = 3 * 3 * CHANNELS, COUNT = FILTERS * ROW };

static const struct cq_shape image = {SIZE, SIZE, CHANNELS};
static const struct cq_shape result = {SIZE, SIZE, FILTERS};

static int8_t pixel(int32_t y, int32_t x, int32_t c)
{
    return (int8_t)((y * 67 + x * 29 + c * 101 + 13) % 256 - 128);
}

static int8_t weight(int32_t filter, int32_t k)
{
    return (int8_t)((filter * 7 + k * 5 + k * k) % 3 - 1);
}

struct stream {
    uint8_t bytes[COUNT];
    uint32_t bits;
};

static void put(struct stream *stream, uint32_t field, uint32_t width)
{
    for (uint32_t i = 0; i < width; ++i, ++stream->bits) {
        stream->bytes[stream->bits / 8u] |= (uint8_t)((field >> i & 1u) << (stream->bits % 8u));
    }
}

static struct stream dense(void)
{
    struct stream stream = {{0}, 0};
    for (int32_t i = 0; i < COUNT; ++i) {
        put(&stream, (uint32_t)weight(i / ROW, i % ROW) & 3u, 2);
    }
    return stream;
}

static struct stream ternary(void)
{
    struct stream stream = {{0}, 0};
    for (int32_t first = 0; first < COUNT; first += 5) {
        uint32_t byte = 0;
        for (int32_t i = first + 4; i >= first; --i) {
            byte = byte * 3u + (i < COUNT ? (uint32_t)(weight(i / ROW, i % ROW) + 1) : 0u);
        }
        put(&stream, byte, 8);
    }
    return stream;
}

static struct stream bitmask(void)
{
    struct stream stream = {{0}, 0};
    for (int32_t i = 0; i < COUNT; ++i) {
        put(&stream, weight(i / ROW, i % ROW) != 0, 1);
    }
    stream.bits = (stream.bits + 7u) / 8u * 8u;
    for (int32_t i = 0; i < COUNT; ++i) {
        if (weight(i / ROW, i % ROW) != 0) {
            put(&stream, weight(i / ROW, i % ROW) < 0, 1);
        }
    }
    return stream;
}

static struct stream rle(void) /* run fields of 2 bits; 3 is the escape */
{
    struct stream stream = {{0}, 0};
    uint32_t zeros = 0;
    for (int32_t i = 0; i < COUNT; ++i) {
        if (weight(i / ROW, i % ROW) == 0) {
            ++zeros;
            continue;
        }
        for (; zeros >= 3u; zeros -= 3u) {
            put(&stream, 3, 2);
        }
        put(&stream, zeros, 2);
        put(&stream, weight(i / ROW, i % ROW) < 0, 1);
        zeros = 0;
    }
    for (; zeros > 0u; zeros -= zeros < 3u ? zeros : 3u) {
        put(&stream, 3, 2);
    }
    return stream;
}

static void check(cq_conv2d_fn *kernel, const struct stream *stream, uint8_t run_bits)
{
    static const int8_t bias[FILTERS] = {-100, 0, 100};
    static const uint16_t multiplier[1] = {0x8000}; /* 2^30 */
    static const int8_t exponent[1] = {-1};         /* a quarter */
    const struct cq_conv2d_params params = {
        .in = image,
        .out = result,
        .kernel = {3, 3},
        .stride = {1, 1},
        .dilation = {1, 1},
        .pad = {1, 1},
        .groups = 1,
        .tile = 4,
        .in_zero = -9,
        .weights = {stream->bytes, NULL, (stream->bits + 7u) / 8u, 0, run_bits},
        .requant = {.bias = bias,
                    .multiplier = multiplier,
                    .exponent = exponent,
                    .bias_bytes = 1,
                    .multiplier_bytes = 2,
                    .zero_point = 3,
                    .clamp_min = -120,
                    .clamp_max = 120},
    };
    int8_t in[SIZE * SIZE * CHANNELS];
    int8_t out[SIZE * SIZE * FILTERS];
    uint32_t scratch[(4 * ROW + 3) / 4 + (2 * ROW + 3) / 4];
    for (int32_t i = 0; i < SIZE * SIZE * CHANNELS; ++i) {
        in[i] = pixel(i / CHANNELS / SIZE, i / CHANNELS % SIZE, i % CHANNELS);
    }
    CHECK_EQUAL(CQ_OK, kernel(&params, in, out, scratch));

    for (int32_t i = 0; i < SIZE * SIZE * FILTERS; ++i) {
        const int32_t filter = i % FILTERS;
        int32_t acc = bias[filter];
        for (int32_t k = 0; k < ROW; ++k) {
            const int32_t y = i / FILTERS / SIZE + k / CHANNELS / 3 - 1;
            const int32_t x = i / FILTERS % SIZE + k / CHANNELS % 3 - 1;
            const int inside = y >= 0 && y < SIZE && x >= 0 && x < SIZE;
            acc += weight(filter, k) * (inside ? pixel(y, x, k % CHANNELS) : params.in_zero);
        }
        const int32_t half = (acc + 1 + 4096) / 2 - 2048;       /* acc / 2, ties up */
        int32_t quarter = (half < 0 ? half - 1 : half + 1) / 2; /* half / 2, ties away from 0 */
        quarter += 3;
        CHECK_EQUAL(quarter < -120 ? -120 : quarter > 120 ? 120 : quarter, out[i]);
    }
}

int main(void)
{
    const struct stream as_dense = dense();
    const struct stream as_ternary = ternary();
    const struct stream as_bitmask = bitmask();
    const struct stream as_rle = rle();
    check(cq_conv2d_s8_w2_dense_ref, &as_dense, 0);
    check(cq_conv2d_s8_w2_ternary_ref, &as_ternary, 0);
    check(cq_conv2d_s8_w2_bitmask_ref, &as_bitmask, 0);
    check(cq_conv2d_s8_w2_rle_ref, &as_rle, 2);
    return check_failures;
}
