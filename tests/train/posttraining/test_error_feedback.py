# SPDX-License-Identifier: Apache-2.0
"""Later weights make up for the rounding of earlier ones."""

import itertools

import numpy as np
import torch
from torch import Tensor

from codeq_train.posttraining.error_feedback import conditional_curvature, round_with_feedback
from codeq_train.posttraining.levels import LevelSet


def correlated(rng: np.random.Generator, groups: int, taps: int) -> Tensor:
    mixing = rng.normal(size=(groups, taps, taps)) + 2 * rng.normal(size=(groups, taps, 1))
    return torch.from_numpy(mixing.transpose(0, 2, 1) @ mixing / taps + 0.05 * np.eye(taps)).float()


def cost(difference: Tensor, gram: Tensor) -> Tensor:
    return ((difference @ gram) * difference).sum(-1)


def feedback(weight: Tensor, gram: Tensor, levels: LevelSet) -> Tensor:
    return round_with_feedback(weight, gram, levels.step, lambda w, _: levels.nearest(w))


def ternary(step: float) -> LevelSet:
    return LevelSet(values=torch.tensor([-1.0, 0.0, 1.0]), step=torch.full((1, 1, 1), step))


def test_it_costs_less_than_nearest_rounding(rng: np.random.Generator) -> None:
    """Otherwise all the algebra is for nothing."""
    gram = correlated(rng, 3, 20)
    weight = torch.from_numpy(rng.normal(size=(3, 8, 20))).float()
    levels = LevelSet(values=torch.arange(-3.0, 4.0), step=torch.full((3, 8, 1), 0.7))
    step = levels.step
    chosen = feedback(weight, gram, levels)
    compensated = cost(chosen * step - weight, gram).sum()

    assert compensated < 0.7 * cost(levels.nearest(weight) * step - weight, gram).sum()


def test_it_comes_close_to_the_best_of_all_roundings(rng: np.random.Generator) -> None:
    """Of 3^7 possible ternary rows one is best; the greedy order must not be far from it."""
    ratios = []
    rows = torch.tensor(list(itertools.product([-1.0, 0.0, 1.0], repeat=7)))
    for _ in range(20):
        gram = correlated(rng, 1, 7)
        weight = torch.from_numpy(rng.normal(size=(1, 1, 7))).float()
        levels = ternary(1.2)
        chosen = feedback(weight, gram, levels)
        best = cost(rows[None] * 1.2 - weight, gram).min()
        nearest = cost(levels.nearest(weight) * 1.2 - weight, gram).sum()
        found = cost(chosen * 1.2 - weight, gram).sum()
        ratios.append([float(found / best), float(nearest / best)])
    compensated, plain = np.exp(np.log(ratios).mean(0))

    assert compensated < plain
    assert compensated < 3.0


def test_without_correlation_it_is_nearest_rounding(rng: np.random.Generator) -> None:
    """Nothing can make up for anything then."""
    gram = torch.diag_embed(torch.from_numpy(rng.uniform(0.1, 3.0, (2, 9))).float())
    weight = torch.from_numpy(rng.normal(size=(2, 4, 9))).float()
    levels = LevelSet(values=torch.arange(-3.0, 4.0), step=torch.full((2, 4, 1), 0.5))
    chosen = feedback(weight, gram, levels)

    assert torch.equal(levels.nearest(weight), chosen)
    assert torch.allclose(gram.diagonal(dim1=1, dim2=2)[:, None], conditional_curvature(gram))


def test_the_conditional_curvature_is_the_schur_complement(rng: np.random.Generator) -> None:
    """What is left of a squared error once all taps after it have been chosen at their best."""
    gram = correlated(rng, 1, 6).double()
    order = gram[0].diagonal().argsort(descending=True)
    sorted_gram = gram[0][order][:, order]
    expected = torch.empty(6, dtype=torch.float64)
    for place, tap in enumerate(order):
        later = sorted_gram[place + 1 :, place + 1 :]
        cross = sorted_gram[place, place + 1 :]
        own = sorted_gram[place, place]
        expected[tap] = own - cross @ torch.linalg.solve(later, cross) if len(cross) else own

    assert torch.allclose(expected, conditional_curvature(gram)[0, 0], rtol=1e-6)
