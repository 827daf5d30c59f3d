# SPDX-License-Identifier: Apache-2.0
"""Magnitude pruning on the ordinary grid: the baseline that every learned method has to beat.

Source: Zhu and Gupta, arXiv:1710.01878, eq. 1, with pruned weights that keep their gradient.
"""

import torch
from torch import Tensor

from codeq_train.config import LayerConfig
from codeq_train.quantizers.base import Levels
from codeq_train.quantizers.lsq import LSQ

_DENSEST = 1.0
_SPARSEST = 0.005
"""Limits of the density that `steer` sets."""
_GAIN = 0.5
_LARGEST_CHANGE = 0.2
"""Of the density's logarithm: how it follows the distance from a budget, and at most, per call."""


class Magnitude(LSQ):
    """The smallest weights of the layer are 0, the others on a grid of fixed width.

    The share of zeros rises as ``sparsity · (1 - (1 - t / ramp_steps)^3)`` over t forward passes in
    training, or follows the budget where there is one (`steer`).  Weights below the threshold keep
    their gradient and may come back until `freeze`.
    """

    def __init__(self, weight: Tensor, config: LayerConfig) -> None:
        super().__init__(weight, config)
        self.sparsity, self.ramp_steps = config.sparsity, config.ramp_steps
        self.passes: Tensor
        self.register_buffer("passes", torch.zeros((), dtype=torch.int64))
        self.steered: Tensor
        self.register_buffer("steered", torch.tensor(-1.0))  # a density; negative: by the schedule

    def density(self) -> float:
        """Share of weights that the threshold leaves, in [0, 1]; 1 where zeros save no bytes."""
        if self.size_factor == 0.0:
            return 1.0
        steered = float(self.steered)
        if steered >= 0.0:
            return steered
        left = 1.0 - min(int(self.passes) / self.ramp_steps, 1.0)
        return 1.0 - self.sparsity * (1.0 - left**3)

    def forward(self, weight: Tensor) -> Tensor:
        if self.training and torch.is_grad_enabled():
            self.passes += 1
        return super().forward(self._prune(weight))

    @torch.no_grad()
    def levels(self, weight: Tensor) -> Levels:
        return super().levels(self._prune(weight))

    def alive_channels(self, weight: Tensor) -> Tensor | None:
        alive = super().alive_channels(weight)
        if alive is None:
            return None
        return alive * (self._prune(weight.detach()) != 0).flatten(1).any(1)

    def steer(self, excess: float) -> None:
        """Shrink or grow the density in proportion to the distance from the budget.

        A layer whose `sparsity` is 0 stays dense.
        """
        if self.sparsity == 0.0 or self.mask is not None:
            return
        change = min(max(_GAIN * excess, -_LARGEST_CHANGE), _LARGEST_CHANGE)
        density = self.density() * (1.0 - change)
        self.steered.fill_(min(max(density, _SPARSEST), _DENSEST))

    @torch.no_grad()
    def freeze(self, weight: Tensor) -> None:
        """Fix the zeros, at the full `sparsity` even where the schedule has not come to its end."""
        self.passes.fill_(max(int(self.passes), self.ramp_steps))
        self.mask = (self.levels(weight).codes != 0).to(weight.dtype)

    def _prune(self, weight: Tensor) -> Tensor:
        """The weights without those below the threshold, straight-through."""
        count = int((1.0 - self.density()) * weight.numel())
        if self.mask is not None or count == 0:
            return weight
        with torch.no_grad():
            magnitude = weight.abs() if self.structure is None else self.structure.magnitude(weight)
            smallest = magnitude.flatten().kthvalue(count + 1).values
            below = weight * (magnitude < smallest)
        return weight - below
