# SPDX-License-Identifier: Apache-2.0
"""Relevance of weights: what is observed, and which zeros it takes and gives."""

import math

import pytest
import torch
from torch import Tensor

from codeq_train import LayerConfig
from codeq_train.quantizers import ECQ, make_quantizer
from codeq_train.quantizers.relevance import Kind, Relevance

GENERATOR = torch.Generator().manual_seed(4)
WEIGHT = torch.randn(20, 50, generator=GENERATOR)
FACTORS = torch.randn(20, 50, generator=GENERATOR)
ZERO = WEIGHT.square() + 0.3
OTHER = (WEIGHT.abs() - 1.0).square() + 1.0


def relevance(values: Tensor, kind: Kind = "lrp") -> Relevance:
    made = Relevance(WEIGHT, kind)
    made.observe(values)
    return made


@pytest.mark.parametrize("quantizer", ["ecq", "ec2t"])
@pytest.mark.parametrize("kind", ["fisher", "taylor"])
def test_gradients_are_observed_as_they_come_back(quantizer: str, kind: str) -> None:
    """Nobody has to call anything: the quantizer hears of each backward pass."""
    config = LayerConfig(quantizer=quantizer, relevance=kind, bits=4)
    ours = make_quantizer(WEIGHT, config).train()
    weight = WEIGHT.clone().requires_grad_()

    (ours(weight) * FACTORS).sum().backward()

    mean = ours.state_dict()["assignment.relevance.mean"]
    expected = FACTORS.square() if kind == "fisher" else (FACTORS * WEIGHT).abs()
    assert torch.allclose(0.01 * expected, mean)


def test_evaluation_and_the_last_phase_observe_nothing() -> None:
    """The exported model must not change because someone looked at it."""
    ours = ECQ(WEIGHT, LayerConfig(relevance="taylor", bits=4))
    weight = WEIGHT.clone().requires_grad_()

    ours.eval()(weight).sum().backward()
    ours.train().freeze(weight)
    ours(weight).sum().backward()

    assert 0 == int(ours.state_dict()["assignment.relevance.mean"].abs().max())


def test_a_gradient_that_overflowed_is_not_observed() -> None:
    """Loss scaling makes infinite gradients now and then; they would stay for ever."""
    made = relevance(ZERO)
    before = made.mean.clone()
    made.observe(torch.where(WEIGHT > 2.0, math.inf, ZERO))
    made.observe(torch.where(WEIGHT > 2.0, math.nan, ZERO))

    assert torch.equal(before, made.mean)


def test_without_observations_it_changes_nothing() -> None:
    """The first steps are those of ECQ."""
    made = Relevance(WEIGHT, "fisher")

    assert torch.equal(ZERO <= OTHER, made.prune(ZERO, OTHER))


def searched(rho: Tensor, zero: Tensor, other: Tensor, beta: float) -> Tensor:
    """Zeros for a given beta, as the paper has them."""
    return 2.0 * rho**beta * zero <= other


def test_zeros_are_those_of_the_papers_rule_for_one_beta() -> None:
    """The sorted list must be the search of the paper, without its fifty rounds."""
    made = relevance(FACTORS.abs())
    pruned = made.prune(ZERO, OTHER)
    rho = made.rho().double()

    differing = [
        int((searched(rho, ZERO.double(), OTHER.double(), float(beta)) != pruned).sum())
        for beta in torch.linspace(0.0, 1.5, 3001)
    ]

    assert min(differing) <= 1  # a grid of betas may step over one weight
    assert not torch.equal(pruned, ZERO <= OTHER)


@pytest.mark.parametrize("power", [0.1, 1.0, 4.0])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.9])
def test_sparsity_stays_within_a_tenth_below_that_without_relevance(
    power: float, share: float
) -> None:
    """The byte budget must not be spent by relevance; and it must not be off at low sparsity."""
    level = (OTHER / ZERO).flatten().sort(descending=True).values[int(share * WEIGHT.numel())]
    zero, other = ZERO * level, OTHER
    without = float((zero <= other).double().mean())

    pruned = relevance(FACTORS.abs() ** power).prune(zero, other)

    assert abs(without - share) < 0.01
    assert without - 0.1 - 1e-9 <= float(pruned.double().mean()) <= without + 1e-9
    assert not torch.equal(pruned, zero <= other)


def test_relevant_weights_stay_and_irrelevant_ones_go() -> None:
    """The point of it all, with two groups of equal weights."""
    values = torch.full_like(WEIGHT, 0.1)
    values[:5] = 1.0

    pruned = relevance(values).prune(ZERO, OTHER)

    without = (ZERO <= OTHER).double()
    assert pruned[:5].double().mean() < without[:5].mean()
    assert pruned[:5].double().mean() < pruned[5:].double().mean()


def test_irrelevant_weights_are_no_nan() -> None:
    """A dead channel has no relevance at all, and log 0 is near."""
    for values in (torch.zeros_like(WEIGHT), torch.ones_like(WEIGHT), (FACTORS > 1.0).float()):
        for zero in (ZERO, torch.zeros_like(ZERO)):
            pruned = relevance(values).prune(zero, OTHER)

            assert pruned.sum() <= (zero <= OTHER).sum()


def test_the_state_holds_the_relevances() -> None:
    """A run that is resumed assigns as the one that was killed would have."""
    config = LayerConfig(quantizer="ecq", relevance="taylor", strength=0.5, bits=4)
    ours, fresh = ECQ(WEIGHT, config), ECQ(WEIGHT, config)
    (ours(WEIGHT.clone().requires_grad_()) * FACTORS).sum().backward()
    before = fresh(WEIGHT)

    fresh.load_state_dict(ours.state_dict())

    assert torch.equal(ours(WEIGHT), fresh(WEIGHT))
    assert not torch.equal(before, fresh(WEIGHT))
    assert torch.equal(ours(WEIGHT), ours.levels(WEIGHT).dequantize())
