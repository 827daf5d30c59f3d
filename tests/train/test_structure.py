# SPDX-License-Identifier: Apache-2.0
"""Groups of weights that become 0 together, from the threshold to the exported integers."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from codeq_compile import passes
from codeq_compile.errors import InputError
from codeq_train import (
    LayerConfig,
    QuantConfig,
    export,
    freeze,
    integer_distance,
    parameter_groups,
    parse_config,
    prepare,
    regularizer,
)
from codeq_train.channels import pruning_layers
from codeq_train.config import BudgetConfig
from codeq_train.cost import estimate
from codeq_train.quantizers import make_quantizer
from codeq_train.quantizers.base import soft_density
from codeq_train.structure import BLOCK, Structure
from tests.train.nets import ConvNet, images, prepared


def weights(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_a_channel_is_measured_by_its_root_mean_square() -> None:
    """Else a channel with one large weight would outlive one with many."""
    weight = weights(5, 3, 2, 2)
    found = Structure("channel", learn=True).magnitude(weight)

    expected = weight.numpy().reshape(5, -1)
    expected = np.sqrt((expected**2).mean(1))
    for channel in range(5):
        assert np.allclose(found[channel].numpy(), expected[channel])


@pytest.mark.parametrize("inputs", [5, 16, 40])
def test_a_block_is_sixteen_consecutive_inputs(inputs: int) -> None:
    """They stand side by side in flash; the last block of a row may be shorter."""
    weight = weights(3, inputs, 2, 1)
    found = Structure("1x16", learn=True).magnitude(weight)

    for start in range(0, inputs, BLOCK):
        block = weight[:, start : start + BLOCK].numpy()
        rms = np.sqrt((block**2).mean(1, keepdims=True))
        assert np.allclose(
            found[:, start : start + BLOCK].numpy(), np.broadcast_to(rms, block.shape)
        )


@pytest.mark.parametrize(("kept", "of", "inputs"), [(2, 4, 12), (1, 8, 20), (2, 4, 3)])
def test_of_every_m_inputs_the_n_largest_stay(kept: int, of: int, inputs: int) -> None:
    """A kernel relies on exactly so many."""
    weight = weights(6, inputs, 2, 2)
    alive = Structure(f"{kept}:{of}", learn=True).alive(weight, torch.tensor(1.0))

    for start in range(0, inputs, of):
        group, magnitude = alive[:, start : start + of], weight[:, start : start + of].abs()
        assert (group.sum(1) == min(kept, group.shape[1])).all()
        removed = magnitude.masked_fill(group == 1, 0.0).amax(1)
        assert (removed <= magnitude.masked_fill(group == 0, torch.inf).amin(1)).all()


def test_equal_weights_make_no_difference_to_how_many_stay() -> None:
    """A freshly zeroed layer has nothing but ties."""
    alive = Structure("1:4", learn=True).alive(torch.ones(2, 8), torch.tensor(1.0))

    assert torch.equal(torch.tensor([[1.0, 0, 0, 0, 1, 0, 0, 0]] * 2), alive)


@pytest.mark.parametrize("kind", ["channel", "1x16", "2:4"])
@pytest.mark.parametrize("quantizer", ["codeq", "magnitude"])
@pytest.mark.parametrize("frozen", [False, True])
def test_training_sees_what_is_exported(kind: str, quantizer: str, frozen: bool) -> None:
    """Bit for bit, before and after the last phase begins."""
    weight = weights(12, 40, 3, 3) * torch.linspace(0.1, 2.0, 12).reshape(-1, 1, 1, 1)
    config = LayerConfig(quantizer=quantizer, bits=4, structure=kind, ramp_steps=1)
    ours = make_quantizer(weight, config)
    if ours.structure.phi is not None:
        torch.nn.init.constant_(ours.structure.phi, 2.0)
    ours(weight)
    if frozen:
        ours.freeze(weight)
    ours.eval()
    levels = ours.levels(weight)

    assert torch.equal(levels.dequantize(), ours(weight))
    zeros = (levels.values() == 0).float()
    if kind == "channel":
        assert {0.0, 1.0} & set(zeros.flatten(1).mean(1).tolist())
    if kind == "2:4":
        assert (zeros.reshape(12, 10, 4, 3, 3).sum(2) >= 2).all()


def test_a_wider_zone_prunes_more_and_its_gradient_says_so() -> None:
    """The budget moves the threshold by it."""
    weight = weights(64, 32) * torch.linspace(0.05, 1.0, 64)[:, None]
    ours = make_quantizer(weight, LayerConfig(bits=4, structure="channel"))
    densities = []
    for zone in (-1.0, 1.0, 3.0):
        torch.nn.init.constant_(ours.structure.phi, zone)
        _, density = ours.rate(weight)
        (slope,) = torch.autograd.grad(density, ours.structure.phi)
        densities.append(float(density.detach()))
        assert slope < 0

    assert sorted(densities, reverse=True) == densities
    assert densities[0] - densities[-1] > 0.2


@pytest.mark.parametrize(("kind", "groups"), [("channel", 6), ("1x16", 18)])
def test_the_thresholds_gradient_is_that_of_the_soft_edge(kind: str, groups: int) -> None:
    """``alive = sigmoid(z)``, ``z = (rms - 0.1 · softplus(phi) · reach) / (0.05 · reach)``.

    Forward it is a step, so that only the formula says what the threshold learns from.
    """
    weight = (0.1 * weights(6, 48).double()).requires_grad_()
    structure = Structure(kind, learn=True).double()
    torch.nn.init.constant_(structure.phi, 0.4)
    reach, grad = 1.7, weights(6, 48).double()
    alive = structure.alive(weight, torch.tensor(reach, dtype=torch.double))
    by_phi, by_weight = torch.autograd.grad(alive, [structure.phi, weight], grad)

    w, g = (each.detach().numpy().reshape(groups, -1) for each in (weight, grad))
    rms = np.sqrt((w**2).mean(1, keepdims=True))
    threshold = 0.1 * np.log1p(np.exp(0.4)) * reach
    soft = 1 / (1 + np.exp(-(rms - threshold) / (0.05 * reach)))
    by_rms = g.sum(1, keepdims=True) * soft * (1 - soft) / (0.05 * reach)
    by_threshold = -by_rms.sum() * 0.1 * reach / (1 + np.exp(-0.4))

    assert np.array_equal(
        np.broadcast_to(rms > threshold, w.shape), alive.detach().numpy().reshape(groups, -1)
    )
    assert np.isclose(by_threshold, float(by_phi))
    expected = by_rms * w / (rms * w.shape[1])  # d rms / d w = w / (n · rms)
    assert np.allclose(expected, by_weight.numpy().reshape(groups, -1))


def test_a_groups_gradient_is_straight_through_and_that_of_its_edge() -> None:
    """``dŵ/dw = 1`` and ``w · d alive``: what pulls a group back or pushes it out."""
    weight = (0.1 * weights(6, 48).double()).requires_grad_()
    structure = Structure("channel", learn=True).double()
    reach, grad = torch.tensor(1.7, dtype=torch.double), weights(6, 48).double()
    found = torch.autograd.grad(structure(weight, reach), [structure.phi, weight], grad)
    by_edge = torch.autograd.grad(
        structure.alive(weight, reach), [structure.phi, weight], grad * weight.detach()
    )

    assert torch.allclose(by_edge[0], found[0])
    assert torch.allclose(grad + by_edge[1], found[1])


def test_the_soft_densitys_gradient_is_the_sigmoids() -> None:
    """``mean(sigmoid(z) · alive)``, ``z = (|w| - threshold) / (step / 4)``: the bytes' gradient."""
    weight = weights(5, 7).double().requires_grad_()
    threshold, step = (torch.tensor(n, dtype=torch.double, requires_grad=True) for n in (0.6, 0.4))
    alive = weights(7, 5).double().T.abs().requires_grad_()
    density = soft_density(weight, threshold, step, alive)
    found = torch.autograd.grad(density, [weight, threshold, step, alive])

    w, a = weight.detach().numpy(), alive.detach().numpy()
    z = (np.abs(w) - 0.6) / (0.25 * 0.4)
    soft = 1 / (1 + np.exp(-z))
    slope = soft * (1 - soft) * a / w.size  # by z
    expected = [
        slope * np.sign(w) / (0.25 * 0.4),
        -slope.sum() / (0.25 * 0.4),
        -(slope * z).sum() / 0.4,
        soft / w.size,
    ]

    assert np.isclose((soft * a).mean(), float(density.detach()))
    for by_formula, by_torch in zip(expected, found, strict=True):
        assert np.allclose(by_formula, by_torch.numpy())


def test_pruned_weights_keep_their_gradient() -> None:
    """A group may come back as long as the mask is not fixed."""
    weight = weights(8, 32).requires_grad_()
    ours = make_quantizer(weight.detach(), LayerConfig(bits=4, structure="channel"))
    torch.nn.init.constant_(ours.structure.phi, 20.0)
    quantized = ours(weight)
    quantized.backward(torch.ones_like(quantized))

    assert not quantized.any()
    assert (weight.grad != 0).float().mean() > 0.9


def test_the_threshold_has_a_group_of_its_own() -> None:
    """Thresholds move faster than weights, and never decay."""
    config = QuantConfig(weights=LayerConfig(bits=4, structure="channel"))
    ours = prepared(ConvNet(), images(16, 2, 9, 9), config=config)
    groups = {group["name"]: group for group in parameter_groups(ours)}
    phis = [layer.quantizer.structure.phi for layer in pruning_layers(ours)]

    assert 3 == len(phis)
    assert {id(phi) for phi in phis} <= {id(p) for p in groups["dead_zone"]["params"]}
    assert 0.0 == groups["dead_zone"]["weight_decay"]


@pytest.mark.parametrize("norm", [True, False])
def test_a_dead_channel_is_zero_and_leaves_the_network(norm: bool) -> None:
    """Its bias would stand at the borders of what reads it, and had to be stored for that."""
    torch.manual_seed(0)
    middle = nn.BatchNorm2d(8) if norm else nn.Identity()
    model = nn.Sequential(nn.Conv2d(2, 8, 3), middle, nn.ReLU(), nn.Conv2d(8, 3, 3, padding=1))
    config = QuantConfig(weights=LayerConfig(bits=4), layers={"0": {"structure": "channel"}})
    x = images(16, 2, 5, 5)
    with torch.no_grad():
        model[0].weight[2:5] *= 0.05
        (middle if norm else model[0]).bias[:] = 0.5
        model.train()(x)
    ours = prepared(model, x, config=config)
    conv = next(ours.weighted())
    torch.nn.init.constant_(conv.quantizer.structure.phi, 1.0)
    zeros = (conv.levels().codes == 0).flatten(1).all(1)
    trained = conv.train().compute(x)

    assert {2, 3, 4} <= set(torch.nonzero(zeros).flatten().tolist())
    assert not zeros.all()
    assert (trained[:, zeros] == 0).all()
    assert (trained[:, ~zeros] != 0).any()
    freeze(ours)
    lowered = passes.run(export(ours.eval()))
    assert 8 - int(zeros.sum()) == lowered.tensors[lowered.nodes[0].output].shape[-1]
    assert all(d.steps <= 1 for d in integer_distance(ours, x))


def test_a_budget_prunes_whole_channels() -> None:
    """The same dual ascent, the same bytes."""
    layer = LayerConfig(bits=4, learn_bits=False, learn_dead_zone=True, structure="channel")
    config = QuantConfig(weights=layer, budgets=BudgetConfig(weights=1400, rate=0.1))
    net = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 32))
    with torch.no_grad():
        net[0].weight *= torch.linspace(0.2, 2.0, 64)[:, None]
    ours = prepared(net, images(64, 32), config=config).train()
    optimizer = torch.optim.Adam(parameter_groups(ours, dead_zone_lr=0.05))
    ours.budget.schedule(100)
    before = float(estimate(next(ours.weighted())).weight_bytes.detach())
    for _ in range(100):
        optimizer.zero_grad()
        regularizer(ours).backward()
        optimizer.step()
    first = next(ours.weighted())
    dead = (first.levels().codes == 0).flatten(1).all(1)

    assert dead.sum() > 4
    assert float(estimate(first).weight_bytes.detach()) < before


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"structure": "4:4"}, "removes nothing"),
        ({"structure": "channel", "quantizer": "lsq"}, "needs one of the quantizers codeq"),
        ({"structure": "1x8"}, "structure"),
    ],
)
def test_a_structure_that_cannot_be_is_refused(fields: dict[str, str], message: str) -> None:
    """Not after training."""
    with pytest.raises(InputError, match=message):
        parse_config({"weights": fields})
    with pytest.raises(InputError, match=message) as caught:
        prepare(ConvNet(), images(16, 2, 9, 9), QuantConfig(weights=LayerConfig(**fields)))
    assert "\n" not in str(caught.value)
