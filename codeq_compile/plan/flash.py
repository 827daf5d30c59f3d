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
"""Share of flash times instructions, or of instructions within a limit of flash, that other
packings and kernels must come down to: a smaller gain is less than what predictions can tell.
"""
_UNLIMITED = 1 << 62


def economical(
    graph: Graph, plan: Plan, weights: int | None, ram: int | None, flash: int | None
) -> Plan:
    """The plan with the packings and kernels of least flash times instructions, code included.

    The same one where that needs more flash or instructions, or more RAM than it has or may have,
    saves little, or is not known.  With a limit of flash the fastest plan within it, or the one
    that comes nearest to it.
    """
    now = plan.total
    if now is None:
        return plan
    aim = _aim(now, weights, flash)
    room = max(plan.ram_bytes, ram or 0) - plan.ram_bytes
    nodes = {node.name: node for node in graph.nodes}
    needed = Needed(plan)
    options = []
    for layer in plan.layers:
        others = every_way(nodes[layer.node.name], plan, layer)
        fitting = (way for way in others if needed(way) <= plan.arena_bytes + room)
        known = list(_known(plan, (layer, *fitting)))
        options.append([known[k] for k in economy.worth_trying([way for _, way in known])])
    core = plan.target.core
    chosen = economy.choose(
        [[way for _, way in each] for each in options],
        lambda kernels: footprint.total(kernels, core),
        aim,
    )
    other = _within_room(
        plan, [each[place][0] for each, place in zip(options, chosen, strict=True)], room, needed
    )
    # without a linker nothing is aligned
    packed = sum(map(packed_bytes, plan.layers))
    packed = _UNLIMITED if weights is None else max(packed, weights)
    excess, wanted, _ = aim.rank(now)
    best, rank = plan, (excess, THRIFTIER * wanted)
    for each in (other, with_room(other, ram)):
        total = each.total
        is_allowed = (
            each.ram_bytes <= plan.ram_bytes + room
            and sum(map(packed_bytes, each.layers)) <= packed
        )
        if total is not None and is_allowed and aim.rank(total)[:2] <= rank:
            best, rank = each, aim.rank(total)[:2]
    return replace(best, weighed=aim)


def _aim(now: Total, weights: int | None, flash: int | None) -> Aim:
    """What a plan should come to; weights above their limit may stay as long as they are."""
    most = now
    if flash is not None:
        most = Total(data=now.data, flash=flash, instructions=_UNLIMITED)
    data = _UNLIMITED if weights is None else max(now.data, weights)
    return Aim(most=replace(most, data=data), is_speed=flash is not None)


def _within_room(plan: Plan, layers: list[Layer], room: int, needed: "Needed") -> Plan:
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
