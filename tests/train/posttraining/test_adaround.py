# SPDX-License-Identifier: Apache-2.0
"""Learned rounding: decisions, their regularizer, and what they gain."""

import math

import numpy as np
import pytest
import torch

from codeq_train.activations import NO_LIMITS
from codeq_train.posttraining.adaround import AdaRound, indecision, rectified_sigmoid
from codeq_train.posttraining.levels import LevelSet, Width
from codeq_train.posttraining.reconstruction import Regression


def problem(outputs: int = 6, taps: int = 12) -> Regression:
    """Non-negative, correlated inputs, as they are behind a ReLU."""
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(1, 800, 4))
    patches = np.maximum(hidden @ rng.normal(size=(1, 4, taps)) + 0.3, 0.0)
    weight = rng.normal(size=(1, outputs, taps))
    x, w = torch.from_numpy(patches).float(), torch.from_numpy(weight).float()
    ones = torch.ones(1, 1, outputs)
    return Regression(patches=x, targets=x @ w.mT, weight=w, gain=ones, bias=0 * ones)


def decide(
    seen: Regression, levels: LevelSet, limits: tuple[float, float] = NO_LIMITS
) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    method = AdaRound(iterations=300, places=200)
    return method.round(seen, seen.weight, levels, limits, centred=True, generator=generator)


def error(
    seen: Regression,
    levels: LevelSet,
    chosen: torch.Tensor,
    limits: tuple[float, float] = NO_LIMITS,
) -> float:
    """After the channels' means are right, as they are once biases are corrected."""
    outputs = seen.patches @ (chosen * levels.step).mT
    outputs = outputs - (outputs - seen.targets).mean(1, keepdim=True)
    return float((outputs.clamp(*limits) - seen.targets.clamp(*limits)).square().mean())


@pytest.mark.slow
@pytest.mark.parametrize("gap", [0, 2])
@pytest.mark.parametrize("limits", [NO_LIMITS, (0.0, math.inf)])
def test_learned_rounding_beats_nearest_rounding(gap: int, limits: tuple[float, float]) -> None:
    """On the data that it was learned from, by a good margin."""
    seen = problem()
    levels = LevelSet(
        values=Width(bits=3, gap=gap).values(seen.weight), step=torch.full((1, 6, 1), 0.6)
    )
    chosen = decide(seen, levels, limits)

    nearest = levels.nearest(seen.weight)

    assert error(seen, levels, chosen, limits) < 0.95 * error(seen, levels, nearest, limits)


def test_each_weight_takes_one_of_its_two_neighbours() -> None:
    """Up or down, never further: what is beyond the last level stays there."""
    seen = problem()
    levels = LevelSet(
        values=Width(bits=3, gap=1).values(seen.weight), step=torch.full((1, 6, 1), 0.4)
    )
    chosen = decide(seen, levels)
    lower, upper = levels.neighbours(seen.weight)

    assert ((chosen == lower) | (chosen == upper)).all()
    assert (lower == upper).any()


def test_the_sigmoid_reaches_zero_and_one() -> None:
    """A weight that has decided must not be pulled on any longer."""
    logits = torch.tensor([-6.0, 0.0, 6.0])

    assert [0.0, 0.5, 1.0] == rectified_sigmoid(logits).tolist()


def test_the_regularizer_is_zero_for_decisions_and_gets_stricter() -> None:
    """At first nearly everything is allowed, in the end only 0 and 1."""
    decided, undecided = torch.tensor([0.0, 1.0]), torch.tensor([0.2, 0.7])

    assert 0.0 == float(indecision(decided, 0.3))
    assert 1.0 == float(indecision(torch.tensor([0.5]), 0.9))
    assert float(indecision(undecided, 0.1)) > float(indecision(undecided, 1.0)) > 0.5
