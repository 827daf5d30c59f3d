# SPDX-License-Identifier: Apache-2.0
"""CoDeQ as published: a real offset between zero and the first level, deployed through a table.

The real levels are no multiples of one step, so that the integer layer takes the nearest int8
levels from a table.  That table is in the loop of training: what is exported is what was trained.
Source: CoDeQ, arXiv:2512.12981, eq. 10-19.
"""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.autograd import Function

from codeq_train.autograd import apply, bounded_round_ste, bounded_ste
from codeq_train.config import LayerConfig
from codeq_train.quantizers.base import Levels, WeightQuantizer, soft_density

MAX_LEVEL = 127
"""The top level's integer; its real value is the range R."""

_QUANTILE = 0.99
_WIDEST_ZONE = 0.95
"""Largest dead zone, as a share of the range: the steps above it must not vanish."""
_PAPER_LOGIT = 3.0


class CoDeQOffset(WeightQuantizer):
    """Levels ``±(tau + (k - 1/2) · s)``, ``k = 1 .. Q``, and 0 for ``|w| <= tau``.

    With R, the 99th percentile of the magnitudes, without gradient::

        tau  = d / 2 = R · (1 - tanh|theta|)            at most 0.95 R
        s    = (R - tau) / (Q - 1/2)                    the top level is R
        Q    = 2^(bits - 1) - 1
        bits = round(min + (max - min) · tanh|theta_bits|)

    What is stored are ``round(127 · level / R)`` with the scale R / 127.  With 8 bits these are all
    the integers beyond the dead zone, and no table is needed; below, a table has 2Q + 1 entries.
    Two bits leave only the levels 0 and ±R, as published.

    Training starts at ``d = s``, the ordinary grid, or with `paper_init` at theta = 3, where there
    is almost no dead zone.
    """

    learned: ClassVar[Mapping[str, str]] = {"theta": "dead_zone", "theta_bits": "bits"}
    learns_size = True

    def __init__(self, weight: Tensor, config: LayerConfig) -> None:
        super().__init__(weight, config)
        self.min_bits, self.max_bits = config.min_bits, config.bits
        self.snap = config.snap
        top = (1 << (config.bits - 1)) - 1
        start = math.atanh(1.0 - 0.5 / top)
        theta = torch.tensor(_PAPER_LOGIT if config.paper_init else start)
        self.theta = nn.Parameter(theta, requires_grad=config.learn_dead_zone)
        self.learn_bits = config.learn_bits and self.min_bits < self.max_bits
        self.theta_bits = nn.Parameter(torch.tensor(_PAPER_LOGIT), requires_grad=self.learn_bits)

    def width(self) -> Tensor:
        """Whole number of bits in a 0-d tensor, straight-through to `theta_bits`."""
        if not self.learn_bits:
            return self.theta_bits.new_tensor(float(self.max_bits))
        span = self.max_bits - self.min_bits
        soft = self.min_bits + span * torch.tanh(self.theta_bits.abs())
        return bounded_round_ste(soft, self.min_bits, self.max_bits)

    def top(self) -> Tensor:
        """Q: 0-d tensor, carries the gradient of the width."""
        return torch.exp2(self.width() - 1.0) - 1.0

    def zone(self) -> Tensor:
        """Half of the dead zone as a share of the range, tau / R: 0-d tensor."""
        return bounded_ste(1.0 - torch.tanh(self.theta.abs()), 0.0, _WIDEST_ZONE)

    @torch.no_grad()
    def reach(self, weight: Tensor) -> Tensor:
        """R, the real value of the top level, of shape `range_shape`."""
        rows = weight.detach().abs().reshape(self.range_shape[0], -1)
        position = math.ceil(_QUANTILE * rows.shape[1])
        value = rows.kthvalue(position, dim=1).values.reshape(self.range_shape)
        return value.clamp(min=torch.finfo(weight.dtype).tiny ** 0.5)

    @property
    def bits(self) -> int:
        return int(self.width().detach())

    def forward(self, weight: Tensor) -> Tensor:
        if self.training and self.mask is None and not self.snap:
            unit, table = self.reach(weight), self._shares()
        else:
            unit, table = self.step(weight), self._integers()
        reach = self.reach(weight)
        zone = 2.0 * reach * self.zone()
        quantized = apply(QuantizeOffset, weight, reach, zone, self.top(), unit, table, self.mask)
        return quantized

    @torch.no_grad()
    def step(self, weight: Tensor) -> Tensor:
        return self.reach(weight) / MAX_LEVEL

    @torch.no_grad()
    def levels(self, weight: Tensor) -> Levels:
        reach, top, table = self.reach(weight), self.top(), self._integers()
        index = offset_index(weight, reach, 2.0 * reach * self.zone(), top, self.mask)
        signed = torch.sign(weight) * index
        scale = self.step(weight).reshape(-1).clone()
        if self.bits == 8:  # a table holds up to 7 bits, and int8 is all that one could contain
            codes = torch.sign(weight) * table[index.long()]
            return Levels(codes=codes.to(torch.int8), bits=8, scale=scale)
        positive = [int(level) for level in table.tolist()]
        return Levels(
            codes=(signed + top).to(torch.int8),
            bits=self.bits,
            scale=scale,
            table=(*(-level for level in reversed(positive[1:])), *positive),
        )

    def rate(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Width and the share of weights beyond the threshold, the threshold's edge softened."""
        width, zone, reach = self.width(), self.zone(), self.reach(weight)
        step = reach * (1.0 - zone.detach()) / (self.top().detach() - 0.5)
        return width, soft_density(weight, zone * reach, step)

    def penalty(
        self, weight: Tensor, *, lambda_dz: float, lambda_bit: float, share: float
    ) -> Tensor:
        """``lambda_dz · theta² + lambda_bit · theta_bits²``: every layer alike, whatever its size.

        Adam hardly tells one factor from another here, because it normalises gradients; the paper's
        factors are for SGD.  Source: eq. 16 and 19.
        """
        return lambda_dz * self.theta.square() + lambda_bit * self.theta_bits.square()

    @torch.no_grad()
    def snap_error(self) -> float:
        """Largest distance of a level from its int8 level, in steps s of the real levels."""
        shares = self._shares()
        step = (1.0 - self.zone()) / (self.top() - 0.5)
        return float((self._integers() / MAX_LEVEL - shares).abs().max() / step)

    @torch.no_grad()
    def freeze(self, weight: Tensor) -> None:
        """Fix the set of zeros, the width and the dead zone."""
        super().freeze(weight)
        self.theta.requires_grad_(False)
        self.theta_bits.requires_grad_(False)

    @torch.no_grad()
    def _shares(self) -> Tensor:
        """Levels 0 .. Q as shares of R: tensor of shape (Q + 1,)."""
        zone, top = self.zone(), self.top()
        step = (1.0 - zone) / (top - 0.5)
        index = torch.arange(int(top) + 1, dtype=zone.dtype, device=zone.device)
        return torch.where(index == 0, 0.0, zone + (index - 0.5) * step)

    @torch.no_grad()
    def _integers(self) -> Tensor:
        """Levels 0 .. Q as the integers that are stored: float tensor of shape (Q + 1,)."""
        return torch.floor(MAX_LEVEL * self._shares() + 0.5)


def offset_index(
    w: Tensor, reach: Tensor, zone: Tensor, top: Tensor, mask: Tensor | None
) -> Tensor:
    """Number 0 .. Q of the level of each |w|: float tensor of w's shape.

    It is 0 exactly for ``|w| <= zone / 2``.  With a mask (1 = kept), pruned weights stay 0 and kept
    ones stay at least at the first level.
    """
    magnitude, threshold = w.abs(), zone * 0.5
    step = (reach - threshold) / (top - 0.5)
    index = torch.ceil((magnitude - threshold) / step)
    index = torch.minimum(index.clamp_(min=1.0), top)
    return index * (magnitude > threshold) if mask is None else index * mask


class QuantizeOffset(Function):
    """CoDeQ's quantizer; `unit` · `table` are the magnitudes of the levels 0 .. Q.

    With ``delta = d/2 - s/2``, ``u = sign(w) · relu(|w| - delta) / s`` and the index ``i``::

        dŵ/dw = 1
        dŵ/dd = [(u - i) - Q · sign(w) · (i = 0)] / (2Q - 1)              |u| > Q + 1/2: 0
        dŵ/dQ = [(i - u) + sign(w) · (i = 0) / 2] · -s / (Q - 1/2)        |u| > Q + 1/2: 0

    which is the derivative with rounding, clipping and relu straight-through.  The range R has no
    gradient.  Weights beyond it have no say in d and Q, because the top level does not move with
    them: the published code has a spurious term there, which grows without bound as s vanishes.
    """

    @staticmethod
    def forward(
        ctx: Any,
        w: Tensor,
        reach: Tensor,
        zone: Tensor,
        top: Tensor,
        unit: Tensor,
        table: Tensor,
        mask: Tensor | None,
    ) -> Tensor:
        index = offset_index(w, reach, zone, top, mask)
        ctx.save_for_backward(w, reach, zone, top, index)
        ctx.mask = mask
        return unit * (torch.sign(w) * table[index.long()])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, Tensor, Tensor, None, None, None]:
        w, reach, zone, top, index = ctx.saved_tensors
        if ctx.mask is not None:
            grad = grad * ctx.mask
        step = (reach - zone * 0.5) / (top - 0.5)
        u = torch.relu(w.abs() - (zone - step) * 0.5) / step
        signed = (grad * torch.sign(w)).masked_fill(u > top + 0.5, 0.0)
        residual, pruned = u - index, (index == 0).to(w.dtype)
        by_zone = signed * (residual - top * pruned) / (2.0 * top - 1.0)
        by_top = signed * (residual - 0.5 * pruned) * (step / (top - 0.5))
        return grad, None, by_zone.sum_to_size(zone.shape), by_top.sum(), None, None, None
