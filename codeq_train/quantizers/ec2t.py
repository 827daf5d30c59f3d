# SPDX-License-Identifier: Apache-2.0
"""EC2T: three levels {-w_n, 0, +w_p} whose two centroids are learned, zeros chosen by code length.

Source: EC2T, arXiv:2004.01077, and D. Becking's master thesis (2020); written from the equations.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function

from codeq_train.autograd import apply, at_least, bounded_ste, round_half_away
from codeq_train.config import LayerConfig
from codeq_train.quantizers.base import Levels, WeightQuantizer
from codeq_train.quantizers.ecq import scale_gradient
from codeq_train.quantizers.entropy import Assignment

MAX_LEVEL = 127
"""Of the table: the larger centroid."""

_SMALLEST_CENTROID = 0.675
"""In standard deviations of the weights, as published: centroids must not collapse."""
_LARGEST_BALANCE = 0.5 * math.log(MAX_LEVEL)
_LLOYD_STEPS = 12


class EC2T(WeightQuantizer):
    """``w_p = exp(log_range + balance)``, ``w_n = exp(log_range - balance)``.

    Symmetric (`config.symmetric`, the default): the balance is 0, and the layer is stored on the
    two-bit grid -1, 0, 1.  Only that grid has the packings of 1.6 bits a weight, or of one bit
    beside the mask for each non-zero; a table of levels takes two, and where BatchNorm has negative
    gammas it needs the negated levels too and takes three.  With 70 % zeros these are 1.3, 1.6 and
    1.9 bits a weight, more than two different centroids have ever been worth.

    Otherwise the two centroids are the table (-n, 0, p): the larger is 127 steps, the other is
    rounded to whole steps, and the forward pass computes with those (`snap_error` says how far they
    are from the learned ones).  With a range per channel all channels have the same ratio, because
    a layer has one table.

    Centroids never fall below 0.675 standard deviations of their weights.  The published start is
    a share of the largest weight; this one is the least squared error without a code (Lloyd).
    After `freeze` the assignment is fixed and only the centroids move.
    """

    def __init__(self, weight: Tensor, config: LayerConfig) -> None:
        super().__init__(weight, config)
        self.symmetric, self.scaled_gradient = config.symmetric, config.scaled_gradient
        self.assignment = Assignment(weight, config, levels=3)
        centroid = self._initial_centroid(weight.detach())
        self.log_range = nn.Parameter(centroid.log())
        self.balance = nn.Parameter(
            _initial_balance(weight.detach() / centroid), requires_grad=not config.symmetric
        )
        if config.symmetric:
            nn.init.zeros_(self.balance)
        self.fixed: Tensor | None
        self.register_buffer("fixed", None)

    @property
    def bits(self) -> int:
        return 2

    def centroids(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """(w_n, w_p) as they are learned, positive, each of shape `range_shape`."""
        balance = bounded_ste(self.balance, -_LARGEST_BALANCE, _LARGEST_BALANCE)
        smallest = (_SMALLEST_CENTROID * self._deviation(weight)).log() + balance.detach().abs()
        log_range = at_least(self.log_range, smallest)
        return (log_range - balance).exp(), (log_range + balance).exp()

    def forward(self, weight: Tensor) -> Tensor:
        negative, positive = self.centroids(weight)
        quantized = apply(
            QuantizeTernary,
            weight,
            negative,
            positive,
            self._unit(negative, positive),
            self._values(),
            self._positions(weight),
            self.fixed is not None,
            self.scaled_gradient,
        )
        relevance = self.assignment.relevance
        if relevance is not None and self.training and self.fixed is None:
            relevance.watch(quantized, weight)
        return quantized

    @torch.no_grad()
    def step(self, weight: Tensor) -> Tensor:
        return self._unit(*self.centroids(weight))

    @torch.no_grad()
    def levels(self, weight: Tensor) -> Levels:
        positions, scale = self._positions(weight), self.step(weight).reshape(-1).clone()
        if self.symmetric:
            return Levels(codes=(positions - 1).to(torch.int8), bits=2, scale=scale)
        low, zero, high = (int(level) for level in self._values().tolist())
        return Levels(codes=positions.to(torch.int8), bits=2, scale=scale, table=(low, zero, high))

    def rate(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        density = (self._positions(weight) != 1).to(weight.dtype).mean()
        return weight.new_tensor(float(self.bits)), density

    @torch.no_grad()
    def snap_error(self) -> float:
        """How far the smaller centroid is from its integer, relative to itself."""
        if self.symmetric:
            return 0.0
        learned = MAX_LEVEL * float(torch.exp(-2.0 * self.balance.abs()))
        return abs(float(self._values().abs()[[0, 2]].min()) / learned - 1.0)

    @torch.no_grad()
    def freeze(self, weight: Tensor) -> None:
        """Fix the level of every weight; the centroids are still learned."""
        self.fixed = self._positions(weight).to(torch.int8)
        super().freeze(weight)

    def steer(self, excess: float) -> None:
        """See `Assignment.steer`."""
        if self.fixed is None:
            self.assignment.steer(excess)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        self.fixed = state_dict.get(prefix + "fixed")
        super()._load_from_state_dict(state_dict, prefix, *rest)

    @torch.no_grad()
    def _positions(self, weight: Tensor) -> Tensor:
        """0, 1 or 2 for -w_n, 0, w_p: int64 tensor of the weights' shape."""
        if self.fixed is not None and self.mask is not None:
            # the mask may have lost some more since
            return torch.where(self.mask == 0, 1, self.fixed.long())
        u = weight / self.step(weight)
        positions: Tensor = self.assignment(u, self._values(), factor=self.size_factor)
        return positions

    @torch.no_grad()
    def _values(self) -> Tensor:
        """The integer levels, rising: float tensor of shape (3,)."""
        if self.symmetric:
            return self.balance.new_tensor([-1.0, 0.0, 1.0])
        ratio = torch.exp(-2.0 * self.balance.abs())
        smaller = round_half_away(MAX_LEVEL * ratio).clamp(min=1.0)
        larger = torch.full_like(smaller, MAX_LEVEL)
        swap = self.balance < 0
        negative, positive = torch.where(swap, larger, smaller), torch.where(swap, smaller, larger)
        return torch.stack([-negative, torch.zeros_like(negative), positive])

    @torch.no_grad()
    def _unit(self, negative: Tensor, positive: Tensor) -> Tensor:
        """Real value of one integer level."""
        return torch.maximum(negative, positive) / (1 if self.symmetric else MAX_LEVEL)

    def _deviation(self, weight: Tensor) -> Tensor:
        rows = weight.detach().reshape(self.range_shape[0], -1)
        deviation = rows.std(1, correction=0).reshape(self.range_shape)
        return deviation.clamp(min=torch.finfo(weight.dtype).tiny ** 0.5)

    def _initial_centroid(self, weight: Tensor) -> Tensor:
        """Least squared error of {-c, 0, c}: each weight to the nearest, c to the mean of its own.

        Source: Lloyd's algorithm.
        """
        magnitude = weight.abs().reshape(self.range_shape[0], -1)
        centroid = magnitude.mean(1, keepdim=True)
        for _ in range(_LLOYD_STEPS):
            own = magnitude > 0.5 * centroid
            centroid = (magnitude * own).sum(1, keepdim=True) / own.sum(1, keepdim=True).clamp(1)
        smallest = torch.finfo(weight.dtype).tiny ** 0.5
        return centroid.clamp(min=smallest).reshape(self.range_shape)


def _initial_balance(u: Tensor) -> Tensor:
    """Half the logarithm of how much larger positive weights are than negative: 0-d tensor."""
    sides = [u[u > 0.5], -u[u < -0.5]]
    if not all(len(side) for side in sides):
        return u.new_zeros(())
    positive, negative = (side.mean().log() for side in sides)
    return (0.5 * (positive - negative)).clamp(-_LARGEST_BALANCE, _LARGEST_BALANCE)


class QuantizeTernary(Function):
    """``ŵ = unit · value`` of the level at each position, gradients to the learned centroids.

    With the levels held fixed, ŵ is -w_n, 0 or w_p itself, so that::

        dL/dw_p =  sum of dL/dŵ over the weights at w_p
        dL/dw_n = -sum of dL/dŵ over the weights at -w_n
        dL/dw   =  dL/dŵ                                     straight-through

    The published code has the other sign for w_n, inherited from an implementation of trained
    ternary nets.  With `scaled`, dL/dw is multiplied by the centroid (1 for zero), as published.
    Once the assignment is fixed, the latent weights have no gradient.
    """

    @staticmethod
    def forward(
        ctx: Any,
        w: Tensor,
        negative: Tensor,
        positive: Tensor,
        unit: Tensor,
        values: Tensor,
        positions: Tensor,
        fixed: bool,
        scaled: bool,
    ) -> Tensor:
        quantized = unit * values[positions]
        ctx.save_for_backward(quantized)
        ctx.shape, ctx.fixed, ctx.scaled = positive.shape, fixed, scaled
        return quantized

    @staticmethod
    def backward(
        ctx: Any, grad: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, None, None, None, None, None]:
        (quantized,) = ctx.saved_tensors
        positive = (grad * (quantized > 0)).sum_to_size(ctx.shape)
        negative = -(grad * (quantized < 0)).sum_to_size(ctx.shape)
        if ctx.scaled:
            grad = scale_gradient(grad, quantized)
        grad_w = torch.zeros_like(grad) if ctx.fixed else grad
        return grad_w, negative, positive, None, None, None, None, None
