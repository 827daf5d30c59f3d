/* SPDX-License-Identifier: Apache-2.0 */
/* Known values of the integer primitives, worked out on paper: ties, signs, ends of the range. */
#include "../../../runtime_c/src/numerics.h"

#include "check.h"

static void test_high_multiply_rounds_half_up(void)
{
    const int32_t half = INT32_C(1) << 30; /* 0.5: every odd operand is a tie */
    CHECK_EQUAL(2, cq_rounding_doubling_high_mul(3, half));
    CHECK_EQUAL(-1, cq_rounding_doubling_high_mul(-3, half));
    CHECK_EQUAL(0, cq_rounding_doubling_high_mul(-1, half));
    CHECK_EQUAL(INT32_MAX, cq_rounding_doubling_high_mul(INT32_MIN, INT32_MIN));
    CHECK_EQUAL(-INT32_MAX, cq_rounding_doubling_high_mul(INT32_MIN, INT32_MAX));
    CHECK_EQUAL(INT32_MAX - 1, cq_rounding_doubling_high_mul(INT32_MAX, INT32_MAX));
}

static void test_shift_rounds_half_away_from_zero(void)
{
    CHECK_EQUAL(2, cq_rounding_divide_by_pot(3, 1));
    CHECK_EQUAL(-2, cq_rounding_divide_by_pot(-3, 1));
    CHECK_EQUAL(-1, cq_rounding_divide_by_pot(-5, 2));
    CHECK_EQUAL(-2, cq_rounding_divide_by_pot(-6, 2));
    CHECK_EQUAL(INT32_MIN, cq_rounding_divide_by_pot(INT32_MIN, 0));
    CHECK_EQUAL(-1, cq_rounding_divide_by_pot(INT32_MIN, 31));
    CHECK_EQUAL(1, cq_rounding_divide_by_pot(INT32_MAX, 31));
    CHECK_EQUAL(0, cq_rounding_divide_by_pot((INT32_C(1) << 30) - 1, 31));
}

static void test_requantization_rounds_twice(void)
{
    /* 1 * 0.5 = 0.5 rounds to 1, then 1 / 2 rounds to 1; in one step 0.25 would be 0 */
    CHECK_EQUAL(1, cq_requantize(1, INT32_C(1) << 30, -1));
    /* -1 * 0.5 rounds up to 0 */
    CHECK_EQUAL(0, cq_requantize(-1, INT32_C(1) << 30, -1));
    CHECK_EQUAL(-40, cq_requantize(-10, INT32_C(1) << 30, 3));
    CHECK_EQUAL(0, cq_requantize(INT32_MAX, 0, 0));
}

static void test_zero_point_is_added_without_overflow(void)
{
    CHECK_EQUAL(127, cq_offset_to_int8(INT32_MAX, 127, -128, 127));
    CHECK_EQUAL(-128, cq_offset_to_int8(INT32_MIN, -128, -128, 127));
    CHECK_EQUAL(5, cq_offset_to_int8(-7, 3, 5, 100));
    CHECK_EQUAL(-4, cq_offset_to_int8(-7, 3, -128, 127));
}

static void test_exponential_and_reciprocal_at_their_ends(void)
{
    CHECK_EQUAL(INT32_MAX, cq_exp_of_negative(0));
    CHECK_EQUAL(0, cq_exp_of_negative(INT32_MIN)); /* exp(-32) * 2^31 = 2.7e-5 */
    CHECK_EQUAL(INT32_MAX, cq_reciprocal_of_one_plus(0));
    /* 1/2, of which three Newton steps leave the last two bits open */
    CHECK_EQUAL(INT32_C(1) << 28, (cq_reciprocal_of_one_plus(INT32_MAX) + 4) / 4);
}

int main(void)
{
    test_high_multiply_rounds_half_up();
    test_shift_rounds_half_away_from_zero();
    test_requantization_rounds_twice();
    test_zero_point_is_added_without_overflow();
    test_exponential_and_reciprocal_at_their_ends();
    return check_failures;
}
