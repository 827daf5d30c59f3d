/* SPDX-License-Identifier: Apache-2.0 */
/* The streams drawn in docs/FORMATS.md, decoded: the drawings and the decoders cannot part. */
#include "../../../runtime_c/src/decode/bitmask.h"
#include "../../../runtime_c/src/decode/dense.h"
#include "../../../runtime_c/src/decode/huffman.h"
#include "../../../runtime_c/src/decode/rle.h"
#include "../../../runtime_c/src/decode/ternary.h"

#include "check.h"

enum { MOST = 20 };

/* The first `count` weights, in two chunks that meet at `split`. */
static void decode(const struct cq_decoder *decoder, const struct cq_weights *weights,
                   uint32_t bits, int is_sparse, int32_t count, int32_t split, int8_t *out)
{
    struct cq_nonzero scratch[CQ_CHUNK];
    struct cq_cursor cursor;
    decoder->init(&cursor, weights, bits, count);
    for (int32_t start = 0; start < count;) {
        const int32_t size = start == 0 && split > 0 ? split : count - start;
        const struct cq_chunk chunk = decoder->next(&cursor, size, scratch);
        const struct cq_nonzero *const nonzero = chunk.data;
        const int8_t *const dense = chunk.data;
        for (int32_t i = 0; i < size; ++i) {
            out[start + i] = is_sparse ? 0 : dense[i];
        }
        for (int32_t i = 0; is_sparse && i < chunk.count; ++i) {
            out[start + nonzero[i].offset] = nonzero[i].weight;
        }
        start += size;
    }
}

static void check(const struct cq_decoder *decoder, struct cq_weights weights, uint32_t bits,
                  int is_sparse, int32_t count, const int8_t *expected)
{
    for (int32_t split = 0; split < count; ++split) {
        int8_t actual[MOST];
        decode(decoder, &weights, bits, is_sparse, count, split, actual);
        for (int32_t i = 0; i < count; ++i) {
            CHECK_EQUAL(expected[i], actual[i]);
        }
    }
}

static void test_dense(void)
{
    static const uint8_t data[] = {0xe1, 0x07, 0x09};
    static const int8_t expected[] = {1, -2, 7, 0, -7};
    static const int8_t with_gap[] = {4, -5, 10, 0, -10};
    static const int8_t levels[16] = {10, 11, 12, 13, 14, 15, 16, 17, -8, -7, -6, -5, -4, -3, -2};
    static const int8_t from_table[] = {11, -2, 17, 10, -7};
    check(&cq_dense, (struct cq_weights){data, NULL, sizeof data, 0, 0}, 4, 0, 5, expected);
    check(&cq_dense, (struct cq_weights){data, NULL, sizeof data, 3, 0}, 4, 0, 5, with_gap);
    check(&cq_dense, (struct cq_weights){data, levels, sizeof data, 0, 0}, 4, 0, 5, from_table);
}

static void test_dense_of_8_bits_is_read_in_place(void)
{
    static const uint8_t data[] = {0x80, 0x7f, 0xff};
    const struct cq_weights weights = {data, NULL, sizeof data, 0, 0};
    struct cq_cursor cursor;
    cq_dense.init(&cursor, &weights, 8, 3);
    CHECK_EQUAL(1, cq_dense.next(&cursor, 2, NULL).data == data);
    CHECK_EQUAL(1, cq_dense.next(&cursor, 1, NULL).data == data + 2);
}

/* What programs without narrower weights link. */
static void test_bytes_have_a_decoder_of_their_own(void)
{
    static const uint8_t data[] = {0x01, 0x00, 0xfe, 0x7c};
    static const int8_t expected[] = {1, 0, -2, 124};
    static const int8_t with_gap[] = {4, 0, -5, 127};
    check(&cq_dense_bytes, (struct cq_weights){data, NULL, sizeof data, 0, 0}, 8, 0, 4, expected);
    check(&cq_dense_bytes, (struct cq_weights){data, NULL, sizeof data, 3, 0}, 8, 0, 4, with_gap);
    check(&cq_dense, (struct cq_weights){data, NULL, sizeof data, 3, 0}, 8, 0, 4, with_gap);
}

static void test_ternary(void)
{
    static const uint8_t data[] = {0xa9, 0x02};
    static const int8_t expected[] = {0, 1, -1, -1, 1, 1};
    check(&cq_ternary, (struct cq_weights){data, NULL, sizeof data, 0, 0}, 2, 0, 6, expected);
}

static void test_bitmask(void)
{
    static const uint8_t data[] = {0x84, 0x02, 0xf3, 0x02};
    static const int8_t expected[] = {0, 0, 3, 0, 0, 0, 0, -1, 0, 2};
    check(&cq_bitmask, (struct cq_weights){data, NULL, sizeof data, 0, 0}, 4, 1, 10, expected);
}

static void test_rle(void)
{
    static const uint8_t data[] = {0xce, 0xfd};
    static const int8_t expected[] = {0, 0, 3, 0, 0, 0, 0, -1, 0, 0};
    check(&cq_rle, (struct cq_weights){data, NULL, sizeof data, 0, 2}, 4, 1, 10, expected);
}

static void test_huffman(void)
{
    static const uint8_t data[] = {0x22, 0x01, 0x02, 0x00, 0xfe, 0x02,
                                   0x20, 0xa3, 0x02, 0x02, 0x80, 0x00};
    static const int8_t expected[] = {0, 0, 1, 0, 4, 0, -3, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0};
    check(&cq_huffman, (struct cq_weights){data, NULL, sizeof data, 0, 0}, 4, 0, 20, expected);
}

static void test_a_sparse_sign_is_one_bit(void)
{
    static const uint8_t data[] = {0x2a, 0x05}; /* mask of w1, w3, w5; signs -, +, - */
    static const int8_t expected[] = {0, -3, 0, 3, 0, -3};
    check(&cq_bitmask, (struct cq_weights){data, NULL, sizeof data, 2, 0}, 2, 1, 6, expected);
}

int main(void)
{
    test_dense();
    test_dense_of_8_bits_is_read_in_place();
    test_bytes_have_a_decoder_of_their_own();
    test_ternary();
    test_bitmask();
    test_rle();
    test_huffman();
    test_a_sparse_sign_is_one_bit();
    return check_failures;
}
