# SPDX-License-Identifier: Apache-2.0
"""Weights that flip to the end: found, held, and kept from it."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from codeq_train import (
    LayerConfig,
    QuantConfig,
    QuantizedModel,
    export,
    freeze,
    parameter_groups,
    prepare,
    regularizer,
)
from codeq_train.config import OscillationConfig
from codeq_train.layers import Weighted
from codeq_train.oscillation import Oscillation, damping
from tests.train.nets import ConvNet, images

COUNT = OscillationConfig(threshold=0.999)
"""No weight turns back so often: flips are only counted."""


def frozen(quantizer: str = "lsq", **oscillation: float) -> QuantizedModel:
    torch.manual_seed(0)
    ours = prepare(
        ConvNet(4),
        images(64, 2, 9, 9),
        QuantConfig(
            weights=LayerConfig(quantizer=quantizer, bits=3),
            oscillation=OscillationConfig(**oscillation),
        ),
    )
    freeze(ours)
    return ours


def first(model: QuantizedModel) -> Weighted:
    return next(model.weighted())


def push(layer: Weighted, index: int, level: float) -> None:
    """Move one weight to `level` steps."""
    assert layer.quantizer is not None
    step = layer.quantizer.step(layer.weight).flatten()[0]
    with torch.no_grad():
        layer.weight.view(len(layer.weight), -1)[0, index] = level * step


def train(model: QuantizedModel, control: Oscillation, steps: int = 80) -> float:
    """Mean share of flips in the second half of some steps on targets that cannot be learned."""
    torch.manual_seed(2)  # of dropout
    generator = torch.Generator().manual_seed(1)
    x, y = images(512, 2, 9, 9), torch.randint(4, (512,), generator=generator)
    optimizer = torch.optim.Adam(parameter_groups(model, lr=1e-2))
    flips = []
    for _ in range(steps):
        batch = torch.randint(len(x), (32,), generator=generator)
        optimizer.zero_grad()
        (F.cross_entropy(model(x[batch]), y[batch]) + regularizer(model)).backward()
        optimizer.step()
        control.step(model)
        flips.append(control.flips)
    return sum(flips[steps // 2 :]) / (steps - steps // 2)


@pytest.fixture(scope="module")
def uncontrolled() -> float:
    return train(frozen(), Oscillation(COUNT))


@pytest.mark.slow
def test_holding_lowers_the_share_of_flips(uncontrolled: float) -> None:
    """The point of it: the network that is exported is the one that was trained."""
    control = Oscillation()
    flips = train(frozen(threshold=0.02, momentum=0.05), control)

    assert control.held > 0.05
    assert flips < 0.8 * uncontrolled  # random targets: what a weight learns is chance


@pytest.mark.slow
def test_damping_lowers_the_share_of_flips(uncontrolled: float) -> None:
    """The same without deciding weight by weight."""
    assert train(frozen(damping=10.0), Oscillation(COUNT)) < 0.3 * uncontrolled


def test_only_weights_that_turn_back_are_held() -> None:
    """A weight that moves on through many levels is learning."""
    ours, control = frozen(), Oscillation(OscillationConfig(threshold=0.05, momentum=0.1))
    layer = first(ours)
    for t in range(12):
        push(layer, 0, -1.0 + 2.0 * (t % 2))  # to and fro
        push(layer, 1, -3.0 + t // 2)  # onwards
        control.step(ours)
    push(layer, 0, 3.0)
    push(layer, 1, 3.0)
    control.step(ours)

    levels = layer.levels().values().view(len(layer.weight), -1)

    assert abs(int(levels[0, 0])) == 1
    assert int(levels[0, 1]) == 3


def test_a_held_weight_stays_where_it_was_for_longer() -> None:
    """Which of the two levels it has at the moment of the decision is chance."""
    ours, control = frozen(), Oscillation(OscillationConfig(threshold=0.05, momentum=0.1))
    layer = first(ours)
    for level in (2.0, 2.0, 2.0, 1.0, 2.0, 2.0, 2.0, 2.0, 1.0):
        push(layer, 0, level)
        control.step(ours)

    assert int(layer.levels().values().flatten()[0]) == 2
    assert control.held > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "quantizer",
    [
        "codeq_offset",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("codeq", "diffq", "magnitude")),
    ],
)
def test_held_weights_keep_their_level_while_scales_learn(quantizer: str) -> None:
    """Holding works on whatever levels a quantizer has, tables included."""
    ours, control = frozen(quantizer, threshold=0.02, momentum=0.05), Oscillation()
    train(ours, control, steps=40)
    tracks = control.state_dict()
    before = {name: track["level"].clone() for name, track in tracks.items()}
    held = {name: track["held"].clone() for name, track in tracks.items()}
    train(ours, control, steps=10)

    assert sum(int(mask.sum()) for mask in held.values()) > 0
    for layer in ours.weighted():
        mask = held[layer.origin.name]
        assert torch.equal(layer.levels().values()[mask], before[layer.origin.name][mask]), (
            layer.origin.name
        )
    export(ours.eval())


def test_nothing_is_held_before_the_last_phase() -> None:
    """While zones and widths are learned, levels change for good reasons."""
    ours = prepare(ConvNet(), images(32, 2, 9, 9), QuantConfig(weights=LayerConfig(bits=3)))
    control = Oscillation(OscillationConfig(threshold=0.001))

    train_free = copy.deepcopy(ours)
    control.step(train_free)
    control.step(train_free)

    assert control.state_dict() == {}
    assert float(damping(train_free).detach()) == 0.0


def test_a_resumed_control_goes_on_as_if_nothing_had_happened() -> None:
    """A run that was killed must end with the same integers."""
    ours, control = frozen(threshold=0.02, momentum=0.05), Oscillation()
    train(ours, control, steps=25)
    resumed, copied = Oscillation(), copy.deepcopy(ours)
    resumed.load_state_dict(copy.deepcopy(control.state_dict()))

    train(ours, control, steps=10)
    train(copied, resumed, steps=10)

    assert control.held == resumed.held
    pairs = zip(ours.weighted(), copied.weighted(), strict=True)
    assert all(torch.equal(a.weight, b.weight) for a, b in pairs)


def test_damping_pulls_towards_levels_and_leaves_zeros_and_outliers_alone() -> None:
    """A pruned weight has no level to be near to, and one beyond the top cannot flip."""
    ours = frozen("codeq")
    layer = first(ours)
    damping(ours).backward()
    assert layer.weight.grad is not None
    values, nearest = layer.levels().values(), layer.levels().dequantize()

    moved: Tensor = layer.weight.detach() - nearest

    pulled = layer.weight.grad != 0
    assert pulled.any()
    assert not pulled[values == 0].any()
    assert torch.equal(moved.sign()[pulled], layer.weight.grad.sign()[pulled])


def test_a_shared_weight_is_followed_once() -> None:
    """Held twice, it would be counted twice and its state would belong to two layers."""

    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(5, 5)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(F.relu(self.layer(x)))

    ours = prepare(Shared(), images(16, 5), QuantConfig())
    freeze(ours)
    control = Oscillation(COUNT)
    control.step(ours)

    assert len(control.state_dict()) == 1
