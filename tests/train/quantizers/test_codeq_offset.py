# SPDX-License-Identifier: Apache-2.0
"""CoDeQ as published: its level set, its closed-form gradients, and the table it is deployed in."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from codeq_train import LayerConfig, QuantConfig, parameter_groups, prepare, regularizer
from codeq_train.quantizers import CoDeQOffset
from codeq_train.quantizers.codeq_offset import QuantizeOffset, offset_index
from tests.train.nets import ConvNet, images


def offset(weight: Tensor, **fields: object) -> CoDeQOffset:
    settings = {"quantizer": "codeq_offset", "bits": 4, "per_channel": False, **fields}
    return CoDeQOffset(weight, LayerConfig(**settings))


def set_zone(quantizer: CoDeQOffset, share: float) -> None:
    """Half of the dead zone as a share of the range."""
    with torch.no_grad():
        quantizer.theta.fill_(math.atanh(1.0 - share))


@pytest.fixture
def weight() -> Tensor:
    return torch.randn(8, 60, generator=torch.Generator().manual_seed(1))


def published(w: Tensor, reach: Tensor, zone: Tensor, top: Tensor) -> Tensor:
    """Equations 10 to 14 with elementary operations, straight-through as the published code is."""

    def through(x: Tensor, y: Tensor) -> Tensor:
        return x + (y - x).detach()

    step = (reach - zone / 2) / (top - 0.5)
    delta = zone / 2 - step / 2
    sign = torch.sign(w).detach()
    magnitude = through(w.abs() - delta, torch.relu(w.abs() - delta))
    u = sign * magnitude / step
    index = through(u, torch.round(u).clamp(-top.detach(), top.detach()))
    return step * index + delta * torch.sign(index).detach()


@pytest.mark.parametrize("top", [1.0, 3.0, 7.0, 127.0])
@pytest.mark.parametrize("share", [0.05, 0.3, 0.9])
def test_gradients_are_the_published_ones(
    rng: np.random.Generator, top: float, share: float
) -> None:
    """Width and dead zone must move as the paper's do, where the paper's are right."""
    reach = torch.tensor([1.3], dtype=torch.float64)
    w = torch.from_numpy(rng.uniform(-1.3, 1.3, (5, 40))).requires_grad_()
    zone = (2 * share * reach).requires_grad_()
    q = torch.tensor(top, dtype=torch.float64, requires_grad=True)
    grad = torch.from_numpy(rng.normal(size=(5, 40)))
    expected = torch.autograd.grad(published(w, reach, zone, q), [w, zone, q], grad)

    shares = torch.arange(int(top) + 1, dtype=torch.float64)
    table = torch.where(shares == 0, 0.0, share + (shares - 0.5) * (1 - share) / (top - 0.5))
    ours = QuantizeOffset.apply(w, reach, zone, q, reach, table, None)
    actual = torch.autograd.grad(ours, [w, zone, q], grad)

    assert torch.allclose(published(w, reach, zone, q), ours)
    for theirs, mine in zip(expected, actual, strict=True):
        assert torch.allclose(theirs, mine)


def test_gradients_have_their_closed_forms(weight: Tensor) -> None:
    """The formulas of the derivation, weight by weight, down to the two logits."""
    quantizer = offset(weight, snap=False, min_bits=2)
    set_zone(quantizer, 0.2)
    factors = torch.randn(weight.shape, generator=torch.Generator().manual_seed(2))
    (quantizer(weight) * factors).sum().backward()
    reach, q = quantizer.reach(weight), 2.0 ** (quantizer.bits - 1) - 1
    theta, logit = quantizer.theta.item(), quantizer.theta_bits.item()
    step = 0.8 * reach / (q - 0.5)
    u = torch.sign(weight) * torch.relu(weight.abs() - (0.2 * reach - step / 2)) / step
    index = torch.round(u).clamp(-q, q)
    pruned, inside = (index == 0).float(), (u.abs() <= q + 0.5).float()

    by_zone = ((u - index) - q * torch.sign(weight) * pruned) / (2 * q - 1) * inside
    by_q = ((index - u) + 0.5 * torch.sign(weight) * pruned) * (-step / (q - 0.5)) * inside
    zone_by_theta = -2 * float(reach) / math.cosh(theta) ** 2
    q_by_bits = math.log(2) * (q + 1)
    bits_by_logit = (4 - 2) / math.cosh(logit) ** 2

    assert quantizer.theta.grad is not None
    assert quantizer.theta_bits.grad is not None
    total = (by_zone * factors).sum() * zone_by_theta
    assert torch.isclose(total, quantizer.theta.grad, rtol=1e-3)
    total = (by_q * factors).sum() * q_by_bits * bits_by_logit
    assert torch.isclose(total, quantizer.theta_bits.grad, rtol=1e-3)


def test_weights_beyond_the_range_have_no_say_in_the_zone(weight: Tensor) -> None:
    """The published code's term for them grows without bound as a layer becomes sparse."""
    outlier = torch.cat([weight.flatten(), torch.tensor([50.0])]).reshape(1, -1)
    quantizer = offset(outlier)
    only = torch.zeros_like(outlier)
    only[0, -1] = 1.0
    latent = outlier.clone().requires_grad_()

    (quantizer(latent) * only).sum().backward()

    assert float(quantizer.theta.grad) == 0.0
    assert float(latent.grad[0, -1]) == 1.0  # it may still come back


@pytest.mark.parametrize("bits", [2, 3, 4, 7, 8])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.8])
@pytest.mark.parametrize("per_channel", [False, True])
def test_zeros_are_exactly_the_weights_inside_the_dead_zone(
    weight: Tensor, bits: int, share: float, per_channel: bool
) -> None:
    """Pruning is by magnitude, at tau, and nothing else is a zero."""
    quantizer = offset(weight, bits=bits, learn_bits=False, per_channel=per_channel)
    set_zone(quantizer, share)
    tau = quantizer.reach(weight) * quantizer.zone().detach()

    assert torch.equal(weight.abs() <= tau, quantizer(weight) == 0)
    assert torch.equal(weight.abs() <= tau, quantizer.levels(weight).values() == 0)


def test_a_weight_on_the_edge_of_the_zone_is_pruned() -> None:
    """A tie that training and export decide differently is another network."""
    reach, zone, top = torch.tensor([1.0]), torch.tensor([0.5]), torch.tensor(7.0)
    edge = torch.tensor([0.25, -0.25, 0.2500001, -0.2500001])

    assert [0.0, 0.0, 1.0, 1.0] == offset_index(edge, reach, zone, top, None).tolist()


@pytest.mark.parametrize("bits", [2, 3, 4, 7, 8])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_the_top_level_is_the_range(weight: Tensor, bits: int, share: float) -> None:
    """127 exactly: the range must not shrink as the zone grows, and int8 is used up."""
    quantizer = offset(weight, bits=bits, learn_bits=False)
    set_zone(quantizer, share)
    levels = quantizer.levels(weight)

    assert int(levels.values().abs().max()) == 127
    assert torch.isclose(levels.scale * 127, quantizer.reach(weight).flatten())
    assert levels.table is None or levels.table == tuple(-n for n in reversed(levels.table))
    assert levels.table is None or len(levels.table) == 2**bits - 1


@pytest.mark.parametrize("bits", [3, 4, 6])
def test_training_starts_on_the_plain_absmax_grid(bits: int) -> None:
    """With d = s there is no offset: equation 10 is then the ordinary quantizer."""
    weight = torch.randn(4, 20, generator=torch.Generator().manual_seed(bits))  # P99 is the maximum
    quantizer = offset(weight, bits=bits, snap=False, learn_bits=False)
    top = 2 ** (bits - 1) - 1
    step = weight.abs().max() / top

    plain = step * torch.round(weight / step)

    assert torch.allclose(plain, quantizer(weight).detach(), atol=1e-6)
    assert quantizer(weight).unique().numel() > 2**bits // 2


def test_the_paper_starts_almost_without_a_zone(weight: Tensor) -> None:
    """Runs that reproduce the paper need its logits, 3 and 3."""
    quantizer = offset(weight, bits=8, paper_init=True)

    assert (3.0, 3.0) == (quantizer.theta.item(), quantizer.theta_bits.item())
    assert quantizer.bits == 8
    assert float((quantizer(weight) == 0).float().mean()) < 0.02


@pytest.mark.parametrize("bits", range(2, 9))
def test_snapping_moves_levels_by_a_fraction_of_a_step(weight: Tensor, bits: int) -> None:
    """The change that deployment makes is known, and in four bits it is a thirtieth of a step."""
    errors = []
    for share in (0.05, 0.1, 0.3, 0.5, 0.8):
        quantizer = offset(weight, bits=bits, learn_bits=False)
        set_zone(quantizer, share)
        tau, top = 127 * quantizer.zone().item(), 2 ** (bits - 1) - 1
        step = (127 - tau) / (top - 0.5)
        real = [tau + (k - 0.5) * step for k in range(1, top + 1)]
        errors.append(quantizer.snap_error())

        expected = max(abs(round(level) - level) / step for level in real)

        assert math.isclose(expected, errors[-1], abs_tol=2e-3)
    if bits <= 4:
        assert max(errors) < (0.5 / 127) * (top - 0.5) / 0.2 + 1e-3
    assert offset(weight, bits=4).snap_error() < 0.035


def test_eight_bits_need_no_table(weight: Tensor) -> None:
    """A table holds seven; but with eight, every int8 beyond the zone is a level."""
    quantizer = offset(weight, bits=8, learn_bits=False)
    set_zone(quantizer, 0.25)
    levels = quantizer.levels(weight)

    assert (None, 0, 8) == (levels.table, levels.gap, levels.bits)
    assert int(levels.codes[levels.codes != 0].abs().min()) >= 32


def test_a_layer_can_become_very_sparse_without_blowing_up(weight: Tensor) -> None:
    """As theta goes to 0 the step would vanish; the zone ends at 95 % of the range."""
    quantizer = offset(weight)
    with torch.no_grad():
        quantizer.theta.fill_(1e-3)
    latent = weight.clone().requires_grad_()

    (quantizer(latent) * torch.randn_like(latent)).sum().backward()

    assert math.isclose(quantizer.zone().item(), 0.95, rel_tol=1e-6)
    assert float((quantizer(weight) == 0).float().mean()) > 0.95
    assert torch.isfinite(latent.grad).all()
    assert abs(quantizer.theta.grad.item()) < 1e3


def test_a_zone_at_its_limit_can_come_back(weight: Tensor) -> None:
    """A clamp without a gradient would hold the layer there for ever."""
    quantizer = offset(weight)
    with torch.no_grad():
        quantizer.theta.fill_(1e-3)
    zone = quantizer.zone()

    (narrower,) = torch.autograd.grad(zone, quantizer.theta, retain_graph=True)
    (wider,) = torch.autograd.grad(-zone, quantizer.theta)

    assert narrower < 0  # descent on +zone raises theta
    assert wider == 0


@pytest.mark.parametrize("snap", [False, True])
def test_real_levels_are_only_for_training(weight: Tensor, snap: bool) -> None:
    """Whatever was trained with, evaluation and export see the levels that are stored."""
    quantizer = offset(weight, snap=snap)
    set_zone(quantizer, 0.3)
    stored = quantizer.levels(weight).dequantize()

    assert snap == torch.equal(stored, quantizer(weight))
    assert torch.equal(stored, quantizer.eval()(weight))
    assert torch.allclose(stored, quantizer.train()(weight), atol=float(quantizer.step(weight)))
    quantizer.freeze(weight)
    assert torch.equal(quantizer.levels(weight).dequantize(), quantizer(weight))


def test_freezing_fixes_zeros_width_and_zone(weight: Tensor) -> None:
    """After it only values move: a stable last phase."""
    quantizer = offset(weight)
    set_zone(quantizer, 0.3)
    before = quantizer.levels(weight)
    quantizer.freeze(weight)

    after = quantizer.levels(weight + 0.5 * torch.randn_like(weight))

    assert torch.equal(before.values() == 0, after.values() == 0)
    assert (before.bits, before.table) == (after.bits, after.table)
    assert not any(p.requires_grad for p in quantizer.parameters())


def test_the_estimated_density_follows_the_exact_one(weight: Tensor) -> None:
    """A budget is met by it."""
    quantizer = offset(weight)
    for share in (0.1, 0.3, 0.6):
        set_zone(quantizer, share)
        _, density = quantizer.rate(weight)
        exact = float((quantizer.levels(weight).values() != 0).float().mean())

        assert abs(float(density.detach()) - exact) < 0.05
    (pull,) = torch.autograd.grad(density, quantizer.theta)
    assert pull > 0


def test_the_papers_penalty_is_on_the_logits() -> None:
    """lambda_dz · theta² + lambda_bit · theta_bits², every layer alike (equations 16 and 19)."""
    ours = prepare(
        ConvNet(),
        images(16, 2, 9, 9),
        QuantConfig(
            weights=LayerConfig(
                quantizer="codeq_offset", paper_init=True, lambda_dz=0.01, lambda_bit=0.02
            )
        ),
    )
    layers = list(ours.weighted())
    penalty = regularizer(ours)
    penalty.backward()

    # zeros of the depthwise layer save nothing: only its width is penalised
    assert torch.isclose(penalty.detach(), torch.tensor(9 * (0.01 * 3 + 0.02 * 4)))
    assert layers[0].quantizer is not None
    assert torch.isclose(layers[0].quantizer.theta.grad, torch.tensor(2 * 0.01 * 3.0))
    groups = {group["name"]: group["params"] for group in parameter_groups(ours)}
    assert (4, 4) == (len(groups["dead_zone"]), len(groups["bits"]))
