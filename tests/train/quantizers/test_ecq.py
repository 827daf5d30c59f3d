# SPDX-License-Identifier: Apache-2.0
"""ECQ: an ordinary grid with other assignments, its gradients, and what `freeze` fixes."""

import copy

import pytest
import torch
from torch import Tensor

from codeq_train import LayerConfig, QuantConfig
from codeq_train.layers import Conv
from codeq_train.quantizers import ECQ, LSQ
from tests.train.nets import ConvNet, images, prepared

WEIGHT = torch.randn(6, 50, generator=torch.Generator().manual_seed(1))


def ecq(weight: Tensor = WEIGHT, **fields: object) -> ECQ:
    settings = {"quantizer": "ecq", "bits": 4, **fields}
    return ECQ(weight, LayerConfig(**settings))


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("per_channel", [False, True])
def test_without_strength_it_is_the_ordinary_grid(bits: int, per_channel: bool) -> None:
    """The constraint is all that is new."""
    config = LayerConfig(bits=bits, strength=0.0, per_channel=per_channel)

    assert torch.equal(LSQ(WEIGHT, config)(WEIGHT), ECQ(WEIGHT, config)(WEIGHT))


def test_zeros_are_a_dead_zone_and_levels_stay_on_the_grid() -> None:
    """The deployed layer knows nothing of the constraint."""
    quantizer = ecq(strength=0.5, per_channel=False)
    levels = quantizer.levels(WEIGHT)
    magnitude = WEIGHT.abs()

    pruned = levels.codes == 0

    assert magnitude[pruned].max() > 0.5 * levels.scale
    for sign in (-1, 1):
        side = torch.sign(WEIGHT) == sign
        assert magnitude[side & pruned].max() < magnitude[side & ~pruned].min()
    assert (4, 0, None) == (levels.bits, levels.gap, levels.table)


def reference(weight: Tensor, top_value: Tensor, index: Tensor, top: float) -> Tensor:
    """The straight-through rule as torch differentiates it."""
    step = top_value / top
    u = (weight / step).clamp(-top - 0.5, top + 0.5)
    return step * (u + (index - u).detach())


@pytest.mark.parametrize("per_channel", [False, True])
def test_gradients_are_those_of_straight_through(per_channel: bool) -> None:
    """A wrong sign trains uphill, as the published code does for negative levels."""
    quantizer = ecq(strength=0.4, per_channel=per_channel, bits=3)
    with torch.no_grad():
        quantizer.log_range -= 0.5  # so that many weights are clipped
    factors = torch.randn(WEIGHT.shape, generator=torch.Generator().manual_seed(2))
    ours, theirs = (WEIGHT.clone().requires_grad_() for _ in range(2))
    top_value = quantizer.top_value(WEIGHT).detach().requires_grad_()

    (quantizer(ours) * factors).sum().backward()
    (reference(theirs, top_value, quantizer.index(WEIGHT), 3.0) * factors).sum().backward()

    clipped = WEIGHT.abs() > top_value + 0.5 * top_value / 3
    assert 10 < int(clipped.sum())
    assert 0 == int(theirs.grad[clipped].abs().max())
    assert torch.equal(factors, ours.grad)  # clipped weights too, unlike the rule for the range
    scaled = top_value.grad * top_value * (WEIGHT.numel() * 3) ** -0.5
    assert torch.allclose(scaled, quantizer.log_range.grad, rtol=1e-4, atol=1e-6)


def test_a_scaled_gradient_keeps_its_sign() -> None:
    """The magnitude of the level, and 1 for zeros: never the level itself."""
    quantizer = ecq(strength=0.4, scaled_gradient=True)
    weight = (0.5 * WEIGHT).requires_grad_()
    quantized = quantizer(weight)

    quantized.sum().backward()

    expected = torch.where(quantized == 0, 1.0, quantized.abs())
    assert bool((quantized < 0).any())
    assert torch.equal(expected, weight.grad)


def test_freezing_fixes_zeros_and_code_lengths() -> None:
    """The last phase must not prune or revive, nor move thresholds with the histogram."""
    quantizer = ecq(strength=0.4)
    before = quantizer.levels(WEIGHT)
    quantizer.freeze(WEIGHT)
    costs = quantizer.assignment.costs.clone()
    moved = WEIGHT + 0.3 * torch.randn(WEIGHT.shape, generator=torch.Generator().manual_seed(2))

    after = quantizer.levels(moved)
    quantizer.steer(1.0)

    assert torch.equal(before.codes, quantizer.levels(WEIGHT).codes)
    assert torch.equal(before.codes == 0, after.codes == 0)
    assert not torch.equal(before.codes, after.codes)
    assert torch.equal(costs, quantizer.assignment.costs)
    assert torch.equal(quantizer(moved), after.dequantize())


def test_a_frozen_checkpoint_is_restored_exactly() -> None:
    """Costs and strength are part of the state."""
    quantizer = ecq(strength=0.4)
    fresh = ecq(0.1 * WEIGHT, strength=0.0)
    quantizer.steer(0.3)
    quantizer.freeze(WEIGHT)

    fresh.load_state_dict(copy.deepcopy(quantizer.state_dict()))

    assert torch.equal(quantizer(WEIGHT), fresh(WEIGHT))
    assert quantizer.assignment.strength == fresh.assignment.strength


def test_depthwise_layers_feel_no_strength() -> None:
    """They are stored dense, whatever is zero there."""
    config = QuantConfig(weights=LayerConfig(quantizer="ecq", bits=4, strength=0.8))
    ours = prepared(ConvNet(), images(16, 2, 9, 9), config=config)

    for layer in ours.weighted():
        assert isinstance(layer.quantizer, ECQ)
        plain = (layer.weight / layer.quantizer.step(layer.weight)).round().clamp(-7, 7)
        same = torch.equal(plain, layer.levels().values())
        assert same == (isinstance(layer, Conv) and layer.is_depthwise), layer.origin.name
