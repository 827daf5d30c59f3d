# SPDX-License-Identifier: Apache-2.0
"""The levels that a layer's weights may take, and how chosen ones get into the layer."""

from dataclasses import dataclass

import msgspec
import torch
from torch import Tensor

from codeq_compile.errors import InputError
from codeq_train.layers import Conv, Weighted
from codeq_train.model import QuantizedModel
from codeq_train.quantizers import CoDeQ, GridQuantizer, WeightQuantizer, make_quantizer

MAX_LEVEL = 127
"""int8: gap and top index together never exceed it. [N3.3]"""


def groups_of(layer: Weighted) -> int:
    """Groups of a convolution; 1 for everything else."""
    return layer.groups if isinstance(layer, Conv) else 1


def as_rows(layer: Weighted, values: Tensor) -> Tensor:
    """A tensor of the weights' shape as (groups, outputs, taps), taps in `unfold`'s order."""
    groups = groups_of(layer)
    return values.reshape(groups, layer.channels // groups, -1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Width:
    """A grid's shape: `bits` and `gap`."""

    bits: int
    gap: int = 0

    @property
    def top(self) -> int:
        return (1 << (self.bits - 1)) - 1

    @property
    def value_bits(self) -> int:
        """Of a non-zero in a sparse packing: of two bits only the sign is left. [F4]"""
        return 1 if self.bits == 2 else self.bits

    @property
    def dense_bits(self) -> float:
        """Of any weight in a dense packing: five of two bits share a byte where there is no gap."""
        return 1.6 if self.bits == 2 and self.gap == 0 else float(self.bits)

    def values(self, like: Tensor) -> Tensor:
        """Ascending levels: tensor of shape (2 · top + 1,)."""
        index = torch.arange(-self.top, self.top + 1, device=like.device).to(like)
        return index + self.gap * torch.sign(index)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LevelSet:
    """Integer levels and their steps.

    Parameters
    ----------
    values : float tensor of shape (levels,)
        Ascending whole numbers; 0 is one of them.
    step : float tensor of shape (groups, outputs, 1)
        Real value of one level.
    """

    values: Tensor
    step: Tensor

    @property
    def nonzero(self) -> "LevelSet":
        """The same without 0."""
        return LevelSet(values=self.values[self.values != 0], step=self.step)

    def nearest(self, weight: Tensor) -> Tensor:
        """Nearest level to each weight, of shape (groups, outputs, taps) or (groups, outputs, 1).

        Ties go to the level closer to 0.
        """
        lower, upper = self.neighbours(weight)
        y = weight / self.step
        below, above = y - lower, upper - y
        take_upper = (above < below) | ((above == below) & (upper.abs() < lower.abs()))
        return torch.where(take_upper, upper, lower)

    def neighbours(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """The levels on both sides of each weight; beyond the last level it is both of them."""
        y = (weight / self.step).contiguous()
        last = len(self.values) - 1
        above = torch.searchsorted(self.values, y)
        return self.values[(above - 1).clamp(min=0)], self.values[above.clamp(max=last)]


def level_set(layer: Weighted) -> LevelSet:
    """What the layer's quantizer can store now."""
    levels = layer.levels()
    if levels.table is not None:
        values = levels.scale.new_tensor(sorted(set(levels.table)))
    else:
        top = (1 << (levels.bits - 1)) - 1
        index = torch.arange(-top, top + 1, device=levels.scale.device).to(levels.scale)
        values = index + levels.gap * torch.sign(index)
    step = levels.scale.expand(layer.channels)
    groups = groups_of(layer)
    return LevelSet(values=values, step=step.reshape(groups, layer.channels // groups, 1))


@torch.no_grad()
def write(layer: Weighted, values: Tensor) -> None:
    """Make `values`, levels of shape (groups, outputs, taps), what the layer stores.

    The weights become the real values of their levels, which every quantizer rounds to themselves.

    Raises
    ------
    InputError
        The quantizer does not: its levels depend on more than the weight itself.
    """
    wanted = values.reshape(layer.weight.shape)
    step = layer.levels().scale.reshape(-1, *[1] * (wanted.dim() - 1))
    layer.weight.copy_(wanted * step)
    if not torch.equal(layer.levels().values(), wanted):
        kind = type(layer.quantizer).__name__
        raise InputError(
            f'layer "{layer.origin.name}": {kind} does not keep levels that are chosen for it; '
            'after training use quantizer "lsq" or "codeq"'
        )


@torch.no_grad()
def install(model: QuantizedModel, layer: Weighted, width: Width, top_value: Tensor) -> None:
    """Give `layer`, and all that share its weights, a grid of fixed width, gap and ranges.

    Parameters
    ----------
    model : QuantizedModel
    layer : Weighted
    width : Width
    top_value : float tensor of shape (groups, outputs, 1)
        Real value of each channel's top level; with one range for all of them, the same ones.
    """
    given = msgspec.structs.replace(
        model.config.layer(layer.origin.name),
        bits=width.bits,
        min_bits=width.bits,
        learn_bits=False,
        range="learned",
    )
    quantizer = make_quantizer(layer.weight.detach(), given).to(layer.weight.device)
    assert isinstance(quantizer, GridQuantizer)
    assert quantizer.log_range is not None
    quantizer.log_range.copy_(
        top_value.flatten()[: quantizer.log_range.numel()].log().reshape(quantizer.range_shape)
    )
    if isinstance(quantizer, CoDeQ) and width.gap:
        quantizer.set_gap(width.gap)
    _share(model, layer, quantizer)


def _share(model: QuantizedModel, layer: Weighted, quantizer: WeightQuantizer) -> None:
    for other in model.weighted():
        if other.weight is layer.weight:
            other.quantizer = quantizer


class Snapshot:
    """A layer's weights, their quantizer and its bias as they are now."""

    def __init__(self, model: QuantizedModel, layer: Weighted) -> None:
        assert layer.quantizer is not None
        self.model, self.layer = model, layer
        self.weight, self.quantizer = layer.weight.detach().clone(), layer.quantizer
        self.bias = layer.bias
        self.beta = layer.norm.beta if layer.norm is not None else None

    @torch.no_grad()
    def restore(self) -> None:
        """Make the layer what it was."""
        self.layer.weight.copy_(self.weight)
        self.layer.bias = self.bias
        if self.layer.norm is not None and self.beta is not None:
            self.layer.norm.beta = self.beta
        _share(self.model, self.layer, self.quantizer)
