# SPDX-License-Identifier: Apache-2.0
"""numerics.h computes what numerics.py computes, on every boundary and at random."""

import itertools
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from codeq_compile import numerics
from codeq_compile.ir.op import Array
from codeq_compile.resources import runtime_dir
from tests.runtime.binding import Runtime

INT32 = (numerics.INT32_MIN, numerics.INT32_MAX)
EDGES = sorted(
    {
        min(max(sign * (1 << power) + step, INT32[0]), INT32[1])
        for power in range(32)
        for sign in (-1, 1)
        for step in (-1, 0, 1)
    }
)
RANDOM = 20_000


def wide(rng: np.random.Generator, low: int, high: int, count: int = RANDOM) -> Array:
    """Integers of every magnitude in [low, high]: uniform values, shifted by uniform exponents."""
    values = rng.integers(low, high, count, endpoint=True) >> rng.integers(0, 32, count)
    return np.clip(values, low, high)


@pytest.fixture(scope="module")
def shim(runtime: Runtime, library: Path) -> Callable[..., Array]:
    """Call ``shim_<name>`` on equally long arrays."""
    text = (Path(__file__).parent / "c" / "shims.h").read_text()
    runtime.ffi.cdef("\n".join(re.findall(r"^void shim_[^;]*;", text, re.MULTILINE)), override=True)
    shims = runtime.ffi.dlopen(str(library))

    def call(name: str, *columns: Array, result: str = "int32") -> Array:
        arrays = [np.ascontiguousarray(column, np.int32) for column in columns]
        out = np.empty(len(arrays[0]), result)
        pointers = [runtime.ffi.from_buffer("int32_t[]", array) for array in arrays]
        target = runtime.ffi.from_buffer(f"{result}_t[]", out, require_writable=True)
        getattr(shims, f"shim_{name}")(len(out), *pointers, target)
        return out

    return call


def test_the_high_multiply_equals_its_twin(shim, rng):
    """One wrong nudge is one wrong output step somewhere in every layer. [N2.4]"""
    edges = np.array(list(itertools.product(EDGES, EDGES))).T
    random = np.stack([wide(rng, *INT32), wide(rng, *INT32)])

    for a, b in (edges, random):
        np.testing.assert_array_equal(
            numerics.rounding_doubling_high_mul(a, b), shim("rounding_doubling_high_mul", a, b)
        )


def test_the_rounding_shift_equals_its_twin(shim, rng):
    """Ties go away from zero for both signs, at every shift. [N2.5]"""
    ties = [
        half * k + step
        for half in (1 << e >> 1 for e in range(32))
        for k in (-3, -1, 1, 3)
        for step in (-1, 0, 1)
        if INT32[0] <= half * k + step <= INT32[1]
    ]
    values = np.concatenate([EDGES, ties, wide(rng, *INT32, 2000)])

    for exponent in range(32):
        exponents = np.full(len(values), exponent)
        np.testing.assert_array_equal(
            numerics.rounding_divide_by_pot(values, exponents),
            shim("rounding_divide_by_pot", values, exponents),
        )


def test_requantization_equals_its_twin(shim, rng):
    """Every layer ends here: accumulators, multipliers and exponents of any legal size. [N2.6]"""
    multipliers = np.array([0, 1 << 30, (1 << 30) + 1, (1 << 31) - 1, 0x5555_5555, 0xFFFF << 15])
    for exponent in range(-31, 32):
        limit = INT32[1] >> max(exponent, 0)
        edges = [edge for edge in EDGES if -limit - 1 <= edge <= limit]
        acc = np.concatenate([edges, wide(rng, -limit - 1, limit, 300)])
        acc, multiplier = (axis.ravel() for axis in np.meshgrid(acc, multipliers))
        exponents = np.full(len(acc), exponent)

        np.testing.assert_array_equal(
            numerics.requantize(acc, multiplier, exponents),
            shim("requantize", acc, multiplier, exponents),
            err_msg=f"exponent {exponent}",
        )


@pytest.mark.parametrize("form", ["short", "relu"])
def test_the_short_requantization_equals_the_rule(shim, rng, form):
    """Four instructions instead of twenty must not be off by one anywhere. [N4.2]

    Accumulators are of every magnitude, at the ties of both roundings and next to them; in the form
    for ReLU nothing below the zero point is seen.
    """
    multipliers = np.array([1 << 30, (1 << 30) + 1, (1 << 31) - 1, 0x5555_5555, 0xFFFF << 15])
    for exponent in range(-31, -1):
        ties = (np.arange(-300, 300)[:, None] << -exponent) + (1 << -exponent - 1)
        near = (ties + np.arange(-2, 3)).ravel() * 3 // 2
        near = near[(INT32[0] < near) & (near <= INT32[1])]
        acc = np.concatenate([EDGES[1:], near, wide(rng, INT32[0] + 1, INT32[1], 300)])
        acc, multiplier = (axis.ravel() for axis in np.meshgrid(acc, multipliers))
        exponents = np.full(len(acc), exponent)
        zero_point = rng.choice([-128, 0, 5, 127], len(acc))
        low = zero_point if form == "relu" else -128
        rescaled = numerics.requantize(acc, multiplier, exponents) + zero_point

        actual = shim(f"requantize_{form}", acc, multiplier, exponents, zero_point, result="int8")

        np.testing.assert_array_equal(
            np.clip(rescaled, low, 127), np.maximum(actual, low), err_msg=f"exponent {exponent}"
        )


def test_a_factor_without_a_short_form_is_told(shim):
    """An exponent above -2 has nothing to round twice; a factor of 0 is short whatever it is."""
    acc, zero_point = np.full(4, 40), np.full(4, -7)
    multiplier = np.array([1 << 30, 1 << 30, 0, 1 << 30])
    exponent = np.array([-2, -1, 0, 3])

    assert [-2, 1, -7, 1] == list(
        shim("requantize_short", acc, multiplier, exponent, zero_point, result="int8")
    )


@pytest.mark.parametrize("limits", [(-128, 127), (5, 127), (-128, 90), (-3, 2), (7, 7)])
def test_the_limits_of_four_outputs_at_a_time_are_those_of_one(shim, limits):
    """Bytes that are compared in one word must not see each other. [N4.2]"""
    x = np.arange(-128, 128).repeat(2)[1:]
    low, high = (np.full(len(x), limit) for limit in limits)

    np.testing.assert_array_equal(
        np.clip(x, *limits), shim("clamp_dsp", x, low, high, result="int8")
    )


def test_the_zero_point_never_overflows(shim, rng):
    """x + zero point may leave int32; the clamped sum must not wrap around. [N4.2]"""
    x, zero_point, low, high = np.array(
        list(
            itertools.product([*EDGES, *range(-300, 300)], (-128, -1, 0, 127), (-128, 5), (5, 127))
        )
    ).T

    expected = np.clip(x + zero_point, low, high)

    np.testing.assert_array_equal(
        expected, shim("offset_to_int8", x, zero_point, low, high, result="int8")
    )


def test_the_exponential_equals_its_twin(shim, rng):
    """Softmax: every quarter and its neighbours, the whole range of Q5.26, and random. [N2.8]"""
    quarters = np.arange(-(1 << 31), 1, 1 << 24)
    near = (quarters[:, None] + np.arange(-3, 4)).ravel()
    x = np.concatenate([near[(near >= INT32[0]) & (near <= 0)], wide(rng, INT32[0], 0)])

    np.testing.assert_array_equal(numerics.exp_of_negative(x), shim("exp_of_negative", x))


def test_the_reciprocal_equals_its_twin(shim, rng):
    """Softmax divides by the sum of its exponentials this way. [N2.9]"""
    edges = [edge for edge in EDGES if edge >= 0]
    x = np.concatenate([edges, np.arange(0, 1 << 31, 65_537), wide(rng, 0, INT32[1])])

    np.testing.assert_array_equal(
        numerics.reciprocal_of_one_plus(x), shim("reciprocal_of_one_plus", x)
    )


def test_every_primitive_has_a_twin_of_the_same_name():
    """A primitive that exists on one side only is one that nothing compares."""
    python_only = {"round_half_away", "quantize_multiplier", "narrow_multiplier"}  # compile time
    python_only |= {"truncating_divide"}  # C's own division
    python_only |= {"one_minus_over_one_plus"}  # makes tables
    text = (runtime_dir() / "src" / "numerics.h").read_text()

    twins = set(re.findall(r"^static inline \w+ cq_(\w+)\(", text, re.MULTILINE))
    public = {
        name
        for name, value in vars(numerics).items()
        if callable(value) and getattr(value, "__module__", "") == numerics.__name__
    }

    assert {name for name in public if not name.startswith("_")} - python_only <= twins
