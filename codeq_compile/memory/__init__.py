# SPDX-License-Identifier: Apache-2.0
"""Tensor lifetimes → offsets in one arena, beside the lower bound, with a proof of no overlap."""

from collections.abc import Iterator, Mapping, Sequence

from codeq_compile.ir.graph import Graph
from codeq_compile.memory.placement import live_bytes, place
from codeq_compile.memory.proof import prove_no_overlap
from codeq_compile.memory.sharing import fixed_place, last_uses, roots_of, sharing_by_root
from codeq_compile.memory.types import Buffer, Io, MemoryPlan, Place

__all__ = ["Buffer", "Io", "MemoryPlan", "Place", "plan_memory", "prove_no_overlap"]


def plan_memory(
    graph: Graph, scratch: Mapping[str, int], alignment: int = 4, io: Io = "caller"
) -> MemoryPlan:
    """Place every tensor: with the caller (graph inputs and outputs) or in the arena.

    Parameters
    ----------
    graph : Graph
    scratch : mapping of str to int
        Scratch bytes by layer name; 0 may be left out.
    alignment : int
        Of every buffer, in bytes.
    io : {"caller", "arena"}
        Where inputs and outputs stand. In the arena an input is overwritten once it has been read.

    Raises
    ------
    ModelError
        Two buffers outside of the arena would have to be one (the pass `copy_outputs` prevents it).
    """
    roots = roots_of(graph)
    buffers = [
        *_tensor_buffers(graph, roots, alignment, io),
        *_scratch(graph, scratch, alignment),
    ]
    live = live_bytes(buffers, len(graph.nodes))
    lower_bound = max(live, default=0)
    placed, is_optimal = place(buffers, lower_bound)
    plan = MemoryPlan(
        places=_places(graph, roots, placed, io),
        scratch={buffer.name: buffer.offset for buffer in placed if buffer.is_scratch},
        buffers=placed,
        arena_bytes=max((buffer.end for buffer in placed), default=0),
        lower_bound=lower_bound,
        peak=live.index(lower_bound) if live else 0,
        is_optimal=is_optimal,
        alignment=alignment,
        io=io,
    )
    prove_no_overlap(graph, scratch, plan)
    return plan


def _tensor_buffers(
    graph: Graph, roots: Mapping[str, str], alignment: int, io: Io
) -> Iterator[Buffer]:
    end = len(graph.nodes) - 1
    produced = {node.output: position for position, node in enumerate(graph.nodes)}
    last_use = last_uses(graph)
    for root, sharing in sharing_by_root(roots).items():
        if fixed_place(graph, sharing, io) is None:
            yield Buffer(
                name=root,
                bytes=_align(graph.tensors[root].bytes, alignment),
                # inputs are there from the beginning, outputs until the end
                first=produced.get(root, 0),
                last=min(end, max(last_use.get(tensor, 0) for tensor in sharing)),
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


def _places(
    graph: Graph, roots: Mapping[str, str], placed: Sequence[Buffer], io: Io
) -> dict[str, Place]:
    offsets = {buffer.name: buffer.offset for buffer in placed if not buffer.is_scratch}
    places = {}
    for root, sharing in sharing_by_root(roots).items():
        in_arena = Place(kind="arena", name=root, offset=offsets.get(root, 0))
        places.update(dict.fromkeys(sharing, fixed_place(graph, sharing, io) or in_arena))
    return {name: places[name] for name in graph.tensors if name in places}
