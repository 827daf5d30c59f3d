# SPDX-License-Identifier: Apache-2.0
"""Error against bits: dead zones, widths, gaps and ranges of a layer."""

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from codeq_train.posttraining.entropy_rounding import (
    DeadZone,
    Problem,
    Solution,
    entropy,
    solve,
)
from codeq_train.posttraining.levels import LevelSet, Width


@pytest.fixture
def problem(rng: np.random.Generator) -> Problem:
    """Weights with tails, as trained ones have them."""
    return Problem(
        weight=torch.from_numpy(rng.laplace(size=(1, 16, 60))).float(),
        curvature=torch.from_numpy(rng.uniform(0.5, 2.0, (1, 1, 60))).float(),
        importance=torch.from_numpy(rng.uniform(0.5, 2.0, (1, 16, 1))).float(),
        per_channel=True,
        sparse=True,
    )


def rounded(problem: Problem, solution: Solution) -> tuple[torch.Tensor, torch.Tensor]:
    """(levels, their real values)."""
    width = solution.width
    step = solution.top_value / (width.top + width.gap)
    levels = LevelSet(values=width.values(problem.weight), step=step)
    chosen = DeadZone(levels=levels, price=solution.price)(problem.weight, problem.curvature)
    return chosen, chosen * step


def error(problem: Problem, solution: Solution) -> float:
    _, real = rounded(problem, solution)
    missed = (problem.weight - real).square()
    return float((problem.importance * problem.curvature * missed).sum())


def solutions(problem: Problem, prices: Sequence[float]) -> list[Solution]:
    return [solve(problem, range(2, 9), price, gaps=True) for price in prices]


def test_each_weight_takes_the_level_that_costs_least(rng: np.random.Generator) -> None:
    """Rate-distortion optimal: no other level has less error and bits together."""
    values = Width(bits=3, gap=1).values(torch.zeros(()))
    step, price = torch.full((1, 4, 1), 0.3), torch.full((1, 4, 1), 0.15)
    weight = torch.from_numpy(rng.normal(size=(1, 4, 40))).float()
    curvature = torch.from_numpy(rng.uniform(0.2, 3.0, (1, 1, 40))).float()
    chosen = DeadZone(levels=LevelSet(values=values, step=step), price=price)(weight, curvature)
    costs = torch.stack(
        [curvature * (weight - v * step).square() + price * float(v != 0) for v in values], -1
    )

    assert torch.equal(values[costs.argmin(-1)], chosen)
    assert (chosen == 0).any()
    assert (chosen != 0).any()


def test_a_higher_price_buys_fewer_bits_with_more_error(problem: Problem) -> None:
    """Otherwise a search for a number of bytes finds nothing."""
    found = solutions(problem, [0.0, 1e-4, 1e-3, 1e-2, 1e-1, 1.0])
    errors = [error(problem, solution) for solution in found]
    zeros = [float((rounded(problem, solution)[0] == 0).float().mean()) for solution in found]
    bits = [solution.width.bits for solution in found]

    assert errors == sorted(errors)
    assert bits == sorted(bits, reverse=True)
    assert 8 == bits[0]
    assert zeros[-1] > zeros[0]


def test_without_a_price_nothing_but_the_error_counts(problem: Problem) -> None:
    """The largest width, no dead zone, and ranges at least as good as the largest magnitudes."""
    (found,) = solutions(problem, [0.0])
    plain = Solution(
        width=Width(bits=8),
        top_value=problem.weight.abs().amax(2, keepdim=True),
        price=torch.zeros_like(problem.importance),
        cost=0.0,
    )

    assert not found.price.any()
    assert error(problem, found) <= error(problem, plain)


def test_layers_that_are_stored_dense_have_no_dead_zone(problem: Problem) -> None:
    """Zeros of a depthwise layer cost error and save nothing."""
    dense = Problem(
        weight=problem.weight,
        curvature=problem.curvature,
        importance=problem.importance,
        per_channel=True,
        sparse=False,
    )

    assert all(not solution.price.any() for solution in solutions(dense, [1e-3, 1e-1]))


def test_one_range_for_all_channels_is_one_range(problem: Problem) -> None:
    """A linear layer without BatchNorm has one scale."""
    one = Problem(
        weight=problem.weight,
        curvature=problem.curvature,
        importance=problem.importance,
        per_channel=False,
        sparse=True,
    )

    assert all(1 == len(solution.top_value.unique()) for solution in solutions(one, [0.0, 1e-2]))


def test_levels_never_leave_int8(problem: Problem) -> None:
    """gap + top index above 127 has no multiplier operand."""
    found = [solve(problem, [bits], 1e-2, gaps=True).width for bits in (7, 8)]

    assert all(width.top + width.gap <= 127 for width in found)
    assert 0 == solve(problem, [2], 1e-2, gaps=False).width.gap


def test_widths_state_what_the_packings_take() -> None:
    """Two bits: a sign where zeros are left out, a fifth of a byte where they are not."""
    values = [
        (width.value_bits, width.dense_bits) for width in (Width(bits=2), Width(bits=2, gap=1))
    ]

    assert [(1, 1.6), (1, 2.0)] == values
    assert (5, 5.0) == (Width(bits=5).value_bits, Width(bits=5).dense_bits)
    assert 1.0 == entropy(0.5)
    assert all(entropy(a) < entropy(b) for a, b in itertools.pairwise((0.01, 0.1, 0.3, 0.5)))
