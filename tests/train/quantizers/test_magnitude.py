# SPDX-License-Identifier: Apache-2.0
"""Magnitude pruning: its schedule, its budget, and what its last phase keeps."""

import itertools

import pytest
import torch
from torch import Tensor, nn

from codeq_train.config import LayerConfig, QuantConfig
from codeq_train.quantizers import LSQ, Magnitude
from tests.train.nets import ConvNet, images, prepared


def magnitude(weight: Tensor, **fields: object) -> Magnitude:
    settings = {"quantizer": "magnitude", "sparsity": 0.8, "ramp_steps": 10, **fields}
    return Magnitude(weight, LayerConfig(**settings))


def zeros(quantizer: Magnitude, weight: Tensor) -> float:
    return float((quantizer.levels(weight).codes == 0).float().mean())


@pytest.fixture
def weight() -> Tensor:
    return torch.randn(10, 100, generator=torch.Generator().manual_seed(1))


def test_sparsity_rises_along_the_cubic_schedule(weight: Tensor) -> None:
    """Fast at first, when there is much to spare: s (1 - (1 - t/T)^3), then constant."""
    quantizer = magnitude(weight)
    for t in range(1, 15):
        quantizer(weight)
        left = max(1 - t / 10, 0.0)

        expected = 0.8 * (1 - left**3)

        assert abs(zeros(quantizer, weight) - expected) < 0.02, t  # some round to 0 by themselves


def test_only_training_advances_the_schedule(weight: Tensor) -> None:
    """Evaluation and re-estimation of statistics are no steps."""
    quantizer = magnitude(weight)
    quantizer.eval()(weight)
    with torch.no_grad():
        quantizer.train()(weight)

    assert int(quantizer.passes) == 0


def test_the_smallest_weights_are_the_zeros(weight: Tensor) -> None:
    """And the others are on the ordinary grid, untouched."""
    quantizer = magnitude(weight)
    for _ in range(10):
        quantizer(weight)
    kept = quantizer.levels(weight).codes != 0
    plain = LSQ(weight, LayerConfig(quantizer="lsq"))(weight)

    assert weight[kept].abs().min() > weight[~kept].abs().max()
    assert torch.equal(plain[kept].detach(), quantizer(weight)[kept].detach())


def test_pruned_weights_keep_their_gradient_until_the_last_phase(weight: Tensor) -> None:
    """A weight that was pruned too early has to find its way back."""
    quantizer = magnitude(weight)
    for _ in range(10):
        quantizer(weight)
    latent = weight.clone().requires_grad_()
    quantizer(latent).sum().backward()
    pruned = quantizer.levels(weight).codes == 0
    assert latent.grad is not None
    assert (latent.grad[pruned] == 1.0).all()

    quantizer.freeze(weight)
    latent.grad = None
    quantizer(latent).sum().backward()

    assert latent.grad is not None
    assert (latent.grad[pruned] == 0.0).all()
    assert (quantizer.levels(weight + 3.0).codes[pruned] == 0).all()


def test_the_last_phase_has_the_full_sparsity(weight: Tensor) -> None:
    """Whoever asks for 80 % gets them, even if the run is shorter than the schedule."""
    quantizer = magnitude(weight, ramp_steps=1000)
    quantizer(weight)
    quantizer.freeze(weight)

    assert abs(zeros(quantizer, weight) - 0.8) < 0.02


def test_a_budget_decides_the_density_where_there_is_one(weight: Tensor) -> None:
    """Steering goes both ways, by small changes, and never to an empty layer."""
    quantizer = magnitude(weight)
    history = [quantizer.density()]
    for excess in (5.0, 1.0, 0.2):
        quantizer.steer(excess)
        history.append(quantizer.density())
    down = [after / before for before, after in itertools.pairwise(history)]
    assert down == pytest.approx([0.8, 0.8, 0.9])

    quantizer.steer(-0.2)
    assert quantizer.density() > history[-1]
    for _ in range(100):
        quantizer.steer(5.0)
    assert zeros(quantizer, weight) < 1.0


def test_steering_ends_at_the_target(weight: Tensor) -> None:
    """Too strong a correction would swing for ever."""
    quantizer = magnitude(weight, sparsity=0.5)
    for _ in range(60):
        stored = 1.0 - zeros(quantizer, weight)
        quantizer.steer(stored / 0.3 - 1.0)

    assert abs(zeros(quantizer, weight) - 0.7) < 0.02


def test_layers_that_gain_nothing_stay_dense(weight: Tensor) -> None:
    """Depthwise weights are stored dense, and sparsity 0 is a promise."""
    ours = prepared(
        ConvNet(),
        images(16, 2, 9, 9),
        config=QuantConfig(
            weights=LayerConfig(quantizer="magnitude", sparsity=0.7),
            layers={"classifier": {"sparsity": 0.0}},
        ),
    )
    for layer in ours.weighted():
        assert layer.quantizer is not None
        layer.quantizer.steer(1.0)
        layer.quantizer.freeze(layer.weight)
    density = {
        layer.origin.name: float((layer.levels().codes != 0).float().mean())
        for layer in ours.weighted()
    }

    assert density["stem"] < 0.9
    assert density["pw"] < 0.9
    assert density["dw"] > 0.95
    assert density["classifier"] > 0.9


def test_equal_weights_are_not_all_pruned() -> None:
    """The largest weight stays, whatever the share."""
    weight = torch.ones(3, 4)
    quantizer = magnitude(weight, sparsity=0.99)
    quantizer.freeze(weight)

    assert zeros(quantizer, weight) < 1.0


def test_the_schedule_is_part_of_the_state(weight: Tensor) -> None:
    """A resumed run must not begin to prune anew."""
    quantizer = magnitude(weight)
    for _ in range(4):
        quantizer(weight)
    quantizer.steer(0.1)
    resumed: nn.Module = magnitude(weight)
    resumed.load_state_dict(quantizer.state_dict())

    assert isinstance(resumed, Magnitude)
    assert quantizer.density() == resumed.density()
    assert int(resumed.passes) == 4
