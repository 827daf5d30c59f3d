# SPDX-License-Identifier: Apache-2.0
"""Which tensors stand in the same bytes: views, in-place results, buffers of the caller."""

import math
from collections.abc import Mapping, Sequence

from codeq_compile.errors import ModelError
from codeq_compile.ir.graph import Graph, Node
from codeq_compile.memory.streams import Stream, still_read
from codeq_compile.memory.types import Io, Place


def roots_of(graph: Graph, streams: Sequence[Stream] = ()) -> dict[str, str]:
    """For every tensor the first one that stands in the same bytes."""
    last_use = last_uses(graph)
    stream_at = {
        position: (each, later)
        for each, later in ((each, [*still_read(graph, each)[1:], {}]) for each in streams)
        for position in range(each.first, each.last + 1)
    }
    roots = {name: name for name in graph.given}
    for position, node in enumerate(graph.nodes):
        if node.op.is_view:
            roots[node.output] = roots[node.inputs[0]]
        else:
            if position in stream_at:
                reused = _reusable_by_rows(graph, node, *stream_at[position], roots, last_use)
            else:
                reused = _reusable(graph, node, position, roots, last_use)
            roots[node.output] = node.output if reused is None else roots[reused]
    return roots


def last_uses(graph: Graph) -> dict[str, int]:
    """Position of the last node that touches each tensor; graph outputs outlive all nodes."""
    last = {}
    for position, node in enumerate(graph.nodes):
        last.update(dict.fromkeys((*node.inputs, node.output), position))
    return last | dict.fromkeys(graph.outputs, len(graph.nodes))


def _reusable(
    graph: Graph,
    node: Node,
    position: int,
    roots: Mapping[str, str],
    last_use: Mapping[str, int],
) -> str | None:
    """The first input that the node may overwrite with its output."""
    size = graph.output_type(node).bytes
    for index in node.op.overwrites(node.params):
        name = node.inputs[index]
        sharing = [tensor for tensor, root in roots.items() if root == roots[name]]
        places = {i for i, other in enumerate(node.inputs) if other in sharing}
        if (
            graph.tensors[name].bytes == size
            and roots[name] not in graph.given
            and all(last_use[tensor] <= position for tensor in sharing)
            and places <= set(node.op.overwrites(node.params))
        ):
            return name
    return None


def _reusable_by_rows(
    graph: Graph,
    node: Node,
    stream: Stream,
    later: Sequence[Mapping[str, int]],
    roots: Mapping[str, str],
    last_use: Mapping[str, int],
) -> str | None:
    """The first input, made in the same stream, whose rows the node may overwrite with its own.

    `later` says for each call which is the first row of each tensor that calls behind it read.
    """
    made_here = {each.output for each in graph.nodes[stream.first : stream.last + 1]}
    for index in node.op.overwrites(node.params):
        name = node.inputs[index]
        sharing = {tensor for tensor, root in roots.items() if root == roots[name]}
        places = {i for i, other in enumerate(node.inputs) if other in sharing}
        if (
            sharing <= made_here
            and graph.tensors[name].bytes == graph.output_type(node).bytes
            and all(last_use[tensor] <= stream.last for tensor in sharing)
            and places <= set(node.op.overwrites(node.params))
            and all(
                call.reads[index] == call.rows
                and all(reads.get(tensor, math.inf) >= call.rows[1] for tensor in sharing)
                for call, reads in zip(stream.calls, later, strict=True)
                if call.layer == node.name
            )
        ):
            return name
    return None


def fixed_place(graph: Graph, sharing: Sequence[str], io: Io) -> Place | None:
    """The caller's buffer or the table that these tensors stand in; None for the arena."""
    owners = [
        *(Place(kind="input", name=name) for name in sharing if name in graph.inputs),
        *(Place(kind="constant", name=name) for name in sharing if name in graph.constants),
        *(Place(kind="output", name=name) for name in sharing if name in graph.outputs),
    ]
    if len(owners) > 1:
        names = " and ".join(f'"{owner.name}"' for owner in owners)
        raise ModelError(
            f"{names} are the same bytes but different buffers: run the pass "
            "copy_outputs first, or return the tensor once"
        )
    if not owners or (io == "arena" and owners[0].kind != "constant"):
        return None
    return owners[0]


def sharing_by_root(roots: Mapping[str, str]) -> dict[str, list[str]]:
    """Tensors that stand in the same bytes, by the first of them."""
    groups: dict[str, list[str]] = {}
    for tensor, root in roots.items():
        groups.setdefault(root, []).append(tensor)
    return groups
