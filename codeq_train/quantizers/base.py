# SPDX-License-Identifier: Apache-2.0
"""What every weight quantizer answers: fake-quantized weights, and exactly what export stores."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from codeq_train.config import LayerConfig
from codeq_train.quantizers.pruning import ChannelPruning

_THRESHOLD_WIDTH = 0.25
"""Softness of the counted zeros' edge, in steps."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Levels:
    """Quantized weights as they are stored: ``ŵ = scale · level``. [N3.3] [N3.4]

    Parameters
    ----------
    codes : int8 tensor of the weights' shape
        Index i on a grid, whose level is ``i + gap · sign(i)``; position in `table` where there is
        one.
    bits : int
    scale : float32 tensor of shape (out_channels,) or (1,)
    gap : int
    table : tuple of int, optional
        The int8 levels themselves, at most ``2^bits``, of which 0 is one.
    """

    codes: Tensor = field(repr=False)
    bits: int
    scale: Tensor = field(repr=False)
    gap: int = 0
    table: tuple[int, ...] | None = None

    def values(self) -> Tensor:
        """The integer levels: float32 tensor of the weights' shape."""
        if self.table is not None:
            return self.scale.new_tensor(self.table)[self.codes.long()]
        index = self.codes.float()
        return index + self.gap * torch.sign(index)

    def dequantize(self) -> Tensor:
        """The fake-quantized weights, bit for bit: float32 tensor of the weights' shape."""
        values = self.values()
        return self.scale.reshape(-1, *[1] * (values.dim() - 1)) * values


class WeightQuantizer(nn.Module, ABC):
    """Quantizer of one layer's weights.

    A subclass is made of (weight, config): the initial weights of shape (out_channels, ...), from
    which ranges are set, and the layer's settings.

    Attributes
    ----------
    mask : float tensor of the weights' shape or None
        1 for weights that must not become 0 any more, 0 for those that stay 0.
    channels : ChannelPruning or None
        None where output channels cannot leave as a whole.
    learned : mapping of str to str
        Group of `parameter_groups` that a parameter belongs to: "dead_zone", "bits"; "ranges" is
        understood.
    learns_size : bool
        `rate` has a gradient that training can follow to fewer bytes.
    size_factor : float
        How much of a strength this layer feels, in [0, 1]; set by `prepare`, 0 where zeros save no
        bytes.
    """

    learned: ClassVar[Mapping[str, str]] = {}
    learns_size: ClassVar[bool] = False

    def __init__(self, weight: Tensor, config: LayerConfig) -> None:
        super().__init__()
        self.per_channel = config.per_channel
        self.size_factor = 1.0
        ones = [1] * (weight.dim() - 1)
        self.range_shape = (len(weight), *ones) if config.per_channel else (1,)
        self.mask: Tensor | None
        self.register_buffer("mask", None)
        self.channels: ChannelPruning | None = None

    @abstractmethod
    def forward(self, weight: Tensor) -> Tensor:
        """Fake-quantized weights, same shape.

        In evaluation mode and after `freeze` they equal ``levels(weight).dequantize()``.
        """

    @abstractmethod
    def levels(self, weight: Tensor) -> Levels:
        """What export stores."""

    @abstractmethod
    def step(self, weight: Tensor) -> Tensor:
        """Real value of one integer level, of shape `range_shape`, without gradient."""

    @abstractmethod
    def rate(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Differentiable (width, density) of `weight`: 0-d tensors, for the penalty."""

    def alive_channels(self, weight: Tensor) -> Tensor | None:
        """1 for output channels that stay and 0 for those that are pruned: of shape (channels,).

        Differentiable where that is learned; None where `channels` is.
        """
        return None

    def prune_channels(self, channels: Iterable[int]) -> None:
        """Take output channels out for good; where `channels` is not None."""
        assert self.channels is not None
        self.channels.prune(list(channels))
        if self.mask is not None:
            self.mask = self.mask * self.channels.shaped(self.mask)

    def keep_channels(self) -> None:
        """Prune no output channel as a whole, whatever the settings say."""
        self.channels = None

    @property
    @abstractmethod
    def bits(self) -> int:
        """Stored width now, 1..8."""

    def penalty(
        self, weight: Tensor, *, lambda_dz: float, lambda_bit: float, share: float
    ) -> Tensor:
        """What `regularizer` adds for this layer: 0-d tensor.

        By default ``share · (lambda_dz · density + lambda_bit · width / 8)``, with the layer's
        share of all weights, in [0, 1].
        """
        width, density = self.rate(weight)
        return share * (lambda_dz * density + lambda_bit * width / 8)

    def snap_error(self) -> float:
        """How far the stored levels are from the method's own, in steps; 0 where they are equal."""
        return 0.0

    def freeze(self, weight: Tensor) -> None:
        """Fix what the last phase of training must not change any more: by default the zeros."""
        with torch.no_grad():
            self.mask = (self.levels(weight).values() != 0).to(weight.dtype)

    @property
    def widest(self) -> int:
        """Largest width that `settle` takes."""
        return self.bits

    def settle(self, bits: int | None = None) -> None:
        """Keep this width from now on, by default the present one; some learn it until `freeze`.

        Called when the last aim is reached.  A width is whole: one that wavers between two values
        makes the size jump.
        """

    def steer(self, excess: float) -> None:
        """Told now and then how far the model is from its budget, ``bytes / target - 1``.

        For quantizers that have a strength instead of a gradient of `rate`; others do nothing.
        """

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        # a checkpoint of the last phase holds the mask, which a fresh quantizer does not have yet
        self.mask = state_dict.get(prefix + "mask")
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def _absmax(self, weight: Tensor) -> Tensor:
        """Largest magnitude, of shape `range_shape`, positive."""
        magnitude = weight.detach().abs()
        if self.per_channel:
            value = magnitude.flatten(1).amax(1).reshape(self.range_shape)
        else:
            value = magnitude.amax().reshape(1)
        return value.clamp(min=torch.finfo(weight.dtype).tiny ** 0.5)


def soft_density(
    weight: Tensor, threshold: Tensor, step: Tensor, alive: Tensor | None = None
) -> Tensor:
    """Share of weights beyond `threshold`, differentiable: 0-d tensor.

    The edge is softened over a quarter of a step, so that weights near it have a gradient.  Only
    weights that are `alive` count, where that is given.
    """
    beyond = (weight.abs() - threshold) / (_THRESHOLD_WIDTH * step)
    counted = torch.sigmoid(beyond)
    return (counted if alive is None else counted * alive).mean()
