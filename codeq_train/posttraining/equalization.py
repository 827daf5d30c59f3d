# SPDX-License-Identifier: Apache-2.0
"""Channels of different size brought closer to each other, before they share one grid."""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from codeq_train.layers import AvgPool, Conv, Dropout, Layer, MaxPool, Mean, Reshape, Weighted
from codeq_train.model import QuantizedModel
from codeq_train.posttraining.reconstruction import Batch
from codeq_train.prepare import set_quantization
from codeq_train.quantizers import make_quantizer

_MOST = 32.0
"""Largest factor of a channel."""


@torch.no_grad()
def equalize(model: QuantizedModel, batches: Iterable[Batch]) -> None:
    """Scale the channels between two layers so that none wastes the grid that they share.

    A channel that a layer makes f times as large and the next one reads 1/f times as strongly
    is the same network, where only a ReLU or a pool stands between the two.  f evens out what
    the channel's activations and the weights that read them lose: ``f = sqrt(largest weight /
    largest activation)``; in front of a depthwise layer, whose channels have scales of their
    own, the activations alone.  Where the reader has fewer than 8 bits, or a limit on bytes may
    take some, and is not depthwise, nothing is done: its weights would lose more than the
    activations gain (docs/RESULTS.md).

    Source: Nagel et al., arXiv:1906.04721, section 4.1, with observed activations in place of
    the first layer's weights, which have a scale a channel here.

    Parameters
    ----------
    model : QuantizedModel
        Prepared, in evaluation mode; its float outputs stay the same but for their rounding.
    batches : iterable of tuples of float tensors
        Real inputs.
    """
    pairs = list(_pairs(model))
    largest = _largest_activations(model, {first.origin.name for first, _ in pairs}, batches)
    for first, second in pairs:
        factor = _factor(largest[first.origin.name], second)
        _scale_outputs(first, factor)
        _scale_inputs(second, 1.0 / factor)
        for layer in (first, second):
            _requantize(model, layer)


def _pairs(model: QuantizedModel) -> Iterator[tuple[Weighted, Weighted]]:
    """Layers with nothing between them that would notice the size of a channel."""
    readers: dict[str, list[Layer]] = {}
    for reader in model.layers:
        for name in reader.origin.inputs:
            readers.setdefault(name, []).append(reader)
    used = [id(layer.weight) for layer in model.weighted()]
    outputs = set(model.outputs.values())
    for first in model.weighted():
        channels = first.channels
        layer: Layer = first
        while _is_homogeneous(layer, first) and layer.origin.name not in outputs:
            following = readers.get(layer.origin.name, [])
            if len(following) != 1:
                break
            (layer,) = following
            if isinstance(layer, Weighted):
                is_own = used.count(id(first.weight)) == used.count(id(layer.weight)) == 1
                if is_own and _inputs(layer) == channels and _can_bear_it(model, layer):
                    yield first, layer
                break


def _is_homogeneous(layer: Layer, first: Weighted) -> bool:
    """An output channel grows with its input channel, and with no other one."""
    low, high = layer.limits
    if high != float("inf") or low not in {0.0, float("-inf")}:
        return False
    if isinstance(layer, Reshape):
        return layer.origin.shape == (first.channels,)
    return layer is first or isinstance(layer, MaxPool | AvgPool | Mean | Dropout)


def _can_bear_it(model: QuantizedModel, reader: Weighted) -> bool:
    if isinstance(reader, Conv) and reader.is_depthwise:
        return model.config.layer(reader.origin.name).per_channel
    is_limited = model.config.budgets.weights is not None
    return model.config.layer(reader.origin.name).bits == 8 and not is_limited


def _inputs(layer: Weighted) -> int:
    groups = layer.groups if isinstance(layer, Conv) else 1
    return groups * layer.weight.shape[1]


def _largest_activations(
    model: QuantizedModel, names: set[str], batches: Iterable[Batch]
) -> dict[str, Tensor]:
    """Largest magnitude of each channel in the float network: (channels,), by layer."""
    set_quantization(model, weights=False, activations=False)
    largest: dict[str, Tensor] = {}
    for batch in batches:
        for layer, y in model.run(*batch):
            name = layer.origin.name
            if name in names:
                # channels are the last axis behind a linear layer, and the second elsewhere
                channels = y.movedim(1 if isinstance(layer, Conv) else -1, 0)
                found = channels.abs().flatten(1).amax(1)
                largest[name] = torch.maximum(largest.get(name, found), found)
    set_quantization(model, weights=True, activations=True)
    return largest


def _factor(largest: Tensor, second: Weighted) -> Tensor:
    """What each channel is multiplied with; 1 on (geometric) average, and where it is dead."""
    gain, _ = second.folded()
    weight = (second.weight * gain.reshape(-1, *[1] * (second.weight.dim() - 1))).abs()
    groups = second.groups if isinstance(second, Conv) else 1
    reading = _by_group(weight, groups).transpose(1, 2).flatten(2).amax(2).flatten()
    is_alive = (largest > 0) & (reading > 0)
    if isinstance(second, Conv) and second.is_depthwise:
        factor = 1.0 / largest
    else:
        factor = (reading / largest).sqrt()
    factor = torch.where(is_alive, factor, torch.ones_like(factor))
    mean = factor[is_alive].log().mean().exp() if is_alive.any() else factor.new_ones(())
    return torch.where(is_alive, (factor / mean).clamp(1.0 / _MOST, _MOST), factor)


def _scale_outputs(layer: Weighted, factor: Tensor) -> None:
    if layer.norm is not None:
        layer.norm.gamma.mul_(factor)
        layer.norm.beta.mul_(factor)
        return
    layer.weight.mul_(factor.reshape(-1, *[1] * (layer.weight.dim() - 1)))
    if layer.bias is not None:
        layer.bias.mul_(factor)


def _scale_inputs(layer: Weighted, factor: Tensor) -> None:
    groups = layer.groups if isinstance(layer, Conv) else 1
    weight = _by_group(layer.weight, groups)
    by_group = factor.reshape(groups, 1, -1, *[1] * (layer.weight.dim() - 2))
    layer.weight.copy_((weight * by_group).flatten(0, 1))


def _by_group(weight: Tensor, groups: int) -> Tensor:
    """(groups, outputs of one, inputs of one, …)"""
    return weight.reshape(groups, len(weight) // groups, *weight.shape[1:])


def _requantize(model: QuantizedModel, layer: Weighted) -> None:
    """A quantizer whose ranges are those of the weights as they are now."""
    old = layer.quantizer
    assert old is not None
    if layer.weight.requires_grad:
        new = make_quantizer(layer.weight.detach(), model.config.layer(layer.origin.name))
        new.size_factor = old.size_factor
        layer.attach(new.to(layer.weight.device), layer.input_grid, layer.tables)
