# SPDX-License-Identifier: Apache-2.0
"""Channels that can only leave a model together, and what RAM they take."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor

from codeq_compile.ir import Graph
from codeq_compile.numerics import Int64Array
from codeq_compile.passes.channels import numbered, whole
from codeq_compile.plan import Plan
from codeq_train.layers import Weighted
from codeq_train.model import QuantizedModel


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelSet:
    """Output channels that can only leave together, as those that a residual sum adds.

    Parameters
    ----------
    members : tuple of (Weighted, tuple of int)
        Layers and their channels.
    ram_bytes : float
        What they take at the layer where the arena is fullest.
    importance : float
        How much the loss feels them.
    """

    members: tuple[tuple[Weighted, tuple[int, ...]], ...]
    ram_bytes: float
    importance: float

    @property
    def count(self) -> int:
        """How many channels these are, of all layers."""
        return sum(len(channels) for _, channels in self.members)

    @property
    def is_last(self) -> bool:
        """Some layer would be left without channels."""
        return any(len(alive_channels(each)) <= len(gone) for each, gone in self.members)

    def prune(self) -> None:
        """Take these channels out of their layers, for good."""
        for layer, channels in self.members:
            assert layer.quantizer is not None
            layer.quantizer.prune_channels(channels)


def pruning_layers(model: QuantizedModel) -> list[Weighted]:
    """Layers whose output channels can be pruned as a whole (``structure: "channel"``)."""
    return [
        layer
        for layer in model.weighted()
        if layer.quantizer is not None and layer.quantizer.channels is not None
    ]


def alive_channels(layer: Weighted) -> list[int]:
    """Output channels of a layer that prunes them that are left."""
    assert layer.quantizer is not None
    alive = layer.quantizer.alive_channels(layer.weight)
    assert alive is not None
    found: list[int] = alive.nonzero().flatten().tolist()
    return found


def channel_sets(model: QuantizedModel, source: Graph, decided: Plan) -> list[ChannelSet]:
    """What can leave and makes the arena smaller, the least important for its bytes first.

    Parameters
    ----------
    model : QuantizedModel
    source : Graph
        Its integers, before any pass.
    decided : Plan
        Made from them.
    """
    numbers = numbered(source)
    fixed = _fixed(source, numbers)
    members: dict[int, dict[Weighted, list[int]]] = defaultdict(lambda: defaultdict(list))
    felt: dict[int, float] = defaultdict(float)
    for layer, own in _own(model, source, numbers).items():
        importance = _importance(layer)
        for channel in alive_channels(layer):
            members[own[channel]][layer].append(channel)
            felt[own[channel]] += float(importance[channel])
    taken = _bytes_at_peak(decided, numbers)
    sets = [
        ChannelSet(
            members=tuple((layer, tuple(channels)) for layer, channels in found.items()),
            ram_bytes=taken[number],
            importance=felt[number],
        )
        for number, found in members.items()
        if number not in fixed and taken[number] > 0.0
    ]
    return sorted(sets, key=lambda each: each.importance / each.ram_bytes)


def keep_outputs(model: QuantizedModel, source: Graph) -> None:
    """Leave all channels to the layers none of whose channels can go: the caller reads them all.

    Parameters
    ----------
    model : QuantizedModel
    source : Graph
        Its integers, before any pass.
    """
    numbers = numbered(source)
    fixed = _fixed(source, numbers)
    for layer, own in _own(model, source, numbers).items():
        assert layer.quantizer is not None
        if fixed.issuperset(own):
            layer.quantizer.keep_channels()


def _own(
    model: QuantizedModel, source: Graph, numbers: Mapping[str, Int64Array]
) -> dict[Weighted, list[int]]:
    """Of each layer that prunes its channels, the sets that they belong to, in their order."""
    outputs = {node.name: node.output for node in source.nodes}
    return {layer: numbers[outputs[layer.origin.name]].tolist() for layer in pruning_layers(model)}


def _fixed(source: Graph, numbers: Mapping[str, Int64Array]) -> set[int]:
    """Sets of channels that cannot leave."""
    return {number for name in whole(source) for number in numbers[name].tolist()}


def _importance(layer: Weighted) -> Tensor:
    """Of each output channel; by their weights where nothing has been observed yet."""
    assert layer.quantizer is not None
    assert layer.quantizer.channels is not None
    found = layer.quantizer.channels.importance
    return found if found.any() else layer.weight.detach().square().flatten(1).mean(1)


def _bytes_at_peak(decided: Plan, numbers: Mapping[str, Int64Array]) -> Mapping[int, float]:
    """Bytes of each set of channels where the arena is fullest."""
    memory, tensors = decided.memory, decided.graph.tensors
    taken: dict[int, float] = defaultdict(float)
    for buffer in memory.buffers:
        is_there = buffer.first <= memory.peak <= buffer.last
        if is_there and not buffer.is_scratch and buffer.tensors[0] in numbers:
            of_channel = buffer.bytes / tensors[buffer.tensors[0]].shape[-1]
            for number in numbers[buffer.tensors[0]]:
                taken[int(number)] += of_channel
    return taken


def remembered(model: QuantizedModel) -> Callable[[], None]:
    """What brings back the channels and the zeros that the model has now."""
    quantizers = [layer.quantizer for layer in model.weighted() if layer.quantizer is not None]
    masks = [each.mask for each in quantizers]
    kept = [None if each.channels is None else each.channels.kept for each in quantizers]

    def restore() -> None:
        for quantizer, mask, channels in zip(quantizers, masks, kept, strict=True):
            quantizer.mask = mask
            if quantizer.channels is not None and channels is not None:
                quantizer.channels.kept = channels

    return restore


@contextmanager
def fewest_channels(model: QuantizedModel) -> Iterator[None]:
    """One channel in each layer that can be without the others, for a look in between."""
    restore = remembered(model)
    for layer in pruning_layers(model):
        assert layer.quantizer is not None
        layer.quantizer.prune_channels(range(1, layer.channels))
    try:
        yield
    finally:
        restore()
