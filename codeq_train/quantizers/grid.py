# SPDX-License-Identifier: Apache-2.0
"""Quantizers whose levels lie on one symmetric integer grid, with a gap beside zero or without."""

from abc import abstractmethod

import torch
from torch import Tensor, nn

from codeq_train.autograd import quantize_weight, weight_index, weight_step
from codeq_train.config import LayerConfig
from codeq_train.quantizers.base import Levels, WeightQuantizer
from codeq_train.quantizers.pruning import ChannelPruning
from codeq_train.structure import Structure

_CANDIDATES = 24


class GridQuantizer(WeightQuantizer):
    """Symmetric grid; the top level's value `R` is learned or the largest magnitude of the weights.

    ``ŵ = step · (i + gap · sign(i))``, ``step = R / (top + gap)``, ``i`` in ``-top .. top``.
    """

    def __init__(self, weight: Tensor, config: LayerConfig) -> None:
        super().__init__(weight, config)
        self.log_range: nn.Parameter | None = None
        if config.range == "learned":
            initial = self._best_range(weight.detach(), float((1 << (config.bits - 1)) - 1))
            self.log_range = nn.Parameter(initial.log())
        # a depthwise channel reads one input: there is nothing to group but itself
        has_groups = config.structure == "channel" or weight.shape[1] > 1
        is_grouped = config.structure != "none" and has_groups
        self.structure: Structure | None = None
        if is_grouped:
            learn = self.learns_size and config.learn_dead_zone
            self.structure = Structure(config.structure, learn=learn)
            self.channels = ChannelPruning(weight) if self.structure.is_channel else None

    @abstractmethod
    def top(self) -> Tensor:
        """Largest index, whole, in a 0-d float tensor; carries the gradient of the width."""

    @abstractmethod
    def gap(self) -> Tensor:
        """Gap, whole, in a 0-d float tensor; carries the gradient of the dead zone."""

    @property
    def bits(self) -> int:
        return int(torch.log2(self.top().detach() + 1.0).round()) + 1

    def forward(self, weight: Tensor) -> Tensor:
        weight = self.grouped(weight)
        return quantize_weight(weight, self.top_value(weight), self.top(), self.gap(), self.mask)

    def grouped(self, weight: Tensor) -> Tensor:
        """The weights without those of pruned groups, straight-through; after `freeze` as given."""
        if self.structure is None or self.mask is not None:
            return weight
        pruned: Tensor = self.structure(weight, self._reach(weight))
        return pruned if self.channels is None else pruned * self.channels.shaped(weight)

    def alive_channels(self, weight: Tensor) -> Tensor | None:
        if self.channels is None:
            return None
        alive = self.alive(weight) if self.mask is None else self.mask
        # a channel has one value before the zeros are fixed, and is what is left of it afterwards
        return alive.flatten(1).amax(1)

    def alive(self, weight: Tensor) -> Tensor:
        """1 for weights whose group stays, else 0, of the weight's shape; differentiable."""
        if self.structure is None:
            return torch.ones_like(weight)
        alive: Tensor = self.structure.alive(weight, self._reach(weight))
        return alive if self.channels is None else alive * self.channels.shaped(weight)

    def keep_channels(self) -> None:
        super().keep_channels()
        self.structure = None

    def _reach(self, weight: Tensor) -> Tensor:
        # one for all channels: with ranges of their own, all would be alike
        return self.top_value(weight).detach().mean()

    def top_value(self, weight: Tensor) -> Tensor:
        """Real value R of the top level, of shape `range_shape`."""
        if self.log_range is not None:
            return self.log_range.exp()
        return self._absmax(weight)

    @torch.no_grad()
    def step(self, weight: Tensor) -> Tensor:
        return weight_step(self.top_value(weight), self.top(), self.gap())

    @torch.no_grad()
    def levels(self, weight: Tensor) -> Levels:
        top, gap, step = self.top(), self.gap(), self.step(weight)
        index = weight_index(self.grouped(weight), step, top, gap, self.mask)
        return Levels(
            codes=index.to(torch.int8), bits=self.bits, gap=int(gap), scale=step.reshape(-1).clone()
        )

    def _best_range(self, weight: Tensor, top: float) -> Tensor:
        """Range with the least squared error on the ordinary grid, among fractions of absmax."""
        largest = self._absmax(weight)
        best, least = largest, torch.full_like(largest, torch.inf)
        for fraction in torch.linspace(0.25, 1.0, _CANDIDATES):
            candidate = largest * fraction
            step = candidate / top
            error = (weight - (weight / step).round().clamp(-top, top) * step).square()
            loss = (
                error.flatten(1).sum(1).reshape(self.range_shape)
                if self.per_channel
                else error.sum()
            )
            best = torch.where(loss < least, candidate, best)
            least = torch.minimum(loss, least)
        return best
