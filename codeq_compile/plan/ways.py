# SPDX-License-Identifier: Apache-2.0
"""How else the layers of a plan could be executed."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from codeq_compile.ir.graph import Graph, Node
from codeq_compile.ir.types import Packed
from codeq_compile.kernels import Kernel, serving
from codeq_compile.memory import Io, Stream, bytes_alive, plan_memory
from codeq_compile.memory.streams import Call, distinct_bands
from codeq_compile.packing import applicable, pack
from codeq_compile.plan.layer import as_served, decide, scratch_of, with_params
from codeq_compile.plan.packings import written
from codeq_compile.plan.types import CHOICES, HUFFMAN, Layer, Plan
from codeq_compile.target import Target


def every_way(node: Node, plan: Plan, layer: Layer) -> Iterator[Layer]:
    """A layer in each form, packing and kernel that it could have, and in its input's place."""
    for form in written(plan.graph, node, plan.packing):
        for packed in _packings(form, plan, layer):
            for kernel in serving(form.op, form.params, packed, plan.target):
                served = as_served(form, kernel)
                if serves_calls(plan.graph, served, kernel, layer.calls):
                    way = another_way(plan, layer, served, kernel, packed)
                    yield way
                    yield overwriting(plan.graph, way)


def _packings(form: Node, plan: Plan, layer: Layer) -> Iterator[Packed | None]:
    """Those that a layer could have, where that is for the compiler to choose."""
    if form.weights is None or layer.packed is None:
        yield None
    elif plan.packing not in CHOICES:
        yield layer.packed
    else:
        for name in applicable(form.weights, form.op.packings):
            if name != HUFFMAN or HUFFMAN in layer.costs:
                yield pack(form.weights, name)


def another_way(
    plan: Plan, layer: Layer, node: Node, kernel: Kernel, packed: Packed | None
) -> Layer:
    """A layer of a plan as another kernel would execute it, in this form and packing.

    Parameters
    ----------
    plan : Plan
    layer : Layer
    node : Node
        As this kernel computes it (`for_kernel`).
    kernel : Kernel
        One that `serves_calls` says can compute its calls.
    packed : Packed, optional
    """
    return decide(
        plan.graph,
        node,
        kernel,
        packed,
        index=layer.index,
        costs=layer.costs,
        note=layer.note,
        state_offset=layer.state_offset,
        calls=layer.calls,
    )


def serves_calls(graph: Graph, node: Node, kernel: Kernel, calls: Sequence[Call]) -> bool:
    """Whether a kernel can compute the rows of each call."""
    parts = (part.node for part in distinct_bands(graph, node, calls))
    return all(kernel.family in part.op.families(part.params) for part in parts)


def other_kernels(plan: Plan, layer: Layer) -> Iterator[Layer]:
    """The layer in each kernel that reads its packing."""
    for kernel in serving(layer.node.op, layer.node.params, layer.packed, plan.target):
        if kernel != layer.kernel:
            node = as_served(layer.node, kernel)
            scratch = scratch_of(plan.graph, node, kernel, layer.packed, layer.calls)
            yield replace(layer, node=node, kernel=kernel, scratch_bytes=scratch)


def overwriting(graph: Graph, layer: Layer) -> Layer:
    kernel, node = layer.kernel, layer.node
    params = node.op.overwriting(node.params, kernel.family, kernel.isa)
    if node.op.overwrites(params) == node.op.overwrites(node.params):
        return layer
    return with_params(graph, layer, params)


class Needed:
    """Bytes alive in the arena while a layer is executed, by the way in which it is."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._places = {node.name: place for place, node in enumerate(plan.graph.nodes)}
        self._beside: dict[tuple[int, tuple[int, ...]], int] = {}

    def __call__(self, way: Layer) -> int:
        node, memory = way.node, self._plan.memory
        key = way.index, node.op.overwrites(node.params)
        if key not in self._beside:
            place = self._places[node.name]
            nodes = self._plan.graph.nodes
            graph = self._plan.graph.with_nodes((*nodes[:place], node, *nodes[place + 1 :]))
            streams = [each.stream for each in memory.streams]
            alive = bytes_alive(graph, {}, memory.alignment, memory.io, streams)
            self._beside[key] = alive[place]
        return self._beside[key] + way.scratch_bytes


def replan(plan: Plan, layers: Iterable[Layer]) -> Plan:
    streams = [each.stream for each in plan.memory.streams]
    return assemble(plan.graph, plan.target, plan.packing, list(layers), plan.memory.io, streams)


def assemble(
    graph: Graph,
    target: Target,
    packing: str,
    layers: list[Layer],
    io: Io,
    streams: Sequence[Stream] = (),
) -> Plan:
    decided = {layer.node.name: layer.node for layer in layers}
    graph = graph.with_nodes(tuple(decided.get(node.name, node) for node in graph.nodes))
    scratch = {layer.node.name: layer.scratch_bytes for layer in layers}
    return Plan(
        graph=graph,
        target=target,
        packing=packing,
        layers=tuple(layers),
        memory=plan_memory(graph, scratch, target.alignment, io, streams),
    )
