/* SPDX-License-Identifier: Apache-2.0 */
/* Static functions of the runtime over arrays: what the Python tests call. */
#ifndef CODEQ_TESTS_SHIMS_H
#define CODEQ_TESTS_SHIMS_H

#include <stdint.h>

void shim_exp_of_negative(int32_t count, const int32_t *x, int32_t *out);
void shim_reciprocal_of_one_plus(int32_t count, const int32_t *x, int32_t *out);
void shim_rounding_doubling_high_mul(int32_t count, const int32_t *a, const int32_t *b,
                                     int32_t *out);
void shim_rounding_divide_by_pot(int32_t count, const int32_t *x, const int32_t *exponent,
                                 int32_t *out);
void shim_requantize(int32_t count, const int32_t *acc, const int32_t *multiplier,
                     const int32_t *exponent, int32_t *out);
void shim_offset_to_int8(int32_t count, const int32_t *x, const int32_t *zero_point,
                         const int32_t *low, const int32_t *high, int8_t *out);
void shim_requantize_short(int32_t count, const int32_t *acc, const int32_t *multiplier,
                           const int32_t *exponent, const int32_t *zero_point, int8_t *out);
void shim_requantize_relu(int32_t count, const int32_t *acc, const int32_t *multiplier,
                          const int32_t *exponent, const int32_t *zero_point, int8_t *out);
void shim_clamp_dsp(int32_t count, const int32_t *x, const int32_t *low, const int32_t *high,
                    int8_t *out);

/* The same product from 16-bit halves, as on cores that have no longer one. */
void shim_rounding_doubling_high_mul_halves(int32_t count, const int32_t *a, const int32_t *b,
                                            int32_t *out);

/* Outputs of one channel: `numbers` are its multiplier, exponent, zero point and limits. */
void shim_store_outputs(int32_t count, const int32_t *acc, const int32_t *numbers, int8_t *out);

/* Decode `rows` rows of `row` weights as kernels do; returns the bytes of the stream that were
 * read, counted from `data` to the last field. */
struct cq_weights;
int32_t shim_decode_dense(const struct cq_weights *weights, uint32_t bits, int32_t rows,
                          int32_t row, int8_t *out);
int32_t shim_decode_ternary(const struct cq_weights *weights, uint32_t bits, int32_t rows,
                            int32_t row, int8_t *out);
int32_t shim_decode_bitmask(const struct cq_weights *weights, uint32_t bits, int32_t rows,
                            int32_t row, int8_t *out);
int32_t shim_decode_rle(const struct cq_weights *weights, uint32_t bits, int32_t rows, int32_t row,
                        int8_t *out);
int32_t shim_decode_huffman(const struct cq_weights *weights, uint32_t bits, int32_t rows,
                            int32_t row, int8_t *out);
int32_t shim_decode_csr(const struct cq_weights *weights, uint32_t bits, int32_t rows, int32_t row,
                        int8_t *out);
int32_t shim_decode_gap(const struct cq_weights *weights, uint32_t bits, int32_t rows, int32_t row,
                        int8_t *out);

#endif
