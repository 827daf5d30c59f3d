# SPDX-License-Identifier: Apache-2.0
"""EC2T: exact gradients of centroids, the table they are deployed in, and what it stores."""

import pytest
import torch
from torch import Tensor, nn

from codeq_compile.ir import op_type
from codeq_compile.packing import applicable, pack
from codeq_compile.plan import GAP, HUFFMAN
from codeq_train import LayerConfig, QuantConfig
from codeq_train.fold import fold
from codeq_train.quantizers import EC2T
from tests.train.nets import images, prepared

GENERATOR = torch.Generator().manual_seed(1)
WEIGHT = torch.randn(8, 60, generator=GENERATOR)
WEIGHT = torch.where(WEIGHT > 0, 2.0 * WEIGHT, WEIGHT)  # positive weights are larger


def ec2t(weight: Tensor = WEIGHT, **fields: object) -> EC2T:
    settings = {"quantizer": "ec2t", "strength": 0.3, **fields}
    return EC2T(weight, LayerConfig(**settings))


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("per_channel", [False, True])
def test_centroids_have_their_exact_gradients(per_channel: bool, symmetric: bool) -> None:
    """Of -w_n the derivative by w_n is -1: the published code has the other sign."""
    quantizer = ec2t(symmetric=symmetric, per_channel=per_channel)
    factors = torch.randn(WEIGHT.shape, generator=torch.Generator().manual_seed(2)) + 1.0
    assigned = torch.sign(quantizer(WEIGHT)).detach()

    def loss(log_range: Tensor, balance: Tensor) -> Tensor:
        negative, positive = (log_range - balance).exp(), (log_range + balance).exp()
        values = torch.where(assigned > 0, positive, torch.where(assigned < 0, -negative, 0.0))
        return (values * factors).sum()

    learned = [p for p in (quantizer.log_range, quantizer.balance) if p.requires_grad]
    expected = torch.autograd.grad(loss(quantizer.log_range, quantizer.balance), learned)

    ours = torch.autograd.grad((quantizer(WEIGHT) * factors).sum(), learned)

    assert (1 if symmetric else 2) == len(learned)
    for theirs, mine in zip(expected, ours, strict=True):
        assert torch.allclose(theirs, mine, rtol=1e-4, atol=1e-4)


def test_more_of_a_positive_centroid_raises_the_loss_where_its_gradient_is_positive() -> None:
    """The same once more, by differences of the forward pass itself."""
    quantizer = ec2t(symmetric=False, per_channel=False)
    factors = torch.randn(WEIGHT.shape, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        quantizer.freeze(WEIGHT)  # differences need a fixed assignment

    def loss() -> Tensor:
        return (quantizer(WEIGHT) * factors).sum()

    for parameter in (quantizer.log_range, quantizer.balance):
        (gradient,) = torch.autograd.grad(loss(), parameter)
        start, values = parameter.detach().clone(), []
        for change in (0.2, -0.2):
            with torch.no_grad():
                parameter.copy_(start + change)
                values.append(float(loss()))
        with torch.no_grad():
            parameter.copy_(start)
        # snapping moves the smaller centroid by up to half of 1/127
        assert abs((values[0] - values[1]) / 0.4 / float(gradient) - 1.0) < 0.1


@pytest.mark.parametrize("scaled", [False, True])
def test_latent_weights_have_a_straight_through_gradient(scaled: bool) -> None:
    """Scaled by the magnitude of the centroid, never by its sign."""
    quantizer = ec2t(symmetric=False, scaled_gradient=scaled)
    weight = WEIGHT.clone().requires_grad_()
    quantized = quantizer(weight)

    quantized.sum().backward()

    magnitude = torch.where(quantized == 0, 1.0, quantized.abs())
    assert torch.equal(magnitude if scaled else torch.ones_like(WEIGHT), weight.grad)


@pytest.mark.parametrize("per_channel", [False, True])
def test_the_larger_centroid_is_127_steps_and_the_change_is_told(per_channel: bool) -> None:
    """Training sees the snapped levels; the report says how far they are from the learned ones."""
    quantizer = ec2t(symmetric=False, per_channel=per_channel)
    negative, positive = quantizer.centroids(WEIGHT)

    levels = quantizer.levels(WEIGHT)

    low, zero, high = levels.table or ()
    assert (0, 127) == (zero, high)
    assert positive.min() > negative.min()
    scale = levels.scale.reshape(positive.shape)
    assert torch.allclose(positive, 127 * scale)
    change = ((-low * scale) / negative - 1.0).abs().max()
    assert torch.allclose(change, torch.tensor(quantizer.snap_error()), atol=1e-5)
    assert quantizer.snap_error() <= 0.5 / (-low - 0.5)


def test_centroids_that_are_far_apart_stay_in_the_table() -> None:
    """The smaller one is at least one step."""
    quantizer = ec2t(symmetric=False)
    with torch.no_grad():
        quantizer.balance.fill_(-9.0)

    assert (-127, 0, 1) == quantizer.levels(WEIGHT).table
    assert bool(torch.isfinite(quantizer(WEIGHT)).all())


def test_it_starts_at_the_least_squared_error() -> None:
    """No other centroid must be better for the same weights, without a code."""
    quantizer = ec2t(strength=0.0, per_channel=False)

    def error(factor: float) -> float:
        centroid = factor * float(quantizer.step(WEIGHT))
        nearest = (WEIGHT / centroid).round().clamp(-1, 1) * centroid
        return float((nearest - WEIGHT).square().sum())

    assert all(error(1.0) <= error(factor) for factor in (0.8, 0.9, 0.97, 1.03, 1.1, 1.2))


def test_centroids_do_not_collapse() -> None:
    """Below 0.675 standard deviations nearly all weights would be kept."""
    quantizer = ec2t(per_channel=False)
    with torch.no_grad():
        quantizer.log_range.fill_(-20.0)
    smallest = 0.675 * WEIGHT.std(correction=0)

    assert torch.allclose(smallest, quantizer.step(WEIGHT))
    for sign in (1.0, -1.0):
        quantizer.zero_grad()
        (sign * quantizer(WEIGHT).abs()).sum().backward()
        assert quantizer.log_range.grad <= 0.0  # the way down is shut, the way up is open


def test_after_freezing_only_centroids_move() -> None:
    """The published second phase: assignments are fixed, signs included."""
    quantizer = ec2t(symmetric=False)
    before = quantizer.levels(WEIGHT)
    quantizer.freeze(WEIGHT)
    weight = (-WEIGHT).requires_grad_()

    quantizer(weight).square().sum().backward()

    assert torch.equal(before.codes, quantizer.levels(weight).codes)
    assert 0 == int(weight.grad.abs().max())
    assert int(quantizer.log_range.grad.abs().max()) > 0
    fresh = ec2t(0.1 * WEIGHT, symmetric=False)
    fresh.load_state_dict(quantizer.state_dict())
    assert torch.equal(quantizer(WEIGHT), fresh(WEIGHT))


def test_a_mask_that_loses_more_weights_is_obeyed() -> None:
    """A budget may cut once more after `freeze`."""
    quantizer = ec2t()
    quantizer.freeze(WEIGHT)
    assert quantizer.mask is not None
    quantizer.mask[:4] = 0.0

    assert 0 == int(quantizer.levels(WEIGHT).codes[:4].abs().max())
    assert torch.equal(quantizer(WEIGHT), quantizer.levels(WEIGHT).dequantize())


def smallest_bytes(symmetric: bool, gammas: Tensor) -> int:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(16, 32, 3), nn.BatchNorm2d(32))
    with torch.no_grad():
        model[1].weight.copy_(gammas)
    fields = LayerConfig(quantizer="ec2t", strength=0.2, symmetric=symmetric)
    ours = prepared(model, images(8, 16, 6, 6), config=QuantConfig(weights=fields))
    folded = fold(next(ours.weighted()))
    names = {*applicable(folded.weights, op_type(folded.kind).packings)}
    # the others are not packed with unless they are asked for
    return min(pack(folded.weights, name).bytes for name in names - {GAP, HUFFMAN})


def test_equal_centroids_are_stored_in_fewer_bytes() -> None:
    """That is why they are the default: a table costs more than a second centroid is worth."""
    positive = torch.ones(32)
    mixed = positive.clone()
    mixed[::3] = -1.0

    symmetric, table, both_signs = (
        smallest_bytes(True, mixed),
        smallest_bytes(False, positive),
        smallest_bytes(False, mixed),
    )

    assert LayerConfig().symmetric
    assert 1.1 * symmetric < table
    assert 1.1 * table < both_signs
