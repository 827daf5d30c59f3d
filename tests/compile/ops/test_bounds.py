# SPDX-License-Identifier: Apache-2.0
"""Proofs about sums, lanes and requantization, against all values or the worst ones."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeq_compile.ir import Range
from codeq_compile.numerics import Int64Array, clamp_to_int8, requantize
from codeq_compile.ops.base import Requant
from codeq_compile.ops.bounds import (
    lane_budget,
    lane_segments,
    most_lane_segments,
    requant_class,
    sums,
)

ROWS = st.lists(st.integers(-128, 127), min_size=1, max_size=700)
LIMITS = st.tuples(st.integers(-128, 127), st.integers(-128, 127)).map(lambda pair: sorted(pair))


def _range(low: Int64Array | list[int], high: Int64Array | list[int]) -> Range:
    return Range(low=np.array(low, np.int64), high=np.array(high, np.int64))


def test_a_sum_reaches_both_limits_and_no_further(rng: np.random.Generator) -> None:
    """Too narrow a range is a wrong proof, too wide a one loses kernels."""
    weights = rng.integers(-128, 128, (5, 9)).astype(np.int8)
    low = rng.integers(-128, 100, 9)
    high = low + rng.integers(0, 28, 9)

    proved = sums(weights, _range(low, high))

    lowest = np.where(weights >= 0, low, high)
    np.testing.assert_array_equal((weights * lowest).sum(axis=1), proved.low)
    highest = np.where(weights >= 0, high, low)
    np.testing.assert_array_equal((weights * highest).sum(axis=1), proved.high)
    for _ in range(50):
        value = (weights * rng.integers(low, high + 1)).sum(axis=1)
        assert ((proved.low <= value) & (value <= proved.high)).all()


@given(row=ROWS, limits=LIMITS, seed=st.integers(0, 2**32 - 1))
def test_wrapped_lanes_give_every_sum_of_a_segment(
    row: list[int], limits: list[int], seed: int
) -> None:
    """A lane that is too narrow gives a wrong activation, silently, for some inputs only."""
    rng = np.random.default_rng(seed)
    low, high = limits
    weights = np.array(row, np.int8)
    attacks = [
        np.full(len(row), low),
        np.full(len(row), high),
        np.where(weights >= 0, low, high),
        np.where(weights >= 0, high, low),
        rng.integers(low, high + 1, len(row)),
    ]
    segments = lane_segments(weights, low, high)
    for x in attacks:
        total = 0
        for part in segments:
            lane = np.int64(part.start())
            for w, value in zip(weights[part.first : part.end], x[part.first :], strict=False):
                lane = (lane + int(w) * int(value) + 0x8000) % 0x10000 - 0x8000
            total += int(lane) - part.start()

        assert (weights.astype(int) * x).sum() == total


@given(row=ROWS)
def test_segments_cover_every_weight_that_is_not_zero(row: list[int]) -> None:
    """A weight between two segments would not be computed."""
    weights = np.array(row, np.int8)
    covered = np.zeros(len(row), bool)
    for part in lane_segments(weights):
        assert not covered[part.first : part.end].any()
        covered[part.first : part.end] = True

    assert not weights[~covered].any()


@pytest.mark.parametrize(
    ("row", "low", "high", "segments"),
    [
        ([1] * 257, -128, 127, 1),  # 257 · 255 = 65 535
        ([1] * 258, -128, 127, 2),
        ([-1] * 257 + [0] * 50, -128, 127, 1),
        ([127, 127, 3], -128, 127, 1),
        ([127, 127, 4], -128, 127, 2),
        ([1] * 515, 0, 127, 1),  # 516 · 127 = 65 532
        ([1] * 517, 0, 127, 2),
        ([127] * 1000, 5, 5, 2),  # a constant: the budget is that of one step
        ([0, 0], -128, 127, 0),
    ],
)
def test_a_row_is_split_where_the_proof_ends(
    row: list[int], low: int, high: int, segments: int
) -> None:
    """One weight too many in a segment wraps; one too few costs time."""
    assert segments == len(lane_segments(np.array(row, np.int8), low, high))


def test_the_budget_of_full_int8_is_257() -> None:
    """257 · 255 is 65 535, the last value of sixteen bits."""
    assert 257 == lane_budget()


def test_the_worst_row_decides() -> None:
    """Lanes hold rows of one layer in turn, and one kernel serves them all."""
    weights = np.zeros((3, 4, 2), np.int8)
    weights[1] = 100

    assert 4 == most_lane_segments(weights)
    assert 1 == most_lane_segments(weights[[0, 0]] + np.int8(1))


def _requant(
    exponent: list[int],
    multiplier: list[int] | None = None,
    zero_point: int = 0,
    clamp: tuple[int, int] = (-128, 127),
) -> Requant:
    return Requant(
        bias=np.zeros(len(exponent), np.int32),
        multiplier=np.array(multiplier or [1 << 30] * len(exponent), np.int32),
        exponent=np.array(exponent, np.int8),
        zero_point=zero_point,
        clamp_min=clamp[0],
        clamp_max=clamp[1],
    )


def test_the_class_names_what_tables_hold() -> None:
    """Which loop a kernel takes: a constant shift, a short multiplier, saturation."""
    requant = _requant([-3, -5, -3], [3 << 29, 1 << 30, 5 << 28], clamp=(-128, 127))

    found = requant_class(requant, _range([-9] * 3, [9] * 3))

    assert ((-5, -3), 3, True) == (found.exponents, found.multiplier_bits, found.is_full_int8)
    relu = requant_class(_requant([-3], clamp=(0, 127)), _range([0], [1]))
    assert not relu.is_full_int8


def _short(acc: Int64Array, requant: Requant) -> Int64Array:
    """SMMULR y, 2·acc, m; ADD y, y, y ASR 31; ADD y, y, c; SSAT 8, y ASR -e: all in 32 bits."""
    shift = -requant.exponent.astype(np.int64)
    y = (2 * acc * requant.multiplier + (1 << 31)) >> 32
    steps = [2 * acc, y, y + (y >> 63)]
    constant = (np.int64(1) << (shift - 1)) + (requant.zero_point << shift)
    steps += [constant + 0 * y, steps[-1] + constant]
    for step in steps:
        assert -(1 << 31) <= step.min() <= step.max() < 1 << 31
    result: Int64Array = np.clip(steps[-1] >> shift, -128, 127)
    return result


@given(
    exponent=st.integers(-31, 1),
    multiplier=st.integers(1 << 30, (1 << 31) - 1),
    zero_point=st.integers(-128, 127),
    limit=st.integers(0, (1 << 31) - 1) | st.sampled_from([(1 << 30) - 1, 1 << 30]),
    seed=st.integers(0, 2**32 - 1),
)
def test_where_the_short_form_is_promised_it_is_the_rule(
    exponent: int, multiplier: int, zero_point: int, limit: int, seed: int
) -> None:
    """Four instructions for twenty, as long as they give the same byte. [N4.2]"""
    requant = _requant([exponent], [multiplier], zero_point)
    found = requant_class(requant, _range([-limit], [limit]))
    if not found.has_short_form:
        return
    rng = np.random.default_rng(seed)
    near = rng.integers(-64, 65, 200) + (rng.integers(-300, 300, 200) << max(0, -exponent))
    acc = np.concatenate([rng.integers(-limit, limit + 1, 200), near, [limit, -limit, 0, -1, 1]])
    acc = np.clip(acc, -limit, limit)[:, None]

    expected = clamp_to_int8(requantize(acc, multiplier, exponent) + zero_point, -128, 127)
    np.testing.assert_array_equal(expected, _short(acc, requant))


@pytest.mark.parametrize(
    ("exponent", "limit", "zero_point", "promised"),
    [
        (-1, (1 << 30) - 1, -128, True),
        (-1, 1 << 30, 0, False),  # twice of it is no int32
        (0, 100, 0, False),
        (-23, 1000, -128, True),
        (-24, 1000, -128, True),  # -128 · 2^24 is the last int32
        (-24, 1000, 127, True),
        (-25, 1000, -128, False),
        (-25, 1000, 63, True),
        (-25, 1000, 64, False),
        (-31, 1000, 0, True),
    ],
)
def test_the_short_form_is_promised_up_to_its_last_case(
    exponent: int, limit: int, zero_point: int, promised: bool
) -> None:
    """Beyond it the sums overflow; short of it the kernel is slow for nothing."""
    requant = _requant([-4, exponent], zero_point=zero_point)

    assert promised == requant_class(requant, _range([0, -limit], [0, limit])).has_short_form
