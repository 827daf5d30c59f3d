# SPDX-License-Identifier: Apache-2.0
"""Activation grids: set from data, learned, or dictated by the op."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from codeq_compile.errors import InputError
from codeq_compile.ir import Grid
from codeq_compile.passes import run as lower
from codeq_compile.simulate import trace
from codeq_train import ActivationConfig, QuantConfig, export, integer_distance, to_graph_inputs
from codeq_train.activations import ActivationQuantizer
from tests.train.nets import images, prepared, randomize_batchnorm


def fitted(values: torch.Tensor, **options: bool | int) -> ActivationQuantizer:
    quantizer = ActivationQuantizer(**options)
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


@pytest.mark.parametrize("bits", [2, 3, 4, 6, 8])
def test_fewer_bits_are_neighbouring_integers_around_zero(normal: Tensor, bits: int) -> None:
    """The container stays int8: only limits keep values on 2^bits integers, and 0 is one."""
    for quantizer, values in (
        (fitted(normal, bits=bits), normal),
        (fitted(normal.abs(), bits=bits, non_negative=True), normal.abs()),
    ):
        grid, (low, high) = quantizer.grid(), quantizer.clamp((-np.inf, np.inf))
        q = np.unique(np.round(quantizer(values).detach().numpy() / grid.scale) + grid.zero_point)

        assert 2**bits == high - low + 1
        assert low <= grid.zero_point <= high
        assert low <= q.min()
        assert q.max() <= high
        assert len(q) > 0.6 * 2**bits  # calibration uses them


def test_a_narrow_grid_learns_at_the_pace_of_its_levels(normal: Tensor) -> None:
    """LSQ scales gradients by the largest level: with that of 8 bits, 4 bits would learn slower."""
    wide, narrow = (ActivationQuantizer(fixed=None, bits=bits).requires_grad_() for bits in (8, 4))
    for quantizer in (wide, narrow):
        quantizer.log_scale.data.fill_(np.log(0.5))
        quantizer(normal[:1]).sum().backward()

    assert wide.log_scale.grad is not None
    assert narrow.log_scale.grad is not None
    ratio = narrow.log_scale.grad / wide.log_scale.grad
    assert torch.isclose(ratio, torch.tensor((127 / 7) ** 0.5))


@pytest.mark.parametrize(("beyond", "inward"), [(140.0, 1.0), (-140.0, -1.0)])
def test_a_zero_point_beyond_its_limit_can_return(beyond: float, inward: float) -> None:
    """One step too far must not stop it from learning for ever; further out it must not go."""
    for push in (inward, -inward):
        quantizer = ActivationQuantizer()
        torch.nn.init.constant_(quantizer.zero, beyond / 32)  # learned in eighths of 256 steps
        zero_point = quantizer.zero_point()
        zero_point.backward(torch.tensor(push))

        assert float(np.clip(beyond, -128, 127)) == float(zero_point.detach())
        # gradient descent moves it against the gradient
        assert (32 * push if push == inward else 0.0) == float(quantizer.zero.grad)


class Everything(nn.Module):
    """All ways in which a tensor gets a grid: its own, its input's, shared, dictated."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 6, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(6)
        self.left = nn.Conv2d(6, 4, 1)
        self.right = nn.Conv2d(6, 4, 3, padding=1, groups=2)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.hardswish(self.norm(self.stem(x)))
        left = F.relu6(F.max_pool2d(self.left(x), 2))
        right = torch.sigmoid(F.avg_pool2d(self.right(x), 2))
        x = torch.cat([left, right * left + right], 1)
        x = F.pad(x, (1, 1, 0, 0), value=0.3)
        return self.head(x.mean((2, 3)))


def everything(**activations: object) -> nn.Module:
    torch.manual_seed(0)
    model = Everything()
    randomize_batchnorm(model)
    config = QuantConfig(activations=ActivationConfig(**activations))
    return prepared(model, images(64, 2, 8, 8), config=config)


@pytest.mark.parametrize("bits", [2, 4])
def test_integers_of_a_narrow_model_take_only_its_levels(bits: int) -> None:
    """Sums, pools, tables and borders must all keep the limits, or training saw another network."""
    x, ours = images(64, 2, 8, 8), everything(bits=bits)
    graph = lower(export(ours), "literal")
    integers = trace(graph, to_graph_inputs(graph, x))
    widths = {name: int(np.ptp(q)) + 1 for name, q in integers.items() if name not in graph.inputs}

    wide = {name for name, width in widths.items() if width > 2**bits}

    assert len(widths) > 10
    # the op dictates sigmoid's grid
    assert {"sigmoid"} == wide - {"output"}
    assert max(d.steps for d in integer_distance(ours, x)) <= 1


def test_bits_of_activations_are_set_by_layer_name() -> None:
    """The last layers often need more of them, and the output only has fewer when it is named."""
    ours = everything(bits=4, layers={"stem*": 6, "head": 5})
    bits = {layer.origin.name: layer.grid.bits for layer in ours.layers if layer.grid is not None}

    assert 6 == bits["stem"]
    assert 4 == bits["left"]
    assert 5 == bits["head"]
    assert 8 == bits["x"]


def test_the_inputs_grid_cannot_be_narrow() -> None:
    """Its integers come from outside; a pattern that names it alone is an error, not ignored."""
    with pytest.raises(InputError, match=r"activations.layers.*\"x\""):
        everything(layers={"x": 4})
