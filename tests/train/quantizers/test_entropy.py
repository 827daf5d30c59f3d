# SPDX-License-Identifier: Apache-2.0
"""Assignment by distance and code length: thresholds, code lengths, the strength's scale."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from codeq_train import (
    BudgetConfig,
    LayerConfig,
    QuantConfig,
    budget,
    prepare,
    projected_bytes,
    regularizer,
)
from codeq_train.quantizers.entropy import (
    Assignment,
    assign,
    information,
    largest_lambda,
    size_factor,
    thresholds,
)
from tests.train.nets import images

GRID = torch.arange(-3.0, 4.0)
WEIGHTS = torch.randn(4000, generator=torch.Generator().manual_seed(3)) * 1.2


def assignment(strength: float, values: Tensor = GRID, **fields: object) -> Assignment:
    config = LayerConfig(strength=strength, **fields)
    return Assignment(WEIGHTS, config, levels=len(values))


@pytest.mark.parametrize("levels", [3, 7, 15, 255])
@pytest.mark.parametrize("scale", [0.0, 0.3, 5.0, 500.0])
def test_each_weight_takes_the_level_of_least_cost(
    rng: np.random.Generator, levels: int, scale: float
) -> None:
    """The envelope of parabolas must be the search through all levels that the papers describe."""
    top = levels // 2
    values = torch.arange(-top, top + 1.0)
    costs = torch.from_numpy(rng.exponential(1.0, levels)).float() * scale
    costs[torch.from_numpy(rng.random(levels) < 0.2)] = 1e30
    costs[top] = 0.0
    u = torch.from_numpy(rng.normal(0.0, top / 2 + 0.5, 500)).float()

    chosen = assign(u, values, costs)

    every = (u[:, None].double() - values.double()).square() + costs.double()
    best = every.min(1).values
    taken = every.gather(1, chosen[:, None])[:, 0]
    # float32 thresholds: a weight that is on one to 7 digits may go either way
    assert torch.allclose(best, taken, rtol=1e-5, atol=1e-3)
    assert (chosen == every.argmin(1)).double().mean() > 0.99


def test_a_table_of_uneven_levels_is_searched_the_same_way(rng: np.random.Generator) -> None:
    """EC2T's levels are -n, 0 and p."""
    values, costs = torch.tensor([-40.0, 0.0, 127.0]), torch.tensor([900.0, 0.0, 300.0])
    u = torch.from_numpy(rng.normal(0.0, 80.0, 2000)).float()

    every = (u[:, None] - values).square() + costs

    assert torch.equal(every.argmin(1), assign(u, values, costs))


def test_thresholds_are_those_of_the_closed_form() -> None:
    """Zero reaches to 1/2 + λ (I_1 - I_0) / 2 steps: that is the dead zone a user pays for."""
    bits = information(WEIGHTS, GRID)
    price = 0.4
    between = thresholds(GRID, (price * bits).float())

    expected = [
        (a + b) / 2 + price * float(bits[k + 1] - bits[k]) / 2
        for k, (a, b) in enumerate(zip(GRID.tolist(), GRID.tolist()[1:], strict=False))
    ]

    assert torch.allclose(torch.tensor(expected), between, atol=1e-5)
    assert -between[2] > 0.5 < between[3]


def test_code_lengths_are_those_of_the_nearest_levels() -> None:
    """The histogram is one-shot: it must not depend on what the last step chose."""
    counts = np.array([np.sum(np.round(WEIGHTS.numpy()).clip(-3, 3) == v) for v in range(-3, 4)])
    share = counts / counts.sum()
    assert share[3] < 0.5
    share[[0, 1, 2, 4, 5, 6]] *= 0.5 / (1 - share[3])
    share[3] = 0.5

    assert np.allclose(-np.log2(share), information(WEIGHTS, GRID).numpy())


def test_a_share_of_zeros_above_one_half_stays() -> None:
    """Only too small a share is raised."""
    sparse = torch.cat([WEIGHTS[:500], torch.zeros(3500)])

    assert information(sparse, GRID)[3] == -math.log2(float((sparse.abs() < 0.5).double().mean()))


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_the_extreme_weight_falls_at_the_largest_lambda(sign: float) -> None:
    """The smaller of both sides: a strength of 1 must not leave one sign alone."""
    u = torch.cat([WEIGHTS.clamp(-2.0, 2.0), torch.tensor([2.9, -3.2])]) * sign
    bits = information(u, GRID)
    largest = largest_lambda(u, GRID, bits)

    def remaining(price: Tensor) -> tuple[bool, bool]:
        chosen = GRID[assign(u[-2:], GRID, (price * bits).float())]
        return bool(chosen[0] != 0), bool(chosen[1] != 0)

    assert (True, True) == remaining(0.999 * largest)
    assert 1 == sum(remaining(1.001 * largest))


def test_the_strongest_leaves_the_extreme_weights() -> None:
    """A layer that is all zero cuts the network: no controller may go there."""
    for strength in (1.0, 20.0, 1e6):
        chosen = GRID[assignment(strength)(WEIGHTS, GRID, factor=1.0)]

        assert bool((chosen != 0).any())


def test_a_stronger_constraint_leaves_fewer_weights() -> None:
    """The controller relies on one direction."""
    left = [
        int((GRID[assignment(strength)(WEIGHTS, GRID, factor=1.0)] != 0).sum())
        for strength in (0.0, 0.05, 0.2, 0.5, 0.9)
    ]

    assert left == sorted(left, reverse=True)
    assert left[-1] < 0.1 * left[0]


def test_small_layers_are_constrained_less() -> None:
    """They have few bytes to save and much to lose."""
    assert size_factor(1000, 1000) == 1.0
    assert math.isclose(size_factor(0, 1000), 0.05 / 1.05)
    few, many = (
        (GRID[assignment(0.5)(WEIGHTS, GRID, factor=factor)] == 0).sum() for factor in (0.1, 1.0)
    )

    assert few < many


def test_no_factor_is_no_constraint() -> None:
    """Depthwise layers are stored dense: zeros would cost accuracy and save nothing."""
    chosen = GRID[assignment(0.9)(WEIGHTS, GRID, factor=0.0)]

    assert torch.equal(WEIGHTS.round().clamp(-3, 3), chosen)


def test_all_weights_zero_or_all_alike_are_assigned() -> None:
    """Degenerate layers have infinite code lengths, but no infinite costs."""
    for u in (torch.zeros(10), torch.full((10,), 2.0), torch.full((10,), -0.2)):
        chosen = GRID[assignment(0.1)(u, GRID, factor=1.0)]

        assert torch.equal(u.round(), chosen)


def test_the_strength_follows_the_excess_by_a_factor() -> None:
    """Its order of magnitude is found, not known: steps are relative, and bounded."""
    rule = assignment(0.1)

    def after(excess: float) -> float:
        before = float(rule.strength)
        rule.steer(excess)
        return float(rule.strength) / before

    assert math.isclose(after(0.1), math.exp(0.035), rel_tol=1e-5)
    assert math.isclose(after(30.0), math.exp(0.25), rel_tol=1e-5)
    # it went too far: half as fast from here on
    assert math.isclose(after(-0.1), math.exp(-0.0175), rel_tol=1e-5)
    assert math.isclose(after(-0.1), math.exp(-0.01925), rel_tol=1e-5)
    for _ in range(50):
        rule.steer(1.0)
    assert math.isclose(float(rule.strength), 20.0, rel_tol=1e-5)


def test_a_strength_of_nothing_can_grow() -> None:
    """0 is a fair start where there is a budget."""
    rule = assignment(0.0)
    rule.steer(0.2)

    assert float(rule.strength) > 0.0


@pytest.mark.parametrize(("quantizer", "strength"), [("ecq", 0.02), ("ec2t", 2.0)])
def test_a_budget_finds_the_strength(
    quantizer: str, strength: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user gives bytes, and no Λ: whatever it starts from, the exact bytes arrive there."""
    monkeypatch.setattr(budget, "MEASURE_EVERY", 1)
    torch.manual_seed(0)
    fields = {"quantizer": quantizer, "bits": 4, "strength": strength}
    config = QuantConfig(
        weights=LayerConfig(**fields),
        budgets=BudgetConfig(weights=700),
    )
    ours = prepare(nn.Linear(120, 40), images(32, 120), config)
    for _ in range(40):
        regularizer(ours)

    assert 680 <= projected_bytes(ours) <= 710
