# SPDX-License-Identifier: Apache-2.0
"""Which channels of a layer stand and fall together, and the layer with fewer of them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from codeq_compile.ir.graph import Graph, Node
from codeq_compile.ir.types import Weights
from codeq_compile.numerics import Int64Array
from codeq_compile.ops.add import Add
from codeq_compile.ops.avgpool2d import AvgPool2D
from codeq_compile.ops.concat import Concat
from codeq_compile.ops.conv2d import Conv2D
from codeq_compile.ops.convert import Convert
from codeq_compile.ops.dwconv2d import DWConv2D
from codeq_compile.ops.extremum import Extremum
from codeq_compile.ops.linear import Linear
from codeq_compile.ops.lut import Lut
from codeq_compile.ops.maxpool2d import MaxPool2D
from codeq_compile.ops.mean import Mean
from codeq_compile.ops.mul import Mul
from codeq_compile.ops.pad import Pad
from codeq_compile.ops.prelu import PReLU
from codeq_compile.ops.requantize import Requantize
from codeq_compile.ops.reshape import Reshape
from codeq_compile.ops.sub import Sub
from codeq_compile.ops.upsample2d import Upsample2D

Mask = NDArray[np.bool_]
"""One bool a channel of the last axis."""

Link = tuple[Int64Array, Int64Array]
"""Channels of an input and of the output, in pairs: neither can leave without the other."""


def mixes(node: Node) -> bool:
    """Every output channel may read every input channel, and none is tied to one."""
    match node.op:
        case Conv2D(groups=1) | Linear():
            return True
        case _:
            return False


def links(graph: Graph, node: Node) -> tuple[Link, ...] | None:
    """One link an input; None where no channel can leave, as for any op not named here.

    A layer that `mixes` has empty links.
    """
    inputs = [kind.shape[-1] for kind in graph.input_types(node)]
    count = graph.output_type(node).shape[-1]
    same = np.arange(count)
    match node.op:
        case Conv2D(groups=1) | Linear():
            return (_NONE,)
        case Conv2D(groups=groups):
            return (_grouped(inputs[0], count, groups),)
        case DWConv2D():
            return ((same // (count // inputs[0]), same),)
        case MaxPool2D() | AvgPool2D() | Mean() | Requantize() | Convert() | Lut() | Upsample2D():
            return ((same, same),)
        case Add() | Sub() | Mul() | Extremum() | PReLU() if inputs == [count, count]:
            return (same, same), (same, same)
        case Pad(before=(_, _, before)):
            return ((same[: inputs[0]], same[: inputs[0]] + before),)
        case Concat(axis=axis) if axis % len(graph.output_type(node).shape) == _last(graph, node):
            ends = np.cumsum(inputs)
            parts = zip(inputs, ends, strict=True)
            return tuple((np.arange(n), np.arange(end - n, end)) for n, end in parts)
        case Concat():
            return tuple((same, same) for _ in inputs)
        case Reshape() if max(inputs[0], count) % min(inputs[0], count) == 0:
            # the elements of a channel are every n-th, before and behind
            every = np.arange(max(inputs[0], count))
            return ((every % inputs[0], every % count),)
        case _:
            return None


_NONE: Link = (np.arange(0), np.arange(0))


def _last(graph: Graph, node: Node) -> int:
    return len(graph.output_type(node).shape) - 1


def _grouped(inputs: int, outputs: int, groups: int) -> Link:
    """All channels of a group are tied to its first input and its first output."""
    i, o = np.arange(inputs), np.arange(outputs)
    width, height = inputs // groups, outputs // groups
    return (
        np.concatenate([i, o // height * width]),
        np.concatenate([i // width * height, o]),
    )


def restricted(node: Node, kept: Mapping[str, Mask]) -> Node:
    """The node with fewer channels.

    Parameters
    ----------
    node : Node
        With `links`.
    kept : mapping of str to bool array of shape (channels,)
        By tensor; what is linked is kept together.
    """
    inputs, output = [kept[name] for name in node.inputs], kept[node.output]
    if node.weights is not None:
        weights = _weights(node.weights, output, inputs[0] if mixes(node) else None)
        bias = None if node.bias is None else node.bias[output]
        node = replace(node, weights=weights, bias=bias, params=None)
    match node.op:
        case Conv2D(groups=groups) if groups > 1:
            left = int(inputs[0].reshape(groups, -1)[:, 0].sum())
            return replace(node, op=replace(node.op, groups=left))
        case Pad(before=before, after=after):
            first, last = output[: before[2]], output[len(output) - after[2] :]
            op = replace(
                node.op,
                before=(*before[:2], int(first.sum())),
                after=(*after[:2], int(last.sum())),
            )
            return replace(node, op=op)
        case Reshape(shape=shape):
            return replace(node, op=Reshape(shape=(*shape[:-1], int(output.sum()))))
        case _:
            return node


def _weights(weights: Weights, output: Mask, inputs: Mask | None) -> Weights:
    codes = weights.codes[output]
    scale = weights.scale if len(weights.scale) == 1 else weights.scale[output]
    return replace(weights, codes=codes if inputs is None else codes[..., inputs], scale=scale)


def numbered(graph: Graph) -> dict[str, Int64Array]:
    """The channels of every tensor by the set with which they stand and fall: as `tied` does."""
    return tied(
        {name: kind.shape[-1] for name, kind in graph.tensors.items()},
        [
            (name, node.output, link)
            for node in graph.nodes
            for name, link in zip(node.inputs, links(graph, node) or (), strict=False)
        ],
    )


def whole(graph: Graph) -> set[str]:
    """Tensors no channel of which can leave: inputs and outputs, and those of ops without links."""
    names = {*graph.inputs, *graph.outputs}
    for node in graph.nodes:
        if links(graph, node) is None:
            names.update(node.inputs, [node.output])
    return names


def tied(
    counts: Mapping[str, int], pairs: Sequence[tuple[str, str, Link]]
) -> dict[str, Int64Array]:
    """Number every set of channels that stand and fall together.

    Parameters
    ----------
    counts : mapping of str to int
        Channels of each tensor.
    pairs : sequence of (tensor, tensor, Link)

    Returns
    -------
    dict of str to int64 array of shape (channels,)
        By tensor; linked channels have one number, others have different ones.
    """
    starts = dict(zip(counts, np.cumsum([0, *counts.values()]).tolist(), strict=False))
    numbers = np.arange(sum(counts.values()))
    first = np.concatenate([numbers[:0], *(starts[a] + link[0] for a, _, link in pairs)])
    second = np.concatenate([numbers[:0], *(starts[b] + link[1] for _, b, link in pairs)])
    while (numbers[first] != numbers[second]).any():
        least = np.minimum(numbers[first], numbers[second])
        np.minimum.at(numbers, first, least)
        np.minimum.at(numbers, second, least)
    return {name: numbers[start : start + counts[name]] for name, start in starts.items()}
