# SPDX-License-Identifier: Apache-2.0
"""What layers do for less RAM, and with the RAM that is left."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

from codeq_compile.ir.graph import Graph
from codeq_compile.memory import Stream, choose_streams
from codeq_compile.memory.choice import WORTH
from codeq_compile.memory.streams import Call
from codeq_compile.plan.layer import packed_bytes, scratch_of, with_params
from codeq_compile.plan.types import FAST, Layer, Plan, Streaming
from codeq_compile.plan.ways import (
    Needed,
    assemble,
    every_way,
    other_kernels,
    overwriting,
    replan,
    serves_calls,
)

_LITTLE = 1.125
"""What slower kernels of less scratch may cost in instructions of the network, unasked."""
_MUCH = 512
"""Bytes that each of them must save."""


def lean(plan: Plan) -> Plan:
    """Layers take kernels that need less scratch, each if that makes the arena much smaller.

    Where the network's instructions would be more than `_LITTLE` times as many they do not.
    """

    def is_cheap(trial: Plan) -> bool:
        before, after = plan.instructions, trial.instructions
        return before is not None and after is not None and after <= _LITTLE * before

    best = plan
    for layer in sorted(plan.layers, key=lambda layer: -layer.scratch_bytes):
        leaner = min((layer, *other_kernels(plan, layer)), key=lambda each: each.scratch_bytes)
        if leaner is layer or layer.scratch_bytes <= (1 - WORTH) * plan.arena_bytes:
            continue
        trial = replan(best, (leaner if e.index == layer.index else e for e in best.layers))
        saved = best.arena_bytes - trial.arena_bytes
        if saved >= _MUCH and is_cheap(trial) and trial.arena_bytes <= WORTH * best.arena_bytes:
            best = trial
    return best


def in_place(plan: Plan) -> Plan:
    """Layers that take their input's place at a price, if that makes the arena smaller.

    As few of them as serve: the others are put back one by one.
    """
    changed = {each.node.name: each for each in map(partial(overwriting, plan.graph), plan.layers)}
    dear = [layer for layer in plan.layers if changed[layer.node.name] is not layer]
    best = replan(plan, changed.values())
    if best.arena_bytes > WORTH * plan.arena_bytes:
        return plan
    for layer in dear:
        trial = replan(best, (layer if each.index == layer.index else each for each in best.layers))
        if trial.arena_bytes <= best.arena_bytes:
            best = trial
    return best


def flowing(plain: Plan, smallest: Plan) -> Plan:
    """The plan with streams, if they make the arena much smaller."""
    flowing = in_place(_streamed(plain))
    return flowing if flowing.arena_bytes <= WORTH * smallest.arena_bytes else smallest


def _streamed(plan: Plan, enough: int = 0) -> Plan:
    """With those streams that make the arena smallest, or small enough."""
    graph, memory = plan.graph, plan.memory
    scratch = {layer.node.name: layer.scratch_bytes for layer in plan.layers}
    streams = choose_streams(
        graph, scratch, partial(scratch_in, plan), memory.alignment, memory.io, max(0, enough)
    )
    return with_streams(plan, streams) if streams else plan


def with_streams(plan: Plan, streams: Sequence[Stream]) -> Plan:
    """The same decisions, with some layers executed some rows at a time.

    Parameters
    ----------
    plan : Plan
        Without streams.
    streams : sequence of Stream
        In order of execution; every kernel of theirs can compute its rows.
    """
    calls: dict[str, list[Call]] = {}
    for call in (call for stream in streams for call in stream.calls):
        calls.setdefault(call.layer, []).append(call)
    layers = [
        with_params(
            plan.graph, replace(each, calls=tuple(calls.get(each.node.name, ()))), each.node.params
        )
        for each in plan.layers
    ]
    return assemble(plan.graph, plan.target, plan.packing, layers, plan.memory.io, streams)


def scratch_in(plan: Plan, stream: Stream) -> dict[str, int] | None:
    """Scratch of the layers of a stream; None if a kernel cannot compute its rows."""
    names = {node.name for node in plan.graph.nodes[stream.first : stream.last + 1]}
    scratch = {}
    for layer in (layer for layer in plan.layers if layer.node.name in names):
        node, kernel = layer.node, layer.kernel
        calls = [call for call in stream.calls if call.layer == node.name]
        if not serves_calls(plan.graph, node, kernel, calls):
            return None
        scratch[node.name] = scratch_of(plan.graph, node, kernel, layer.packed, calls)
    return scratch


def fitting(graph: Graph, plain: Plan, stream: Streaming, ram: int, *, is_short: bool) -> Plan:
    """The plan of the fewest predicted instructions that is within a budget.

    Where flash is short, longer weights are the last resort.  Where there is no such plan, the
    smallest one: the budget then says what is missing.
    """

    def rank(plan: Plan) -> tuple[int, float]:
        return max(plan.ram_bytes, ram), plan.instructions or math.inf

    def least(*, may_grow: bool) -> Plan:
        best = min(plain, _within(graph, plain, ram, may_grow=may_grow), key=rank)
        # one with streams may be faster
        for streamed in _streamings(graph, plain, ram, may_grow) if stream == "auto" else ():
            best = min(best, _within(graph, streamed, ram, may_grow=may_grow), key=rank)
            if best.ram_bytes <= ram:
                break
        return best

    if plain.ram_bytes <= ram:
        return plain
    best = least(may_grow=not is_short)
    if best.ram_bytes <= ram or not is_short:
        return best
    return min(best, least(may_grow=True), key=rank)


def _streamings(graph: Graph, plain: Plan, ram: int, may_grow: bool) -> Iterator[Plan]:
    """With streams, those of the fewest calls first."""
    yield _streamed(plain, ram - (plain.ram_bytes - plain.arena_bytes))
    yield _streamed(plain)
    yield _streamed(_within(graph, plain, 0, may_grow=may_grow))


def _within(graph: Graph, plan: Plan, ram: int, *, may_grow: bool) -> Plan:
    """Layers take kernels and packings that need less RAM, as few as a budget asks for; longer ones
    if their weights may grow.

    All of them at first, since many may be as greedy; then each is put back, or takes the cheapest
    way that is within the budget. What is not enough comes as near as it can.
    """
    nodes = {node.name: node for node in graph.nodes}
    needed = Needed(plan)

    def ways_of(layer: Layer) -> Iterator[Layer]:
        yield layer
        for way in every_way(nodes[layer.node.name], plan, layer):
            if may_grow or packed_bytes(way) <= packed_bytes(layer):
                yield way

    ways = [list(ways_of(layer)) for layer in plan.layers]
    leanest = [min(each, key=needed) for each in ways]
    best = replan(plan, leanest)
    if best.ram_bytes >= plan.ram_bytes:
        return plan

    def price(layer: Layer) -> float:
        found = plan.price(layer)
        return found.instructions if found else math.inf

    changed = [each for each, least in zip(ways, leanest, strict=True) if least is not each[0]]
    for layer, *others in changed:
        room = max(ram, best.ram_bytes) - (best.ram_bytes - best.arena_bytes)
        fitting = [way for way in (layer, *others) if needed(way) <= room]
        for way in sorted(fitting, key=lambda way: (way is not layer, price(way))):
            trial = replan(best, (way if e.index == way.index else e for e in best.layers))
            if trial.ram_bytes <= max(ram, best.ram_bytes):
                best = trial
                break
    return best


def with_room(plan: Plan, ram: int | None) -> Plan:
    """Layers use what the arena has left, and where it may grow a little more."""
    for extra in (_extra_bytes(plan, ram), 0):
        roomy = replan(plan, _layers_with_room(plan, extra))
        if roomy.arena_bytes <= plan.arena_bytes + extra:
            return roomy
    return plan


def _extra_bytes(plan: Plan, ram: int | None) -> int:
    """By how much scratch may make the arena longer where that saves instructions.

    Up to the bytes that are enough for the caller; `fast` without such a number takes as much again
    as the largest tensor.
    """
    if ram is not None:
        return max(0, ram - plan.ram_bytes)
    return max(kind.bytes for kind in plan.graph.tensors.values()) if plan.packing == FAST else 0


def _layers_with_room(plan: Plan, extra: int) -> Iterator[Layer]:
    """Each layer, using what the arena has left while it is executed, and so many bytes more."""
    position = {node.name: position for position, node in enumerate(plan.graph.nodes)}
    for layer in plan.layers:
        node = layer.node
        room = plan.memory.room(position[node.name]) + extra
        yield with_params(plan.graph, layer, node.op.with_scratch(node.params, room))
