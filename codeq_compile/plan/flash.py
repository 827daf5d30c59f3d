# SPDX-License-Identifier: Apache-2.0
"""Packings and kernels for the whole network, the code of its kernels included."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from codeq_compile import footprint
from codeq_compile.ir.graph import Graph
from codeq_compile.plan import economy
from codeq_compile.plan.economy import Aim, Total
from codeq_compile.plan.layer import packed_bytes
from codeq_compile.plan.ram import with_room
from codeq_compile.plan.types import Layer, Plan
from codeq_compile.plan.ways import Needed, every_way, replan

THRIFTIER = 15 / 16
"""Share of flash times instructions that other packings and kernels must come down to: a smaller
gain is less than what predictions can tell.
"""
_UNLIMITED = 1 << 62


def economical(
    graph: Graph, plan: Plan, weights: int | None, ram: int | None, flash: int | None
) -> Plan:
    """The plan with packings and kernels that were chosen for the whole network, code included.

    Those of least flash times instructions, with no more flash, instructions and RAM than `plan`
    takes, or may take; the same plan where that saves little, or is not known.  With a limit of
    flash those of few instructions within it, or the ones that come nearest to it.
    """
    now = plan.total
    if now is None:
        return plan
    data = _UNLIMITED if weights is None else max(now.data, weights)
    # without a linker nothing is aligned
    packed = sum(map(packed_bytes, plan.layers))
    packed = _UNLIMITED if weights is None else max(packed, weights)
    most_ram = max(plan.ram_bytes, ram or 0)

    def chosen(base: Plan, aim: Aim, gain: float) -> Plan:
        found, best = _nearest(graph, base, aim, most_ram), base
        excess, wanted = aim.rank(base.total or now)
        limit = excess, gain * wanted
        for each in (found, with_room(found, ram)):
            bytes_packed = sum(map(packed_bytes, each.layers))
            if each.total is None or each.ram_bytes > most_ram or bytes_packed > packed:
                continue
            if aim.rank(each.total) <= limit:
                best, limit = each, aim.rank(each.total)
        return replace(best, weighed=aim)

    best = chosen(plan, Aim(most=replace(now, data=data)), THRIFTIER)
    if flash is None:
        return best
    most = Total(data=data, flash=flash, instructions=_UNLIMITED)
    return chosen(best, Aim(most=most, is_speed=True), 1.0)


def _nearest(graph: Graph, plan: Plan, aim: Aim, most_ram: int) -> Plan:
    """The plan whose layers go the ways that come nearest to an aim, as far as RAM allows it."""
    room = most_ram - plan.ram_bytes
    nodes = {node.name: node for node in graph.nodes}
    needed = Needed(plan)
    options = []
    for layer in plan.layers:
        others = every_way(nodes[layer.node.name], plan, layer)
        fitting = (way for way in others if needed(way) <= plan.arena_bytes + room)
        known = list(_known(plan, (layer, *fitting)))
        options.append([known[k] for k in economy.worth_trying([way for _, way in known])])
    core = plan.target.core
    places = economy.choose(
        [[way for _, way in each] for each in options],
        lambda kernels: footprint.total(kernels, core),
        aim,
    )
    layers = [each[place][0] for each, place in zip(options, places, strict=True)]
    return _within_room(plan, layers, room, needed)


def _within_room(plan: Plan, layers: list[Layer], room: int, needed: Needed) -> Plan:
    """The plan with other layers, but for those that need most where the arena would be too long.

    What is alive at once is a bound of the arena, which buffers of several layers may miss.
    """
    other = replan(plan, layers)
    for changed in sorted(layers, key=needed, reverse=True):
        if other.ram_bytes <= plan.ram_bytes + room:
            break
        first = plan.layers[changed.index - 1]
        other = replan(other, (first if e.index == first.index else e for e in other.layers))
    return other


def _known(plan: Plan, ways: Iterable[Layer]) -> Iterator[tuple[Layer, economy.Way]]:
    """Ways whose instructions and code are known."""
    for way in ways:
        price = plan.price(way)
        if price is not None and footprint.parts(way.kernel, plan.target.core) is not None:
            yield (
                way,
                economy.Way(
                    kernel=way.kernel, bytes=way.data_bytes, instructions=price.instructions
                ),
            )
