# SPDX-License-Identifier: Apache-2.0
"""DiffQ: noise that stands for rounding, widths that learn through it, and the true grid after."""

import math

import pytest
import torch
from torch import Tensor

from codeq_train.config import LayerConfig
from codeq_train.quantizers import LSQ, DiffQ


def diffq(weight: Tensor, **fields: object) -> DiffQ:
    settings = {"quantizer": "diffq", "bits": 8, **fields}
    return DiffQ(weight, LayerConfig(**settings))


def set_width(quantizer: DiffQ, bits: float) -> None:
    share = (bits - quantizer.min_bits) / (quantizer.max_bits - quantizer.min_bits)
    with torch.no_grad():
        quantizer.psi.fill_(math.log(share / (1 - share)))


@pytest.fixture
def weight() -> Tensor:
    return torch.randn(8, 2000, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("noise", "variance"), [("uniform", 1 / 12), ("gaussian", 1 / 4)])
@pytest.mark.parametrize("range_", ["learned", "absmax"])
def test_noise_has_mean_0_and_the_stated_variance(
    weight: Tensor, noise: str, variance: float, range_: str
) -> None:
    """Too much of it asks for more bits than rounding needs; a bias would move the network."""
    quantizer = diffq(weight, bits=4, learn_bits=False, noise=noise, range=range_)
    reach = quantizer.top_value(weight).detach()
    steps = (quantizer(weight).detach() - weight.clamp(-reach, reach)) / (reach / 7)

    # 16000 samples: six standard errors
    assert abs(float(steps.mean())) < 6 * math.sqrt(variance / steps.numel())
    assert math.isclose(float(steps.var()), variance, rel_tol=0.07)


def test_uniform_noise_is_as_large_as_the_true_rounding_error(weight: Tensor) -> None:
    """What training feels at b bits is what evaluation does at b bits."""
    quantizer = diffq(weight, bits=6, learn_bits=False, range="absmax")
    disturbed = quantizer(weight).detach() - weight
    rounded = quantizer.eval()(weight).detach() - weight

    assert math.isclose(float(disturbed.var()), float(rounded.var()), rel_tol=0.05)


def test_noise_comes_from_torchs_generator(weight: Tensor) -> None:
    """The same seed must give the same run."""
    quantizer = diffq(weight)
    runs = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        runs.append(quantizer(weight).detach())

    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


@pytest.mark.parametrize("bits", [2.5, 4.0, 7.3])
def test_gradients_have_their_closed_forms(weight: Tensor, bits: float) -> None:
    """No straight-through estimator: dw = 1 inside, and the width's is the noise's own."""
    quantizer = diffq(weight)
    set_width(quantizer, bits)
    latent = weight.clone().requires_grad_()
    factors = torch.randn(weight.shape, generator=torch.Generator().manual_seed(2))
    torch.manual_seed(0)
    (quantizer(latent) * factors).sum().backward()
    torch.manual_seed(0)
    eta = torch.rand_like(weight) - 0.5
    reach = quantizer.top_value(weight).detach()
    top = 2.0 ** (bits - 1) - 1

    by_step = eta * factors
    step_by_bits = -reach / top**2 * math.log(2) * (top + 1)
    sigmoid = torch.sigmoid(quantizer.psi.detach())
    bits_by_psi = float(6 * sigmoid * (1 - sigmoid))
    clipped = torch.where(weight.abs() > reach, torch.sign(weight), 0.0)
    by_range = ((clipped + eta / top) * factors).sum(1, keepdim=True) * reach

    assert latent.grad is not None
    assert quantizer.psi.grad is not None
    assert quantizer.log_range is not None
    assert torch.equal(latent.grad, torch.where(weight.abs() <= reach, factors, 0.0))
    total = (by_step * step_by_bits).sum() * bits_by_psi
    assert torch.isclose(total, quantizer.psi.grad, rtol=1e-3)
    assert torch.allclose(by_range, quantizer.log_range.grad, rtol=1e-3, atol=1e-3)


def test_the_largest_weight_feels_the_noise_of_all(weight: Tensor) -> None:
    """With absmax the range is a weight: it has to shrink where a smaller step is worth it."""
    quantizer = diffq(weight, range="absmax", per_channel=False)
    latent = weight.clone().requires_grad_()

    quantizer(latent).square().sum().backward()

    extreme = weight.abs().argmax()
    expected = 2 * quantizer.eval()(weight).detach().flatten()[extreme]
    assert latent.grad is not None
    # twice its own value, and what it does to the steps of all others
    assert abs(latent.grad.flatten()[extreme] - expected) > 1e-3


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_evaluation_and_the_last_phase_round(weight: Tensor, bits: int) -> None:
    """What is deployed is the symmetric grid with an exact zero, never a disturbed weight."""
    config = LayerConfig(quantizer="diffq", bits=bits, learn_bits=False)
    ours, plain = DiffQ(weight, config), LSQ(weight, config)
    expected = plain(weight).detach()

    assert not torch.equal(expected, ours(weight).detach())
    assert torch.equal(expected, ours.eval()(weight).detach())
    ours.train().freeze(weight)
    assert torch.equal(expected, ours(weight).detach())
    assert (expected == 0).any()


def test_freezing_rounds_the_width(weight: Tensor) -> None:
    """Fractions of a bit cannot be stored."""
    quantizer = diffq(weight)
    set_width(quantizer, 4.4)
    quantizer.freeze(weight)

    assert quantizer.levels(weight).bits == 4
    assert not quantizer.psi.requires_grad
    assert quantizer(weight).unique().numel() <= 8 * 15


def test_the_rate_is_smooth_in_the_width_and_counts_zeros(weight: Tensor) -> None:
    """Bytes must fall with the width, through narrower fields and through more zeros."""
    quantizer = diffq(weight)
    rates = []
    for bits in (2.3, 3.5, 4.0, 6.7):
        set_width(quantizer, bits)
        width, density = quantizer.rate(weight)
        pulls = [
            torch.autograd.grad(x, quantizer.psi, retain_graph=True)[0] for x in (width, density)
        ]
        rates.append((float(width.detach()), float(density.detach())))

        assert all(pull > 0 for pull in pulls)
    assert rates == sorted(rates)
    assert math.isclose(rates[2][0], 4.0, rel_tol=1e-5)
    set_width(quantizer, 4.0)
    exact = float((quantizer.levels(weight).codes != 0).float().mean())
    assert abs(rates[2][1] - exact) < 0.05
