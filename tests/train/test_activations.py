# SPDX-License-Identifier: Apache-2.0
"""Activation grids: set from data, learned, or dictated by the op."""

import numpy as np
import pytest
import torch

from codeq_compile.errors import InputError
from codeq_compile.ir import Grid
from codeq_train.activations import ActivationQuantizer


def fitted(values: torch.Tensor, **options: bool) -> ActivationQuantizer:
    quantizer = ActivationQuantizer(**options)  # type: ignore[arg-type]
    quantizer.observe()
    quantizer(values)
    quantizer.settle()
    return quantizer


@pytest.fixture
def normal() -> torch.Tensor:
    return torch.randn(4000, generator=torch.Generator().manual_seed(0))


def test_values_on_the_stored_grid_pass_unchanged(normal: torch.Tensor) -> None:
    """Training must use the very grid that export stores."""
    quantizer = fitted(normal)
    grid = quantizer.grid()
    values = torch.from_numpy(grid.dequantize(np.arange(-128, 128)))

    assert torch.equal(values, quantizer(values).detach())


def test_fake_quantization_is_the_grids_own_rounding(normal: torch.Tensor) -> None:
    """The input's integers on the device come from Grid.quantize."""
    quantizer = fitted(normal)
    grid = quantizer.grid()

    expected = grid.dequantize(grid.quantize(normal.numpy()))

    assert np.array_equal(expected, quantizer(normal).detach().numpy())


def test_non_negative_values_use_all_256_steps(normal: torch.Tensor) -> None:
    """After a ReLU half the grid would be wasted with a zero point of 0."""
    quantizer = fitted(normal.abs(), non_negative=True)

    assert -128 == quantizer.grid().zero_point
    assert not quantizer.zero.requires_grad


def test_calibration_is_never_worse_than_the_whole_range(rng: np.random.Generator) -> None:
    """Long tails are clipped where that pays, short ones are kept."""
    for values in (rng.normal(size=20000), rng.standard_t(3, 20000), rng.uniform(-1, 3, 20000)):
        x = torch.from_numpy(values).float()
        low, high = min(float(x.min()), 0.0), max(float(x.max()), 0.0)
        scale = float(np.float32((high - low) / 255))
        whole = Grid(scale=scale, zero_point=round(-128 - low / scale))
        chosen = fitted(x).grid()

        def error(grid: Grid, x: torch.Tensor = x) -> float:
            real = x.double().numpy()
            return float(np.square(grid.dequantize(grid.quantize(real)) - real).sum())

        assert error(chosen) <= 1.001 * error(whole)


def test_several_batches_are_seen_before_the_grid_is_set() -> None:
    """A shared grid must hold every tensor on it."""
    quantizer = ActivationQuantizer()
    quantizer.observe()
    for value in (1.0, 5.0, -3.0):
        quantizer(torch.full((8,), value))
    quantizer.settle()
    grid = quantizer.grid()

    assert grid.scale * (127 - grid.zero_point) > 4.9
    assert grid.scale * (-128 - grid.zero_point) < -2.9


def test_limits_are_those_of_tflite() -> None:
    """ReLU6 clamps at the step nearest to 6."""
    quantizer = ActivationQuantizer(fixed=Grid(scale=0.0625, zero_point=-100))

    assert (-100, -100 + 96) == quantizer.clamp((0.0, 6.0))
    assert (-128, 127) == quantizer.clamp((-100.0, 100.0))


def test_a_fixed_grid_stays(normal: torch.Tensor) -> None:
    """Softmax and sigmoid tables are made for their own grids."""
    fixed = Grid(scale=1 / 256, zero_point=-128)
    quantizer = ActivationQuantizer(fixed=fixed)
    quantizer.observe()
    quantizer(normal)
    quantizer.settle()

    assert fixed == quantizer.grid()
    assert not any(p.requires_grad for p in quantizer.parameters())


def test_calibration_on_nan_is_refused() -> None:
    """A diverged model would otherwise get an arbitrary grid."""
    with pytest.raises(InputError, match="not finite"):
        fitted(torch.tensor([1.0, float("nan")]))
