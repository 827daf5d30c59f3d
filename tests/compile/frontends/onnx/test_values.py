# SPDX-License-Identifier: Apache-2.0
"""What is known of a tensor: orders of elements, real values, grids."""

import numpy as np
import pytest

from codeq_compile.frontends.builder import Refusal
from codeq_compile.frontends.onnx.layout import Layout, channels_last
from codeq_compile.frontends.onnx.values import (
    Activation,
    Constant,
    Quantized,
    grid_of,
    range_grid,
)


def test_samples_change_their_order_and_back(rng: np.random.Generator) -> None:
    """Whoever compares with another interpreter needs both."""
    shape = (1, 3, 4, 5)
    value = Activation(tensor="x", shape=shape, layout=Layout.of(shape, channels_last(4)))
    samples = rng.integers(-128, 128, (2, *shape))

    memory = value.to_memory(samples)

    np.testing.assert_array_equal(samples[:, 0].transpose(0, 2, 3, 1).reshape(2, -1), memory)
    np.testing.assert_array_equal(samples, value.from_memory(memory))


def test_real_values_have_the_scale_of_their_channel() -> None:
    """Along the wrong axis every weight would be another one."""
    levels = np.array([[1, 2], [3, 4], [5, 6]], np.int16)
    per_channel = Quantized(levels=levels, scale=np.array([1, 10], np.float32), axis=1, bits=8)
    one = Quantized(levels=levels, scale=np.array([2], np.float32), axis=0, bits=8)

    np.testing.assert_array_equal([[1, 20], [3, 40], [5, 60]], per_channel.real)
    np.testing.assert_array_equal(2 * levels, one.real)


def test_the_limits_of_integers_follow_from_their_width() -> None:
    """int4 looks like int8 once it is read."""
    narrow = Constant(array=np.zeros(2, np.uint8), is_narrow=True)

    assert ("uint4", (0, 15)) == (narrow.type_name, narrow.limits)
    assert ("int16", (-(1 << 15), (1 << 15) - 1)) == (
        (wide := Constant(array=np.zeros(2, np.int16))).type_name,
        wide.limits,
    )


@pytest.mark.parametrize(("scale", "zero"), [(0.0, 0), (-1.0, 0), (float("nan"), 0), (1.0, 128)])
def test_an_impossible_grid_is_refused(scale: float, zero: int) -> None:
    """A scale of zero divides by it at every layer."""
    with pytest.raises(Refusal):
        grid_of(scale, zero)


def test_the_range_of_a_function_is_its_grid(rng: np.random.Generator) -> None:
    """Nothing saturates, and zero is on it."""
    for _ in range(20):
        results = rng.normal(size=256) * 10.0 ** rng.uniform(-3, 3) + rng.normal()
        grid = range_grid(results)

        low, high = (grid.scale * (limit - grid.zero_point) for limit in grid.limits)
        step = grid.scale
        assert low - step < min(0, results.min())
        assert max(0, results.max()) < high + step
        assert high - low < 1.01 * (max(0, results.max()) - min(0, results.min()))


@pytest.mark.parametrize("results", [np.zeros(256), np.full(256, np.inf), np.full(256, 1e-60)])
def test_a_function_without_a_range_is_refused(results: np.ndarray) -> None:
    """There is no grid for it."""
    with pytest.raises(Refusal, match="quantize its output"):
        range_grid(results)
