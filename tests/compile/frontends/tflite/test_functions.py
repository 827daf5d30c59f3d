# SPDX-License-Identifier: Apache-2.0
"""Tables of functions against TFLite Micro's kernels, on all 256 values of many grids."""

import math

import numpy as np
import pytest

pytest.importorskip("tflite_micro", reason="needs the package tflite-micro, the oracle")

from codeq_compile.frontends.tflite import functions
from codeq_compile.frontends.tflite.layer import Refusal
from codeq_compile.ir import Grid
from codeq_compile.ops.elementwise import INT8
from tests import imports
from tests.graphs import grid
from tests.oracle import Oracle

GRIDS = 40


def foreign(kind: str, x: Grid, y: Grid, options: str | None = None, **fields: float) -> np.ndarray:
    """The kernel's results for all int8 values."""
    file, inputs, outputs = imports.unary(
        kind, (x.scale, x.zero_point), (y.scale, y.zero_point), options, **fields
    )
    kernel = Oracle(file.bytes(inputs, outputs))
    kernel.run([INT8.astype(np.int8).reshape(1, 256)])
    return kernel.output().reshape(-1)


def table(function: functions.Function) -> np.ndarray:
    return np.clip(function(INT8), -128, 127)


def random_grids(rng: np.random.Generator) -> list[tuple[Grid, Grid]]:
    scales = np.exp(rng.uniform(math.log(1e-4), math.log(2.0), GRIDS))
    zeros = rng.integers(-128, 128, (GRIDS, 2))
    ratios = np.exp(rng.uniform(-1.5, 1.5, GRIDS))
    return [
        (grid(scale, int(zero[0])), grid(scale * ratio, int(zero[1])))
        for scale, zero, ratio in zip(scales, zeros, ratios, strict=True)
    ]


def test_logistic_is_the_foreign_fixed_point(rng: np.random.Generator) -> None:
    """Float tables differ by a step in some values. [lut-C4] [N2.8]"""
    for x, _ in random_grids(rng):
        actual = table(functions.logistic(x))

        np.testing.assert_array_equal(
            foreign("LOGISTIC", x, grid(1 / 256, -128)), actual, err_msg=str(x)
        )


def test_tanh_is_the_foreign_fixed_point(rng: np.random.Generator) -> None:
    """Float tables differ by a step in some values. [lut-C4] [N2.10]"""
    for x, _ in random_grids(rng):
        actual = table(functions.tanh(x))

        np.testing.assert_array_equal(foreign("TANH", x, grid(1 / 128, 0)), actual, err_msg=str(x))


def test_leaky_relu_is_the_foreign_one(rng: np.random.Generator) -> None:
    """Both slopes have a factor of their own."""
    for x, y in random_grids(rng):
        alpha = float(np.float32(rng.uniform(0, 1.2)))
        actual = table(functions.leaky_relu(x, y, alpha, float32=False))

        expected = foreign("LEAKY_RELU", x, y, "LeakyReluOptions", alpha=alpha)
        np.testing.assert_array_equal(expected, actual, err_msg=f"{x} {y} {alpha}")


def test_hard_swish_is_the_foreign_one(rng: np.random.Generator) -> None:
    """Sixteen bits with saturation in four places: real arithmetic is off by a step."""
    for x, y in random_grids(rng):
        actual = table(functions.hard_swish(x, y, float32=False))

        expected = foreign("HARD_SWISH", x, y, "HardSwishOptions")
        np.testing.assert_array_equal(expected, actual, err_msg=f"{x} {y}")


@pytest.mark.parametrize(
    ("x", "y", "alpha"),
    [
        (grid(0.01296094711869955, -83), grid(0.02195736952126026, 1), 0.3960627615451813),
        (grid(0.01019151322543621, -24), grid(0.008307773619890213, -45), 0.16688379645347595),
    ],
)
def test_leaky_relu_can_round_its_factors_to_float32(x: Grid, y: Grid, alpha: float) -> None:
    """Kernels until 2026 did: on these grids, found by search, a value differs by one step."""
    old = table(functions.leaky_relu(x, y, alpha, float32=True))
    new = table(functions.leaky_relu(x, y, alpha, float32=False))

    assert 1 == np.abs(old - new).max()
    np.testing.assert_array_equal(foreign("LEAKY_RELU", x, y, "LeakyReluOptions", alpha=alpha), new)


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (grid(0.057988978922367096, 33), grid(0.026874423027038574, -40)),
        (grid(0.07881545275449753, -120), grid(0.1737123429775238, -23)),
    ],
)
def test_hard_swish_can_round_its_factors_to_float32(x: Grid, y: Grid) -> None:
    """Kernels until 2026 did: on these grids, found by search, a value differs by one step."""
    old = table(functions.hard_swish(x, y, float32=True))
    new = table(functions.hard_swish(x, y, float32=False))

    assert 1 == np.abs(old - new).max()
    np.testing.assert_array_equal(foreign("HARD_SWISH", x, y, "HardSwishOptions"), new)


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (grid(0.34474384784698486, 48), grid(0.11157684773206711, -104)),
        (grid(0.003049901220947504, -106), grid(0.004897651728242636, -90)),
    ],
)
def test_relu_can_round_its_factor_to_float32(x: Grid, y: Grid) -> None:
    """Kernels until 2026 did: on these grids, found by search, a value differs by one step."""
    old = table(functions.relu(x, y))

    assert 1 == np.abs(old - foreign("RELU", x, y)).max()


@pytest.mark.parametrize(
    ("function", "y", "real"),
    [
        (functions.float_logistic, grid(1 / 256, -128), lambda v: 1 / (1 + np.exp(-v))),
        (functions.float_tanh, grid(1 / 128, 0), np.tanh),
    ],
)
def test_float_tables_are_the_nearest_integers(function, y, real) -> None:
    """TensorFlow Lite computes them in float32: off by a step at ties only."""
    x = grid(0.047, 9)

    actual = table(function(x, y))

    expected = y.quantize(real(x.scale * (INT8 - x.zero_point)))
    assert np.abs(expected.astype(int) - actual).max() <= 1
    assert np.mean(expected == actual) > 0.98


def test_a_hard_swish_that_the_kernel_refuses_is_refused() -> None:
    """Its shift must go to the right."""
    with pytest.raises(Refusal, match="1/128"):
        functions.hard_swish(grid(1.0, 0), grid(0.001, 0), float32=False)
