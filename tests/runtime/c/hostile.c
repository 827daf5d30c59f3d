/* SPDX-License-Identifier: Apache-2.0 */
/* Decoders and sparse kernels on random bytes: a checked build stops at the first weight that is
 * not there, and neither reads nor writes outside its buffers before.  Meant for AddressSanitizer.
 *
 *   hostile SEED ROUNDS
 *
 * With HOSTILE_SWAR the kernels for cores without SIMD instructions, else those for cores with
 * them.
 */
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A check that fails ends the call, not the process: most streams here are damaged. */
static jmp_buf refused;
#define CQ_ASSERT(condition) ((condition) ? (void)0 : longjmp(refused, 1))

#ifdef HOSTILE_SWAR
#include "../../../runtime_c/src/linear/linear_swar.c"
#include "../../../runtime_c/src/linear_sparse/linear_sparse_swar.c"
#define ISA(kernel) kernel##_swar
#else
#include "../../../runtime_c/src/conv2d_sparse/conv2d_sparse_dsp.c"
#include "../../../runtime_c/src/linear/linear_dsp.c"
#include "../../../runtime_c/src/linear_sparse/linear_sparse_dsp.c"
#include "../../../runtime_c/src/quad_dsp.c"
#include "../../../runtime_c/src/requant_dsp.c"
#define ISA(kernel) kernel##_dsp
#endif

#include "../../../runtime_c/src/decode/bitmask.c"
#include "../../../runtime_c/src/decode/csr.c"
#include "../../../runtime_c/src/decode/cursor.c"
#include "../../../runtime_c/src/decode/dense.c"
#include "../../../runtime_c/src/decode/gap.c"
#include "../../../runtime_c/src/decode/huffman.c"
#include "../../../runtime_c/src/decode/rle.c"
#include "../../../runtime_c/src/decode/ternary.c"
#include "../../../runtime_c/src/requant.c"
#include "../../../runtime_c/src/rows.c"

/* Bytes of scratch that are enough for any of them here. */
#define LINEAR_SCRATCH 16384

static cq_linear_fn *const dense_kernels[] = {
    ISA(cq_linear_s8_w1_dense), ISA(cq_linear_s8_w2_dense), ISA(cq_linear_s8_w3_dense),
    ISA(cq_linear_s8_w4_dense), ISA(cq_linear_s8_w5_dense), ISA(cq_linear_s8_w6_dense),
    ISA(cq_linear_s8_w7_dense),
};

static cq_linear_fn *const gap_kernels[] = {
    ISA(cq_linear_sparse_s8_w2_gap), ISA(cq_linear_sparse_s8_w3_gap),
    ISA(cq_linear_sparse_s8_w4_gap), ISA(cq_linear_sparse_s8_w5_gap),
    ISA(cq_linear_sparse_s8_w6_gap),
};

static cq_linear_fn *const csr_kernels[] = {
    ISA(cq_linear_sparse_s8_w2_csr),
    ISA(cq_linear_sparse_s8_w4_csr),
    ISA(cq_linear_sparse_s8_w8_csr),
};

static uint32_t state;

static uint32_t draw(uint32_t below)
{
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state % below;
}

/* Exactly `bytes` of heap, so that every access outside is seen. */
static void *block(size_t bytes)
{
    void *const data = malloc(bytes != 0u ? bytes : 1u);
    if (data == NULL) {
        abort();
    }
    memset(data, 0x5a, bytes);
    return data;
}

/* A stream: noise, few bits set, or many; or short blocks of gaps, whose sizes are at the end, and
 * which lead anywhere. */
static struct cq_weights noise(uint32_t bytes, uint32_t bits, int8_t *levels)
{
    const uint32_t kind = draw(4u);
    uint8_t *const data = block(bytes);
    for (uint32_t i = 0u; i < bytes; ++i) {
        const uint32_t byte = draw(256u);
        data[i] = (uint8_t)(kind == 1u ? byte & draw(256u) : kind == 2u ? byte | draw(256u) : byte);
        if (kind == 3u && i >= bytes - bytes / 8u) {
            data[i] = (uint8_t)draw(4u);
        }
    }
    for (uint32_t i = 0u; i < 256u; ++i) {
        levels[i] = (int8_t)((int32_t)draw(256u) - 128);
    }
    const struct cq_weights weights = {data, bits < 8u && draw(4u) == 0u ? levels : NULL, bytes,
                                       (uint8_t)draw(3u), (uint8_t)(1u + draw(8u))};
    return weights;
}

static uint32_t decode(const struct cq_decoder *decoder, int32_t each)
{
    const int32_t row = 1 + (int32_t)draw(600u);
    const int32_t rows = 1 + (int32_t)draw(5u);
    const uint32_t bits = 1u + draw(8u);
    const int32_t chunk_weights = row < CQ_CHUNK ? row : CQ_CHUNK;
    int8_t levels[256];
    void *const chunk = block((size_t)(each * chunk_weights));
    struct cq_weights weights = noise(draw(1500u), bits, levels);
    uint8_t *const data = (uint8_t *)(uintptr_t)weights.data;
    struct cq_cursor cursor;
    /* a mask that is longer than the stream is refused before anything is read */
    if ((uint32_t)(rows * row + 7) / 8u > weights.bytes) {
        free(chunk);
        free(data);
        return 1u;
    }
    volatile uint32_t stopped = 1u;
    if (setjmp(refused) == 0) {
        decoder->init(&cursor, &weights, bits, rows * row);
        for (int32_t r = 0; r < rows; ++r) {
            for (int32_t k = 0; k < row; k += CQ_CHUNK) {
                (void)decoder->next(&cursor, cq_limit(row - k, 1, CQ_CHUNK), chunk);
            }
        }
        stopped = 0u;
    }
    free(chunk);
    free(data);
    return stopped;
}

#ifdef HOSTILE_SWAR
static uint32_t convolve(const struct cq_decoder *decoder)
{
    return decode(decoder, 2);
}

static uint32_t convolve_directly(void)
{
    return decode(&cq_gap, 2);
}
#else
/* A convolution whose lists have room for a part of its weights only. */
static uint32_t convolve(const struct cq_decoder *decoder)
{
    static const int32_t bias[8];
    static const int32_t multiplier[8] = {INT32_C(1) << 30};
    static const int8_t exponent[8];
    int8_t levels[256];
    const uint32_t bits = 1u + draw(8u);
    const int32_t channels = 1 + (int32_t)draw(9u);
    const int32_t filters = 1 + (int32_t)draw(4u);
    const int32_t taps = 9;
    const uint32_t least = (uint32_t)(filters * taps * channels + 7) / 8u;
    struct cq_weights weights = noise(least + draw(200u), bits, levels);
    const struct cq_conv2d_params params = {
        .in = {6, 7, channels},
        .out = {6, 7, filters},
        .kernel = {3, 3},
        .stride = {1, 1},
        .dilation = {1, 1},
        .pad = {1, 1},
        .groups = 1,
        .sparse = {1, 4, draw(2u) != 0u ? (int16_t)filters : 1, (uint16_t)(2u + draw(60u)),
                   (uint16_t)draw(30u), (uint16_t)(3u + draw(60u)), (uint8_t)draw(2u)},
        .weights = weights,
        .requant = {.bias = bias,
                    .multiplier = multiplier,
                    .exponent = exponent,
                    .bias_bytes = 4,
                    .multiplier_bytes = 4,
                    .clamp_min = -128,
                    .clamp_max = 127},
    };
    const struct cq_strip strip = cq_strip_of(&params, NULL);
    const int32_t strip_bytes = 4 * strip.slots * strip.channels * strip.pitch;
    const int32_t list_bytes = 2 * (params.sparse.ones + params.sparse.twos + params.sparse.others);
    const int32_t chunk_bytes = (2 * cq_limit(taps * channels, 1, CQ_CHUNK) + 3) / 4 * 4;
    void *const scratch = block((size_t)(strip_bytes + (channels + 3) / 4 * 4 + chunk_bytes +
                                         4 * taps + 32 * params.sparse.kept + list_bytes));
    int8_t *const in = block((size_t)(6 * 7 * channels));
    int8_t *const out = block((size_t)(6 * 7 * filters));
    volatile uint32_t stopped = 1u;
    if (setjmp(refused) == 0) {
        (void)cq_conv2d_sparse(decoder, NULL, bits, &params, in, out, scratch);
        stopped = 0u;
    }
    free((uint8_t *)(uintptr_t)weights.data);
    free(scratch);
    free(in);
    free(out);
    return stopped;
}

/* A pointwise convolution from records as they stand. */
static uint32_t convolve_directly(void)
{
    static cq_direct_fn *const direct[] = {cq_direct_w2, cq_direct_w3, cq_direct_w4, cq_direct_w5,
                                           cq_direct_w6};
    static const int32_t bias[8];
    static const int32_t multiplier[8] = {INT32_C(1) << 30};
    static const int8_t exponent[8];
    int8_t levels[256];
    const uint32_t bits = 2u + draw(5u);
    const int32_t channels = 1 + (int32_t)draw(300u);
    const int32_t filters = 1 + (int32_t)draw(4u);
    struct cq_weights weights = noise(draw(400u), 8u, levels);
    const struct cq_conv2d_params params = {
        .in = {3, 3, channels},
        .out = {3, 3, filters},
        .kernel = {1, 1},
        .stride = {1, 1},
        .dilation = {1, 1},
        .groups = 1,
        .sparse = {.rows = 1, .columns = 3},
        .weights = weights,
        .requant = {.bias = bias,
                    .multiplier = multiplier,
                    .exponent = exponent,
                    .bias_bytes = 4,
                    .multiplier_bytes = 4,
                    .clamp_min = -128,
                    .clamp_max = 127},
    };
    const int32_t chunk_bytes = (2 * cq_limit(channels, 1, CQ_CHUNK) + 3) / 4 * 4;
    void *const scratch = block((size_t)(24 * channels + (channels + 3) / 4 * 4 + chunk_bytes + 4));
    int8_t *const in = block((size_t)(9 * channels));
    int8_t *const out = block((size_t)(9 * filters));
    volatile uint32_t stopped = 1u;
    if (setjmp(refused) == 0) {
        (void)cq_conv2d_sparse(&cq_gap, direct[bits - 2u], bits, &params, in, out, scratch);
        stopped = 0u;
    }
    free((uint8_t *)(uintptr_t)weights.data);
    free(scratch);
    free(in);
    free(out);
    return stopped;
}

#endif

/* How the weights of a fully connected layer stand: records, or fields of a stream that is as long
 * as its weights or shorter. */
enum stands { FIELDS, GAPS, LISTS };

static uint32_t multiply(enum stands how)
{
    const int is_sparse = how != FIELDS;
    static const int32_t bias[9];
    static const int32_t multiplier[1] = {INT32_C(1) << 30};
    static const int8_t exponent[1] = {-8};
    int8_t levels[256];
    const int32_t in_features = 1 + (int32_t)draw(600u);
    const int32_t out_features = 1 + (int32_t)draw(9u);
    const uint32_t row = draw(how == FIELDS ? 7u : how == GAPS ? 5u : 3u);
    const uint32_t bits = row + (is_sparse ? 2u : 1u);
    const uint32_t bytes = ((uint32_t)(in_features * out_features) * bits + 7u) / 8u;
    struct cq_weights weights = noise(is_sparse ? draw(400u) : bytes - draw(2u), 8u, levels);
    if (!is_sparse) {
        weights.levels = bits == 1u ? levels : NULL;
    }
    const struct cq_linear_params params = {
        .rows = 1 + (int32_t)draw(2u),
        .in_features = in_features,
        .out_features = out_features,
        .weights = weights,
        .requant = {.bias = bias,
                    .multiplier = multiplier,
                    .exponent = exponent,
                    .bias_bytes = (uint8_t)(2u << draw(2u)),
                    .multiplier_bytes = 4,
                    .clamp_min = -128,
                    .clamp_max = 127},
    };
    int8_t *const in = block((size_t)(params.rows * in_features));
    int8_t *const out = block((size_t)(params.rows * out_features));
    void *const scratch = block(LINEAR_SCRATCH);
    volatile uint32_t stopped = 1u;
    if (setjmp(refused) == 0) {
        cq_linear_fn *const *const kernels = how == FIELDS ? dense_kernels
                                             : how == GAPS ? gap_kernels
                                                           : csr_kernels;
        (void)kernels[row](&params, in, out, scratch);
        stopped = 0u;
    }
    free((uint8_t *)(uintptr_t)weights.data);
    free(scratch);
    free(in);
    free(out);
    return stopped;
}

int main(int argc, char **argv)
{
    static const struct cq_decoder *const decoders[] = {&cq_dense,   &cq_dense_bytes, &cq_ternary,
                                                        &cq_huffman, &cq_bitmask,     &cq_rle,
                                                        &cq_gap,     &cq_csr};
    state = 2u * (argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 0) : 0u) + 1u;
    const uint32_t rounds = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 0) : 2000u;
    uint32_t calls = 0u;
    uint32_t stopped = 0u;
    for (uint32_t round = 0u; round < rounds; ++round) {
        for (int32_t i = 0; i < 8; ++i) {
            stopped += decode(decoders[i], i < 4 ? 1 : 2);
            ++calls;
        }
        stopped += convolve(&cq_bitmask) + convolve(&cq_rle) + convolve(&cq_gap);
        stopped += convolve_directly() + multiply(FIELDS) + multiply(GAPS) + multiply(LISTS);
        calls += 7u;
    }
    printf("%lu calls, %lu stopped\n", (unsigned long)calls, (unsigned long)stopped);
    return 0;
}
