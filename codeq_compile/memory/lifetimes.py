# SPDX-License-Identifier: Apache-2.0
"""From when to when bytes of the arena are needed."""

from collections.abc import Iterator, Mapping, Sequence

from codeq_compile.ir.graph import Graph
from codeq_compile.memory.sharing import fixed_place, last_uses, sharing_by_root
from codeq_compile.memory.streams import PlacedStream, row_bytes
from codeq_compile.memory.types import Buffer, Io


def lifetimes(
    graph: Graph,
    scratch: Mapping[str, int],
    roots: Mapping[str, str],
    streams: Sequence[PlacedStream],
    alignment: int,
    io: Io,
) -> list[Buffer]:
    """Everything that needs a place in the arena, without one.

    Parameters
    ----------
    graph : Graph
    scratch : mapping of str to int
        Bytes by layer name.
    roots : mapping of str to str
        For every tensor the first one that stands in the same bytes.
    streams : sequence of PlacedStream
    alignment : int
    io : {"caller", "arena"}
    """
    return [
        *_tensors(graph, roots, streams, alignment, io),
        *_scratch(graph, scratch, alignment),
    ]


def _tensors(
    graph: Graph,
    roots: Mapping[str, str],
    streams: Sequence[PlacedStream],
    alignment: int,
    io: Io,
) -> Iterator[Buffer]:
    end = len(graph.nodes) - 1
    windows = {name: rows for each in streams for name, rows in each.windows.items()}
    produced = {node.output: position for position, node in enumerate(graph.nodes)}
    last_use = last_uses(graph)
    for root, sharing in sharing_by_root(roots).items():
        if fixed_place(graph, sharing, io) is None:
            size = graph.tensors[root].bytes
            if root in windows:
                size = windows[root] * row_bytes(graph, root)
            # inputs are there from the beginning, outputs until the end
            first = produced.get(root, 0)
            last = min(end, max(last_use.get(tensor, 0) for tensor in sharing))
            # the layers of a stream take turns: what one of them touches lives as long as it
            for stream in (each.stream for each in streams):
                first = stream.first if stream.holds(first) and root in produced else first
                last = stream.last if stream.holds(last) else last
            yield Buffer(
                name=root,
                bytes=_align(size, alignment),
                first=first,
                last=last,
                tensors=tuple(sharing),
            )


def _scratch(graph: Graph, scratch: Mapping[str, int], alignment: int) -> Iterator[Buffer]:
    for position, node in enumerate(graph.nodes):
        if size := scratch.get(node.name, 0):
            yield Buffer(
                name=node.name, bytes=_align(size, alignment), first=position, last=position
            )


def _align(size: int, alignment: int) -> int:
    return -(-size // alignment) * alignment
