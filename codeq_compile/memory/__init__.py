# SPDX-License-Identifier: Apache-2.0
"""Tensor lifetimes → offsets in one arena, beside the lower bound, with a proof of no overlap."""

from collections.abc import Mapping, Sequence

from codeq_compile.ir.graph import Graph
from codeq_compile.memory.choice import choose_streams
from codeq_compile.memory.lifetimes import lifetimes
from codeq_compile.memory.placement import live_bytes, place
from codeq_compile.memory.proof import prove_no_overlap
from codeq_compile.memory.sharing import fixed_place, roots_of, sharing_by_root
from codeq_compile.memory.streams import PlacedStream, Stream, place_stream
from codeq_compile.memory.types import Buffer, Io, MemoryPlan, Place

__all__ = [
    "Buffer",
    "Io",
    "MemoryPlan",
    "Place",
    "PlacedStream",
    "Stream",
    "bytes_alive",
    "choose_streams",
    "plan_memory",
    "prove_no_overlap",
]


def plan_memory(
    graph: Graph,
    scratch: Mapping[str, int],
    alignment: int = 4,
    io: Io = "caller",
    streams: Sequence[Stream] = (),
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
    streams : sequence of Stream
        Nodes that are executed some rows at a time.

    Raises
    ------
    ModelError
        Two buffers outside of the arena would have to be one (the pass `copy_outputs` prevents it).
    """
    roots = roots_of(graph, streams)
    placed_streams = tuple(place_stream(graph, stream, roots) for stream in streams)
    buffers = lifetimes(graph, scratch, roots, placed_streams, alignment, io)
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
        streams=placed_streams,
    )
    prove_no_overlap(graph, scratch, plan)
    return plan


def bytes_alive(
    graph: Graph,
    scratch: Mapping[str, int],
    alignment: int,
    io: Io,
    streams: Sequence[Stream] = (),
) -> list[int]:
    """Bytes of the arena that are alive at each node, wherever they stand; as in `plan_memory`."""
    roots = roots_of(graph, streams)
    placed = tuple(place_stream(graph, stream, roots) for stream in streams)
    buffers = lifetimes(graph, scratch, roots, placed, alignment, io)
    return live_bytes(buffers, len(graph.nodes))


def _places(
    graph: Graph, roots: Mapping[str, str], placed: Sequence[Buffer], io: Io
) -> dict[str, Place]:
    offsets = {buffer.name: buffer.offset for buffer in placed if not buffer.is_scratch}
    places = {}
    for root, sharing in sharing_by_root(roots).items():
        in_arena = Place(kind="arena", name=root, offset=offsets.get(root, 0))
        places.update(dict.fromkeys(sharing, fixed_place(graph, sharing, io) or in_arena))
    return {name: places[name] for name in graph.tensors if name in places}
