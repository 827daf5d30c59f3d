# SPDX-License-Identifier: Apache-2.0
"""Entropy-constrained assignment: each weight takes the level that is near and cheap to store.

``argmin over levels c of (u - v_c)² + λ · I_c``, weights `u` and levels `v` in steps of the grid,
``I_c`` the length of an ideal code for c in bits.  Sources: EC2T (arXiv:2004.01077), ECQ^x
(arXiv:2109.04236), and for λ's normalisation D. Becking's master thesis (2020).

Distances in steps are the papers' ``F · (w - w_c)²`` with ``F = 1 / step²``: the same for one scale
per tensor; with a scale per channel it lets each channel's dead zone follow its own range, which
BatchNorm rescales anyway.
"""

import math

import torch
from torch import Tensor, nn

from codeq_train.config import LayerConfig
from codeq_train.quantizers.relevance import Relevance

_NEVER = 1e30
"""Cost of a level that no weight is nearest to."""

_LARGEST_SHARE = 0.99
"""Of λ_max: the extreme weights stay, so that no strength prunes a whole layer."""

_SMALLEST_ZERO = 0.5
"""P_0 is at least this."""

_SMALLEST_GAIN = 1e-6
"""Bits between a level and zero, for which λ_max is finite."""

_WEAKEST, _STRONGEST = 1e-3, 20.0
"""Of a strength that `steer` sets; with the strongest, the smallest layer feels all of it."""
_GAIN = (0.02, 0.35)
_LARGEST_CHANGE = 0.25
"""Of the strength's logarithm: how it follows the distance from a budget, and at most, per call."""


def size_factor(weights: int, largest: int) -> float:
    """How much of a strength a layer feels, in (0, 1]; small layers are constrained less.

    ``(weights / largest + 0.05) / 1.05``, `largest` being the largest layer's number of weights.
    Source: D. Becking, master thesis (2020), as in the code of EC2T.
    """
    return (weights / largest + 0.05) / 1.05


def thresholds(values: Tensor, costs: Tensor) -> Tensor:
    """Where the best level changes.

    Every ``(u - v_c)² + cost_c`` is a line in u, once u² is taken off; the best level is the lower
    envelope of the lines.  Levels k and k + 1 meet at
    ``(v_k + v_{k+1}) / 2 + (cost_{k+1} - cost_k) / (2 · (v_{k+1} - v_k))``.

    Parameters
    ----------
    values : float tensor of shape (levels,)
        Rising.
    costs : float tensor of shape (levels,)
        Finite.

    Returns
    -------
    float32 tensor of shape (levels - 1,)
        Not falling; a level that is nowhere the best one has no room between its two.
    """
    v = values.double()
    intercept = v.square() + costs.double()
    # float64: where 255 levels meet must not depend on the rounding of squares
    meets = (intercept[:, None] - intercept) / (2.0 * (v[:, None] - v))
    below = torch.ones_like(meets, dtype=torch.bool).tril(-1)
    start = meets.masked_fill(~below, -math.inf).amax(1)
    end = meets.masked_fill(~below.T, math.inf).amin(1)
    return end.masked_fill(start >= end, -math.inf).cummax(0).values[:-1].float()


def assign(u: Tensor, values: Tensor, costs: Tensor) -> Tensor:
    """Position of the best level for each weight: int64 tensor of u's shape.

    Parameters
    ----------
    u : float tensor
    values, costs : float tensors of shape (levels,)
    """
    return torch.bucketize(u, thresholds(values, costs))


def information(u: Tensor, values: Tensor) -> Tensor:
    """Bits of an ideal code for each level: float64 tensor of shape (levels,), inf where unused.

    ``-log2 P_c``, P_c being the share of weights that are *nearest* to level c: from the weights
    alone, not iterated.  P_0 is raised to 1/2 and the others shrink in proportion, so that zero is
    always the cheapest.  Source: the code of EC2T and ECQ^x.
    """
    counts = torch.bincount(
        assign(u, values, torch.zeros_like(values)).flatten(), minlength=len(values)
    )
    share = counts.double() / u.numel()
    is_zero = values == 0
    zero = share[is_zero]
    raised = torch.where(
        is_zero, _SMALLEST_ZERO, share * (_SMALLEST_ZERO / (1.0 - zero).clamp(min=1e-9))
    )
    return -torch.where(zero < _SMALLEST_ZERO, raised, share).log2()


def largest_lambda(u: Tensor, values: Tensor, bits: Tensor) -> Tensor:
    """λ at which the first of the two extreme weights falls to zero: 0-d float64 tensor.

    ``min over both signs of max over c of [u² - (u - v_c)²] / (I_c - I_0)``, u the extreme weight
    and c the levels of its sign that are used; 0 where no weight has a level but zero.

    Source: D. Becking, master thesis (2020), for three levels.  With more of them a weight falls
    from level to level first, hence the maximum.  The published code of ECQ^x takes the level
    nearest to u, the larger of both signs, and has a parenthesis in the wrong place.
    """
    v = values.double()
    limits = []
    for extreme, side in ((u.min(), v < 0), (u.max(), v > 0)):
        gain = (bits - bits[v == 0]).clamp(min=_SMALLEST_GAIN)
        used = side & torch.isfinite(bits)
        falls = (v * (2.0 * extreme - v) / gain).masked_fill(~used, 0.0).max()
        limits.append(falls.masked_fill(~used.any(), math.inf))
    limit = torch.stack(limits).min()
    return limit.masked_fill(torch.isinf(limit), 0.0)


class Assignment(nn.Module):
    """The rule of one layer, with its strength and its relevances.

    ``λ = min(strength · size_factor, 0.99) · λ_max``.

    Parameters
    ----------
    weight : float tensor of shape (out_channels, ...)
    config : LayerConfig
    levels : int
        How many there are.

    Attributes
    ----------
    strength : float32 0-d buffer
        Λ of the papers.
    costs : float32 buffer of shape (levels,)
        ``λ · I_c``; used once it is fixed by `fix`.
    gain, last_excess : float32 0-d buffers
        State of `steer`.
    """

    def __init__(self, weight: Tensor, config: LayerConfig, *, levels: int) -> None:
        super().__init__()
        self.strength: Tensor
        self.costs: Tensor
        self.gain: Tensor
        self.last_excess: Tensor
        self.register_buffer("strength", weight.new_tensor(config.strength))
        self.register_buffer("gain", weight.new_tensor(_GAIN[1]))
        self.register_buffer("last_excess", weight.new_zeros(()))
        self.register_buffer("costs", weight.new_zeros(levels))
        self.relevance = None if config.relevance == "none" else Relevance(weight, config.relevance)

    @torch.no_grad()
    def forward(
        self, u: Tensor, values: Tensor, *, factor: float, mask: Tensor | None = None
    ) -> Tensor:
        """Position of the level of each weight: int64 tensor of u's shape.

        Parameters
        ----------
        u : float tensor of the weights' shape
            In steps.
        values : float tensor of shape (levels,)
            Rising, 0 among them.
        factor : float
            `size_factor` of the layer.
        mask : float tensor of u's shape, optional
            1 for weights that must not be zero, 0 for those that must; costs are fixed then.
        """
        costs = self.costs if mask is not None else self._costs(u, values, factor)
        if mask is None and self.relevance is None:
            return assign(u, values, costs)
        # the best of the other levels, and whether zero is better still
        other = assign(u, values, costs.masked_fill(values == 0, _NEVER))
        if mask is not None:
            pruned = mask == 0
        else:
            assert self.relevance is not None
            zero_cost = u.square() + costs[values == 0]
            pruned = self.relevance.prune(zero_cost, (u - values[other]).square() + costs[other])
        return torch.where(pruned, (values < 0).sum(), other)

    @torch.no_grad()
    def fix(self, u: Tensor, values: Tensor, *, factor: float) -> None:
        """Keep the costs of these weights from now on."""
        self.costs.copy_(self._costs(u, values, factor))

    def _costs(self, u: Tensor, values: Tensor, factor: float) -> Tensor:
        bits = information(u, values)
        share = (self.strength.double() * factor).clamp(max=_LARGEST_SHARE)
        price = share * largest_lambda(u, values, bits)
        return torch.where(torch.isinf(bits), _NEVER, price * bits).to(u.dtype)

    @torch.no_grad()
    def steer(self, excess: float) -> None:
        """Multiply the strength by ``exp(clamp(gain · excess, -0.25, 0.25))``, within [0.001, 20].

        The steps are relative, because a strength's order of magnitude is not known.  The gain
        starts at 0.35; it is halved where the excess changes its sign, and grows by a tenth where
        it does not: how steeply bytes fall with the strength is different for each layer and
        width, and steepest for three levels.

        Parameters
        ----------
        excess : float
            ``bytes / target - 1``.
        """
        turned = float(self.last_excess) * excess < 0.0
        self.gain.copy_((self.gain * (0.5 if turned else 1.1)).clamp(*_GAIN))
        self.last_excess.fill_(excess)
        change = min(max(float(self.gain) * excess, -_LARGEST_CHANGE), _LARGEST_CHANGE)
        grown = self.strength.clamp(min=_WEAKEST) * math.exp(change)
        self.strength.copy_(grown.clamp(_WEAKEST, _STRONGEST))
