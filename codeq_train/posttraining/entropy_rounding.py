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

_FRACTIONS = (0.45, 0.52, 0.6, 0.68, 0.76, 0.84, 0.92, 1.0)
"""Of the largest magnitude: where the top level may stand."""
_ROUNDS = 2
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

    def ranges(self) -> Iterator[Tensor]:
        """Top values worth trying: tensors of shape (groups, outputs, 1)."""
        axes = 2 if self.per_channel else (0, 1, 2)
        largest = self.weight.abs().amax(axes, keepdim=True)
        largest = largest.clamp(min=torch.finfo(largest.dtype).tiny ** 0.5)
        for fraction in _FRACTIONS:
            yield (fraction * largest).expand_as(self.importance)


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


def solve(problem: Problem, bits: Sequence[int], price: float, *, gaps: bool) -> Solution:
    """The grid whose error and bits cost least.

    A wider grid errs less and takes more: once a width or a gap costs more than the one before it,
    no further ones are tried.

    Parameters
    ----------
    problem : Problem
    bits : sequence of int
        Possible widths, ascending.
    price : float
        What a bit costs; 0 gives the most exact grid.
    gaps : bool
        Gaps may be used.
    """
    best: Solution | None = None
    for count in bits:
        found = _with_gap(problem, count, price, gaps=gaps)
        if best is not None and found.cost >= best.cost:
            break
        best = found
    assert best is not None
    return best


def _with_gap(problem: Problem, bits: int, price: float, *, gaps: bool) -> Solution:
    """The best solution of one width."""
    best = _with_width(problem, Width(bits=bits), price)
    while gaps:
        width = Width(bits=bits, gap=best.width.gap + 1)
        if width.top + width.gap > MAX_LEVEL:
            break
        found = _with_width(problem, width, price)
        if found.cost >= best.cost:
            break
        best = found
    return best


def _with_width(problem: Problem, width: Width, price: float) -> Solution:
    """Stored dense, or without the zeros."""
    count = problem.weight.numel()
    nothing = torch.zeros_like(problem.importance)
    error, kept, top_value = _best_ranges(problem, width, nothing)
    cost = error + price * count * width.dense_bits
    best = Solution(width=width, top_value=top_value, price=nothing, cost=cost)
    if not problem.sparse or price == 0.0:
        return best
    density = _share(kept, count)
    for _ in range(_ROUNDS):
        more = width.value_bits + max(0.0, math.log2((1 - density) / density))
        own = price * more / problem.importance
        error, kept, top_value = _best_ranges(problem, width, own)
        density = _share(kept, count)
        bits = count * (entropy(density) + density * width.value_bits)
        found = Solution(width=width, top_value=top_value, price=own, cost=error + price * bits)
        if found.cost < best.cost:
            best = found
    return best


def _share(kept: int, count: int) -> float:
    """Within (0, 1): the logarithms of both shares are taken."""
    return min(max(kept, 0.5), count - 0.5) / count


def _best_ranges(problem: Problem, width: Width, price: Tensor) -> tuple[float, int, Tensor]:
    """(error, non-zeros, top values) with the ranges that cost least."""
    axes = 2 if problem.per_channel else (0, 1, 2)
    values = width.values(problem.weight)
    weighting = problem.importance * problem.curvature
    found = []
    for top_value in problem.ranges():
        step = top_value / (width.top + width.gap)
        zone = DeadZone(levels=LevelSet(values=values, step=step), price=price)
        chosen = zone(problem.weight, problem.curvature)
        error = (weighting * (problem.weight - chosen * step).square()).sum(axes, keepdim=True)
        kept = (chosen != 0).sum(2, keepdim=True)
        bits = (problem.importance * price * kept).sum(axes, keepdim=True)
        found.append([each.expand_as(price) for each in (error + bits, top_value, error, kept)])
    costs, top_values, errors, counts = (torch.stack(each) for each in zip(*found, strict=True))
    best = costs.argmin(0, keepdim=True)
    error = errors.gather(0, best)
    if not problem.per_channel:
        error = error[:, :1, :1]
    return (
        float(error.sum()),
        int(counts.gather(0, best).sum()),
        top_values.gather(0, best)[0],
    )


def entropy(density: float) -> float:
    """Bits a weight for the places of the non-zeros, in an ideal code."""
    rest = 1.0 - density
    return -(density * math.log2(density) + rest * math.log2(rest))
