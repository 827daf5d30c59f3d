# SPDX-License-Identifier: Apache-2.0
"""Channels that say nothing, or that nobody hears, leave the graph with their weights."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from codeq_compile import ranges
from codeq_compile.ir.graph import Graph, Node
from codeq_compile.ir.types import Range, Weights
from codeq_compile.numerics import INT32_MAX, Int8Array, Int64Array
from codeq_compile.ops.base import taps_inside
from codeq_compile.ops.bounds import accumulators
from codeq_compile.ops.conv2d import Conv2D
from codeq_compile.passes.channels import Mask, mixes, numbered, restricted, whole
from codeq_compile.passes.lower import lower


def remove_dead_channels(graph: Graph) -> Graph:
    """Drop the channels that no output depends on; inputs and outputs of the graph stay whole.

    Exact: a channel that has one value whatever comes in (its weights are zero, or a clamp always
    holds it) goes into the biases of those that read it, as ``w · (value - zero point)``. Where a
    convolution pads, its border sees the zero point instead: there a channel goes only if that is
    its value, or if the taps that meet the border ignore it. A channel that all readers multiply
    by zero goes in any case.

    Raises
    ------
    ModelError
        The grids cannot be turned into integers.
    """
    while (smaller := _step(graph)) is not graph:
        graph = smaller
    return graph


def _step(graph: Graph) -> Graph:
    known = ranges.infer(lowered := lower(graph))
    mixers = {
        node.name: _mixer(lowered, node, known[node.inputs[0]], known[node.output])
        for node in lowered.nodes
        if mixes(node)
    }
    kept = _kept(graph, known, mixers)
    is_silent = not any(mixer.is_loud.any() for mixer in mixers.values())
    if is_silent and all(mask.all() for mask in kept.values()):
        return graph
    tensors = {
        name: replace(kind, shape=(*kind.shape[:-1], int(kept[name].sum())))
        for name, kind in graph.tensors.items()
    }
    nodes = tuple(
        restricted(_folded(node, mixers[node.name], kept) if mixes(node) else node, kept)
        for node in graph.nodes
    )
    constants = {name: array[..., kept[name]] for name, array in graph.constants.items()}
    return replace(graph, tensors=tensors, nodes=nodes, constants=constants)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Mixer:
    """A layer whose outputs may read any input.

    Parameters
    ----------
    reads : bool array of shape (outputs, inputs)
        The output cannot be computed without the input.
    folded : int64 array of shape (outputs, inputs)
        What the output's bias gains when the input leaves.
    is_loud : bool array of shape (outputs,)
        The output has one value, but weights that are not zero.
    start : int64 array of shape (outputs,)
        The bias that gives a loud output its value without weights.
    """

    reads: Mask
    folded: Int64Array
    is_loud: Mask
    start: Int64Array


def _mixer(graph: Graph, node: Node, x: Range, y: Range) -> _Mixer:
    assert node.weights is not None
    (kind,) = graph.input_types(node)
    values: Int8Array = node.params.weights
    taps = values.reshape(len(values), -1, values.shape[-1]).astype(np.int64)
    border = _border(node, kind.shape)
    # without a zero among its levels a layer must go on computing its constants
    is_constant = y.is_constant & _has_zero(node.weights)
    is_folded = (
        x.is_constant
        & ((x.low == kind.zero_point) | ~taps[:, border].any(axis=1))
        & _stays_int32(node, taps)[:, None]
    )
    return _Mixer(
        reads=taps.any(axis=1) & ~is_folded & ~is_constant[:, None],
        folded=taps.sum(axis=1) * (x.low - kind.zero_point),
        is_loud=is_constant & taps.any(axis=(1, 2)),
        start=accumulators(node.params.requant, values, x).low,
    )


def _border(node: Node, size: tuple[int, ...]) -> Mask:
    """Taps that meet the padding somewhere: bool array of shape (taps,)."""
    if not isinstance(node.op, Conv2D):
        return np.zeros(1, bool)
    kernel = node.params.weights.shape[1:3]
    rows, columns = taps_inside(size, kernel, node.op.stride, node.op.dilation, node.op.padding)
    outside: Mask = ~np.outer(rows.all(axis=0), columns.all(axis=0))
    return outside.ravel()


def _stays_int32(node: Node, taps: Int64Array) -> Mask:
    """Rows whose bias is an int32 whatever is folded into it. [N4.1]"""
    bias = 0 if node.bias is None else np.abs(node.bias.astype(np.int64))
    stays: Mask = bias + 255 * np.abs(taps).sum(axis=(1, 2)) <= INT32_MAX
    return stays


def _has_zero(weights: Weights) -> bool:
    return weights.levels is None or 0 in weights.levels


def _silenced(weights: Weights, rows: Mask) -> Weights:
    """Zeros in some rows."""
    codes = weights.codes.copy()
    codes[rows] = 0 if weights.levels is None else weights.levels.index(0)
    return replace(weights, codes=codes)


def _kept(
    graph: Graph, known: Mapping[str, Range], mixers: Mapping[str, _Mixer]
) -> dict[str, Mask]:
    """By tensor the channels that stay: those the outputs need, and one where none is needed."""
    numbers = numbered(graph)
    needed = np.zeros(1 + max(int(ids.max()) for ids in numbers.values()), bool)
    for name in whole(graph):
        needed[numbers[name]] = True
    _spread(graph, mixers, numbers, needed)
    for name in reversed(list(graph.tensors)):
        if not needed[numbers[name]].any():
            # a constant one, if there is one: it needs nothing itself
            needed[numbers[name][known[name].is_constant.argmax()]] = True
            _spread(graph, mixers, numbers, needed)
    return {name: needed[ids] for name, ids in numbers.items()}


def _spread(
    graph: Graph, mixers: Mapping[str, _Mixer], numbers: Mapping[str, Int64Array], needed: Mask
) -> None:
    """Mark in `needed` what the needed channels read, and what these read in turn."""
    count = -1
    while count != (count := int(needed.sum())):
        for node in reversed(graph.nodes):
            if node.name in mixers:
                read = mixers[node.name].reads[needed[numbers[node.output]]].any(axis=0)
                needed[numbers[node.inputs[0]][read]] = True


def _folded(node: Node, mixer: _Mixer, kept: Mapping[str, Mask]) -> Node:
    """The node with the inputs that leave in its biases, and without weights where it is loud."""
    assert node.weights is not None
    bias = mixer.folded[:, ~kept[node.inputs[0]]].sum(axis=1)
    if node.bias is not None:
        bias += node.bias
    if mixer.is_loud.any():
        bias = np.where(mixer.is_loud, mixer.start, bias)
        node = replace(node, weights=_silenced(node.weights, mixer.is_loud))
    if node.bias is None and not bias.any():
        return node
    # rows that leave may hold anything
    return replace(node, bias=np.where(kept[node.output], bias, 0).astype(np.int32))
