# SPDX-License-Identifier: Apache-2.0
"""What every weight quantizer answers: fake-quantized weights, and exactly what export stores."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from codeq_train.autograd import quantize_weight, weight_index, weight_step

_CANDIDATES = 24


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Levels:
    """Quantized weights as they are stored: ``ŵ = scale · (codes + gap · sign(codes))``. [N3.4]

    Parameters
    ----------
    codes : int8 tensor of the weights' shape
    bits : int
    gap : int
    scale : float32 tensor of shape (out_channels,) or (1,)
    """

    codes: Tensor = field(repr=False)
    bits: int
    gap: int
    scale: Tensor = field(repr=False)

    def dequantize(self) -> Tensor:
        """The fake-quantized weights, bit for bit: float32 tensor of the weights' shape."""
        index = self.codes.float()
        scale = self.scale.reshape(-1, *[1] * (index.dim() - 1))
        return scale * (index + self.gap * torch.sign(index))


class WeightQuantizer(nn.Module, ABC):
    """Symmetric quantizer of one layer's weights; the top level's value `R` is learned or absmax.

    Parameters
    ----------
    weight : tensor of shape (out_channels, ...)
        Initial weights, from which the range is set.
    bits : int
        Width that the initial range is chosen for.
    per_channel : bool
        One range per output channel.
    learn_range : bool
        False: the largest magnitude of the weights, without gradient.
    """

    def __init__(self, weight: Tensor, *, bits: int, per_channel: bool, learn_range: bool) -> None:
        super().__init__()
        self.per_channel = per_channel
        self.range_shape = (len(weight), *[1] * (weight.dim() - 1)) if per_channel else (1,)
        self.log_range: nn.Parameter | None = None
        if learn_range:
            initial = self._best_range(weight.detach(), float((1 << (bits - 1)) - 1))
            self.log_range = nn.Parameter(initial.log())
        self.mask: Tensor | None
        self.register_buffer("mask", None)

    @abstractmethod
    def top(self) -> Tensor:
        """Largest index Q, whole, in a 0-d float tensor; carries the gradient of the width."""

    @abstractmethod
    def gap(self) -> Tensor:
        """Gap, whole, in a 0-d float tensor; carries the gradient of the dead zone."""

    @abstractmethod
    def estimated_bits(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Differentiable (width, density) of `weight`: 0-d tensors, for the penalty."""

    @property
    def bits(self) -> int:
        """Stored width now, 2..8."""
        return int(torch.log2(self.top().detach() + 1.0).round()) + 1

    def forward(self, weight: Tensor) -> Tensor:
        """Fake-quantized weights, same shape."""
        return quantize_weight(weight, self.top_value(weight), self.top(), self.gap(), self.mask)

    def top_value(self, weight: Tensor) -> Tensor:
        """Real value R of the top level, of shape `range_shape`."""
        if self.log_range is not None:
            return self.log_range.exp()
        return self._absmax(weight.detach())

    @torch.no_grad()
    def step(self, weight: Tensor) -> Tensor:
        """Real value of one integer level, of shape `range_shape`."""
        return weight_step(self.top_value(weight), self.top(), self.gap())

    @torch.no_grad()
    def levels(self, weight: Tensor) -> Levels:
        """What export stores; `Levels.dequantize` equals `forward` bit for bit."""
        top, gap, step = self.top(), self.gap(), self.step(weight)
        index = weight_index(weight, step, top, gap, self.mask)
        return Levels(
            codes=index.to(torch.int8), bits=self.bits, gap=int(gap), scale=step.reshape(-1).clone()
        )

    def freeze(self, weight: Tensor) -> None:
        """Fix what the last phase of training must not change any more; nothing by default."""

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        # a checkpoint of the last phase holds the mask, which a fresh quantizer does not have yet
        self.mask = state_dict.get(prefix + "mask")
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def _absmax(self, weight: Tensor) -> Tensor:
        magnitude = weight.abs()
        if self.per_channel:
            value = magnitude.flatten(1).amax(1).reshape(self.range_shape)
        else:
            value = magnitude.amax().reshape(1)
        return value.clamp(min=torch.finfo(weight.dtype).tiny ** 0.5)

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
