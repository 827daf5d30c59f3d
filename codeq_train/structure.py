# SPDX-License-Identifier: Apache-2.0
"""Weights that become 0 together: whole channels, blocks of 16 inputs, all but N of every M.

A group is compared with a threshold by its root mean square, as a single weight is by its
magnitude.  Groups of inputs are consecutive input channels at one position of the kernel, which is
their order in flash (behind a flattened image: their order in torch).
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

BLOCK = 16
"""Weights of a block: the int8 lanes of a Helium register."""

_INITIAL = 0.3
_SCALE = 0.1
_EDGE = 0.05
"""Softness of the threshold, as a share of the reach."""


class Structure(nn.Module):
    """A dead zone for groups of one layer's weights.

    ``channel`` and ``1x16``: a group is 0 where its root mean square is not above
    ``0.1 · softplus(phi) · reach``, the reach being the real value of the top level.  ``N:M``: of
    every M inputs the N largest stay; where a layer has fewer than M inputs, all do.

    Pruned weights keep their gradient and may come back [SR-STE, arXiv:2102.04010]; the threshold's
    gradient comes from the groups near it.

    Parameters
    ----------
    kind : str
        ``"channel"``, ``"1x16"`` or ``"N:M"``.
    learn : bool
        Learn the threshold; else groups are compared by others, with `magnitude`.
    """

    def __init__(self, kind: str, *, learn: bool) -> None:
        super().__init__()
        self.kept, self.of = (int(n) for n in kind.split(":")) if ":" in kind else (0, 0)
        self.is_block = kind == f"1x{BLOCK}"
        self.is_channel = kind == "channel"
        self.phi: nn.Parameter | None = None
        if learn and not self.of:
            self.phi = nn.Parameter(torch.tensor(math.log(math.expm1(_INITIAL))))

    def forward(self, weight: Tensor, reach: Tensor) -> Tensor:
        """The weights without those of pruned groups, straight-through."""
        alive = self.alive(weight, reach)
        return (
            weight - (weight * (1.0 - alive)).detach() + weight.detach() * (alive - alive.detach())
        )

    def alive(self, weight: Tensor, reach: Tensor) -> Tensor:
        """1 for weights that stay, else 0, of the weight's shape; differentiable."""
        if self.of:
            return self._largest(weight)
        if self.phi is None:
            return torch.ones_like(weight)
        threshold = _SCALE * F.softplus(self.phi) * reach
        magnitude = self.magnitude(weight)
        soft = torch.sigmoid((magnitude - threshold) / (_EDGE * reach))
        return (magnitude > threshold).to(weight.dtype) + (soft - soft.detach())

    def magnitude(self, weight: Tensor) -> Tensor:
        """What stands for each weight's magnitude: tensor of the weight's shape."""
        if self.of:
            return weight.abs()
        square = weight.square()
        if not self.is_block:
            mean = square.flatten(1).mean(1)
            return mean.sqrt().reshape(-1, *[1] * (weight.dim() - 1)).expand_as(weight)
        blocks = _grouped(square, BLOCK)
        counts = _grouped(torch.ones_like(square), BLOCK).sum(2, keepdim=True)
        mean = (blocks.sum(2, keepdim=True) / counts).expand_as(blocks)
        # the root's slope at 0 is infinite: a block that is 0 has no gradient
        root = torch.where(mean > 0, mean, torch.ones_like(mean)).sqrt() * (mean > 0)
        return _ungrouped(root, weight)

    def _largest(self, weight: Tensor) -> Tensor:
        groups = _grouped(weight.detach().abs(), self.of)
        # a stable order: of equal weights the first stay
        rank = groups.argsort(dim=2, descending=True, stable=True).argsort(dim=2)
        return _ungrouped((rank < self.kept).to(weight.dtype), weight)


def _grouped(x: Tensor, size: int) -> Tensor:
    """(out, inputs, ...) as (out, groups, size, ...), filled up with zeros."""
    missing = -x.shape[1] % size
    filled = F.pad(x, [*[0, 0] * (x.dim() - 2), 0, missing])
    return filled.reshape(len(x), -1, size, *x.shape[2:])


def _ungrouped(x: Tensor, like: Tensor) -> Tensor:
    return x.flatten(1, 2)[:, : like.shape[1]]
