# SPDX-License-Identifier: Apache-2.0
"""The integer primitives on their boundaries, against Python's own integers and fractions."""

import itertools
import math
import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeq_compile import numerics
from codeq_compile.numerics import INT32_MAX, INT32_MIN
from tests import literal

INT32 = st.integers(INT32_MIN, INT32_MAX)
MULTIPLIER = st.just(0) | st.integers(1 << 30, INT32_MAX)
EDGES = sorted(
    {
        sign * ((1 << bit) + offset)
        for bit in (0, 1, 2, 15, 16, 29, 30)
        for offset in (-1, 0, 1)
        for sign in (-1, 1)
    }
    | {0, INT32_MIN, INT32_MIN + 1, INT32_MAX}
)


def _half_away(x: Fraction) -> int:
    return int(math.copysign(math.floor(abs(x) + Fraction(1, 2)), x))


@pytest.mark.parametrize(
    ("x", "expected"),
    [(2.5, 3), (-2.5, -3), (0.5, 1), (-0.5, -1), (0.49999999999999994, 1), (2.4, 2), (-0.0, 0)],
)
def test_ties_round_away_from_zero(x, expected):
    """torch.round and Python's round give 2 for 2.5: a bias or multiplier off by one. [N2.1]

    Just below one half the addition itself rounds up, as C's `(x + 0.5)` does.
    """
    assert expected == numerics.round_half_away(x)


@given(st.floats(2.0**-31, 2.0**29))
def test_a_multiplier_is_within_half_a_unit_of_its_factor(x):
    """The factor of every layer passes here. [N2.2]"""
    multiplier, exponent = numerics.quantize_multiplier(x)

    assert 1 << 30 <= multiplier <= INT32_MAX
    actual = Fraction(multiplier) * Fraction(2) ** (exponent - 31)
    assert abs(actual / Fraction(x) - 1) <= Fraction(1, 1 << 31)


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        (0.0, (0, 0)),
        (1.0, (1 << 30, 1)),
        (0.5, (1 << 30, 0)),
        (math.nextafter(1.0, 0), (1 << 30, 1)),  # would round to 2^31
        (2.0**-32, (1 << 30, -31)),
        (math.nextafter(2.0**-32, 0), (1 << 30, -31)),
        (2.0**-33, (0, 0)),
        (2.0**-33 * 1.5, (0, 0)),
    ],
)
def test_the_ends_of_the_factors_are_as_in_tflite(x, expected):
    """A factor that rounds up to 2^31 must not become a negative multiplier. [N2.2]"""
    assert expected == numerics.quantize_multiplier(x)


@pytest.mark.parametrize("x", [-1.0, math.inf, math.nan])
def test_a_factor_that_is_no_factor_is_refused(x):
    """Such a scale would give an arbitrary multiplier. [N2.2]"""
    with pytest.raises(ValueError, match="finite"):
        numerics.quantize_multiplier(x)


def test_the_version_is_that_of_the_rules():
    """Generated code names the rules that it follows: another number sends its reader elsewhere."""
    rules = Path(__file__).parents[2].joinpath("docs", "NUMERICS.md").read_text(encoding="utf-8")

    assert [str(numerics.VERSION)] == re.findall(r"^Version (\d+)\.", rules, re.MULTILINE)
    assert f"| {numerics.VERSION} |" in rules.partition("## 7 History")[2]


@given(st.integers(1 << 30, INT32_MAX), st.integers(-31, 29), st.integers(1, 31))
def test_a_narrow_multiplier_is_the_nearest_of_so_many_bits(multiplier, exponent, bits):
    """Fewer table bytes; the relative error stays below 2^-bits. [N2.3]"""
    narrow, shifted = numerics.narrow_multiplier(multiplier, exponent, bits)

    assert narrow % (1 << (31 - bits)) == 0
    assert 1 << 30 <= narrow <= INT32_MAX
    error = narrow * Fraction(2) ** (shifted - exponent) - multiplier
    assert abs(error) <= (1 << (31 - bits)) / 2


def test_the_high_multiplication_equals_tflites_wording_on_all_edges():
    """The nudge and truncating division of TFLite are one floor here. [N2.4]"""
    a, b = np.array(list(itertools.product(EDGES, EDGES))).T

    expected = [literal.high_mul(x, y) for x, y in zip(a.tolist(), b.tolist(), strict=True)]

    np.testing.assert_array_equal(expected, numerics.rounding_doubling_high_mul(a, b))


@given(INT32, INT32)
def test_the_high_multiplication_equals_tflites_wording(a, b):
    """[N2.4]"""
    assert literal.high_mul(a, b) == int(numerics.rounding_doubling_high_mul(a, b))


def test_the_division_rounds_half_away_on_all_edges():
    """[N2.5]"""
    for exponent in range(32):
        expected = [_half_away(Fraction(x, 1 << exponent)) for x in EDGES]

        np.testing.assert_array_equal(expected, numerics.rounding_divide_by_pot(EDGES, exponent))


@given(INT32, st.integers(0, 31))
def test_the_division_equals_tflites_wording(x, exponent):
    """[N2.5]"""
    assert literal.divide_by_pot(x, exponent) == int(numerics.rounding_divide_by_pot(x, exponent))


@given(INT32, MULTIPLIER, st.integers(-31, 30))
def test_requantization_equals_tflites_wording(acc, multiplier, exponent):
    """Every output of every weighted layer passes here. [N2.6]"""
    acc >>= max(exponent, 0)

    expected = literal.rescale(acc, multiplier, exponent)

    assert expected == int(numerics.requantize(acc, multiplier, exponent))


@given(INT32, INT32.filter(bool))
def test_division_truncates_like_c(a, b):
    """Floor division would shift every negative average by one. [N2.7]"""
    assert int(Fraction(a, b)) == int(numerics.truncating_divide(a, b))


@given(st.integers(-(32 << 26), 0))
def test_the_exponential_is_accurate_to_a_millionth(x):
    """Softmax shows 1/256; the fixed-point exponential must be far below it. [N2.8]"""
    actual = int(numerics.exp_of_negative(x)) / 2**31

    # gemmlowp's polynomial and its seven roundings
    assert math.isclose(actual, math.exp(x / 2**26), abs_tol=2e-6)


@given(st.integers(0, INT32_MAX))
def test_the_reciprocal_is_accurate_to_a_millionth(x):
    """[N2.9]"""
    actual = int(numerics.reciprocal_of_one_plus(x)) / 2**31

    assert math.isclose(actual, 1 / (1 + x / 2**31), abs_tol=1e-6)


def test_clamping_keeps_the_limits():
    """A fused ReLU ends exactly at its limits."""
    assert [-5, -5, 0, 9, 9] == numerics.clamp_to_int8([-(1 << 40), -6, 0, 10, 300], -5, 9).tolist()
