# SPDX-License-Identifier: Apache-2.0
"""Round weights one after the other; those still to come make up for the error so far.

Source: optimal brain quantization, arXiv:2208.11580, in the order of columns and with the Cholesky
factor of GPTQ, arXiv:2210.17323, most active inputs first.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from codeq_train.posttraining.entropy_rounding import DeadZone, Problem, Solution
from codeq_train.posttraining.levels import LevelSet

Choose = Callable[[Tensor, Tensor], Tensor]
"""Levels for weights of shape (groups, outputs, 1), given the cost of a squared error, of shape
(groups, 1, 1)."""


def round_with_feedback(weight: Tensor, gram: Tensor, step: Tensor, choose: Choose) -> Tensor:
    """Levels whose outputs are close to those of `weight`.

    Parameters
    ----------
    weight : float tensor of shape (groups, outputs, taps)
    gram : float tensor of shape (groups, taps, taps)
        Positive definite second moment of the inputs.
    step : float tensor of shape (groups, outputs, 1)
        Real value of one level.
    choose : callable

    Returns
    -------
    float tensor of the weights' shape
        Whole levels.
    """
    order, factor = _conditional_factor(gram)
    left = _columns(weight, order)
    chosen = torch.empty_like(left)
    for tap in range(left.shape[2]):
        column = left[..., tap : tap + 1]
        own = factor[:, None, tap : tap + 1, tap]
        level = choose(column, own**-2)
        chosen[..., tap : tap + 1] = level
        error = (column - level * step) / own
        left[..., tap + 1 :] -= error * factor[:, None, tap, tap + 1 :]
    return _columns(chosen, order.argsort(1))


def round_with_ranges(problem: Problem, solution: Solution, gram: Tensor) -> tuple[Tensor, Tensor]:
    """Round at several ranges at once, and keep what costs least once errors are made up for.

    Parameters
    ----------
    problem : Problem
    solution : Solution
        Width and price; its ranges are the best ones without feedback.
    gram : float tensor of shape (groups, taps, taps)

    Returns
    -------
    values : float tensor of the weights' shape
        Whole levels.
    top_value : float tensor of shape (groups, outputs, 1)
    """
    weight, width = problem.weight, solution.width
    groups, outputs, taps = weight.shape
    ranges = torch.stack([*problem.ranges(), solution.top_value], 1)
    several = ranges.shape[1]

    def repeated(value: Tensor) -> Tensor:
        return value[:, None].expand(-1, several, -1, -1).flatten(1, 2)

    step = ranges.flatten(1, 2) / (width.top + width.gap)
    levels = LevelSet(values=width.values(weight), step=step)
    zone = DeadZone(levels=levels, price=repeated(solution.price))
    weights = repeated(weight)
    values = round_with_feedback(weights, gram, step, zone)
    missed = values * step - weights
    cost = ((missed @ gram) * missed).sum(2, keepdim=True)
    cost += zone.price * (values != 0).sum(2, keepdim=True)
    costs = (cost * repeated(problem.importance)).reshape(groups, several, outputs)
    if not problem.per_channel:
        costs = costs.sum((0, 2), keepdim=True).expand_as(costs)
    best = costs.argmin(1)[:, None, :, None]
    values = values.reshape(groups, several, outputs, taps)
    return (
        values.gather(1, best.expand(-1, -1, -1, taps))[:, 0],
        ranges.gather(1, best)[:, 0],
    )


def conditional_curvature(gram: Tensor) -> Tensor:
    """What a squared error at each tap costs once the taps after it have made up for it.

    Parameters
    ----------
    gram : float tensor of shape (groups, taps, taps)

    Returns
    -------
    float tensor of shape (groups, 1, taps)
    """
    order, factor = _conditional_factor(gram)
    return _columns(factor.diagonal(dim1=1, dim2=2)[:, None] ** -2, order.argsort(1))


def _conditional_factor(gram: Tensor) -> tuple[Tensor, Tensor]:
    """(order of taps, upper Cholesky factor of the inverse of `gram` in that order)."""
    order = gram.diagonal(dim1=1, dim2=2).argsort(1, descending=True)
    rows = gram.gather(1, order[:, :, None].expand_as(gram))
    permuted = _columns(rows, order)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(permuted))
    factor: Tensor = torch.linalg.cholesky(inverse, upper=True)
    return order, factor


def _columns(matrix: Tensor, order: Tensor) -> Tensor:
    return matrix.gather(2, order[:, None, :].expand_as(matrix))
