# SPDX-License-Identifier: Apache-2.0
"""Width, gap, ranges and zeros of a layer, for what its error costs and what its bits cost.

Each weight takes the level with the least ``F · (w - ŵ)² + price · bits(ŵ)``: zeros are cheap, so
that weights near zero become zero.  Source: rate-distortion optimal quantization as in DeepCABAC,
arXiv:1907.11900, with F from the layer's inputs and the bits of codeq's own packings.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from codeq_train.posttraining.levels import MAX_LEVEL, LevelSet, Width

_GAPS = (0, 1, 2)
_FRACTIONS = (0.45, 0.52, 0.6, 0.68, 0.76, 0.84, 0.92, 1.0)
"""Of the largest magnitude: where the top level may stand."""
_ROUNDS = 3
"""The cost of a non-zero depends on how many there are, and their number on the cost."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DeadZone:
    """Rounds to the nearest level or to 0, whichever costs less.

    Parameters
    ----------
    levels : LevelSet
    price : float tensor that broadcasts against (groups, outputs, taps)
        Squared error, weighted by the curvature, that a non-zero must save.
    """

    levels: LevelSet
    price: Tensor

    def __call__(self, weight: Tensor, curvature: Tensor) -> Tensor:
        """Levels for weights of shape (groups, outputs, taps)."""
        level = self.levels.nonzero.nearest(weight)
        error = (weight - level * self.levels.step).square()
        worth = curvature * (weight.square() - error) > self.price
        return torch.where(worth, level, torch.zeros_like(level))


def widths(bits: Sequence[int], *, gaps: bool) -> Iterator[Width]:
    """Every shape that the compiler can store."""
    for count in bits:
        for gap in _GAPS if gaps else _GAPS[:1]:
            width = Width(bits=count, gap=gap)
            if width.top + gap <= MAX_LEVEL:
                yield width


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Problem:
    """A layer's weights with the cost of their errors.

    Parameters
    ----------
    weight : float tensor of shape (groups, outputs, taps)
    curvature : float tensor of shape (groups, 1, taps)
        Cost of a squared error at each tap, the same for all channels of a group.
    importance : float tensor of shape (groups, outputs, 1)
        What an error of each channel counts.
    per_channel : bool
        One range a channel, or one for all.
    sparse : bool
        The layer can be stored without its zeros.
    """

    weight: Tensor
    curvature: Tensor
    importance: Tensor
    per_channel: bool
    sparse: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Solution:
    """The cheapest grid that was found.

    Parameters
    ----------
    width : Width
    top_value : float tensor of shape (groups, outputs, 1)
        Real value of the top level.
    price : float tensor of shape (groups, outputs, 1)
        For `DeadZone`; 0 where zeros save nothing.
    cost : float
        Error and bits together.
    """

    width: Width
    top_value: Tensor
    price: Tensor
    cost: float


def solve(problem: Problem, candidates: Sequence[Width], price: float) -> Solution:
    """The grid whose error and bits cost least.

    Parameters
    ----------
    problem : Problem
    candidates : sequence of Width
    price : float
        What a bit costs; 0 gives the most exact grid.
    """
    found = [_dense(problem, width, price) for width in candidates]
    if problem.sparse and price > 0.0:
        found += [_sparse(problem, width, price) for width in candidates]
    return min(found, key=lambda solution: solution.cost)


def _dense(problem: Problem, width: Width, price: float) -> Solution:
    nothing = torch.zeros_like(problem.importance)
    error, _, top_value = _best_ranges(problem, width, nothing)
    bits = problem.weight.numel() * width.dense_bits
    return Solution(width=width, top_value=top_value, price=nothing, cost=error + price * bits)


def _sparse(problem: Problem, width: Width, price: float) -> Solution:
    count, density = problem.weight.numel(), 0.5
    best: Solution | None = None
    for _ in range(_ROUNDS):
        more = width.value_bits + max(0.0, math.log2((1 - density) / density))
        own = price * more / problem.importance
        error, kept, top_value = _best_ranges(problem, width, own)
        density = min(max(kept / count, 1.0 / count), 1 - 1e-6)
        bits = count * (entropy(density) + density * width.value_bits)
        solution = Solution(width=width, top_value=top_value, price=own, cost=error + price * bits)
        if best is None or solution.cost < best.cost:
            best = solution
    assert best is not None
    return best


def _best_ranges(problem: Problem, width: Width, price: Tensor) -> tuple[float, int, Tensor]:
    """(error, non-zeros, top values) with the ranges that cost least."""
    weight = problem.weight
    axes = 2 if problem.per_channel else (0, 1, 2)
    largest = weight.abs().amax(axes, keepdim=True).clamp(min=torch.finfo(weight.dtype).tiny ** 0.5)
    values = width.values(weight)
    best = torch.full_like(largest, torch.inf)
    top_value = largest
    errors = torch.zeros_like(largest)
    counts = torch.zeros_like(largest)
    for fraction in _FRACTIONS:
        candidate = largest * fraction
        step = (candidate / (width.top + width.gap)).expand_as(price)
        levels = LevelSet(values=values, step=step)
        chosen = DeadZone(levels=levels, price=price)(weight, problem.curvature)
        missed = problem.importance * problem.curvature * (weight - chosen * step).square()
        error = missed.sum(axes, keepdim=True)
        kept = chosen != 0
        cost = error + (problem.importance * price * kept).sum(axes, keepdim=True)
        better = cost < best
        best = torch.where(better, cost, best)
        top_value = torch.where(better, candidate, top_value)
        errors = torch.where(better, error, errors)
        counts = torch.where(better, kept.sum(axes, keepdim=True).to(counts), counts)
    return float(errors.sum()), int(counts.sum()), top_value.expand_as(price).contiguous()


def entropy(density: float) -> float:
    """Bits a weight for the places of the non-zeros, in an ideal code."""
    rest = 1.0 - density
    return -(density * math.log2(density) + rest * math.log2(rest))
