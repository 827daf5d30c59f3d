# SPDX-License-Identifier: Apache-2.0
"""The body of `<name>_run`: checks of its arguments, pointers into the arena, calls."""

from collections.abc import Sequence
from dataclasses import dataclass

from codeq_compile.emit import format as c
from codeq_compile.emit.layers import heading
from codeq_compile.emit.names import Names
from codeq_compile.emit.ports import Port
from codeq_compile.ir import DType, Node
from codeq_compile.memory import Buffer
from codeq_compile.plan import Layer, Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A layer that is called, or a view: a comment and no statements."""

    comment: str
    statements: list[str]


def argument_checks(ports: Sequence[Port], *, has_state: bool) -> list[str]:
    """Lines of the ``if`` that catches a wrong call."""
    given = [port for port in ports if port.offset is None]
    conditions = [f"{port.identifier} == NULL" for port in given]
    memory = ["arena", "state"] if has_state else ["arena"]
    conditions += [f"{name} == NULL" for name in memory]
    aligned = [port.identifier for port in given if port.is_wide]
    conditions += [f"((uintptr_t){name} & 3u) != 0u" for name in (*aligned, *memory)]
    return c.condition(f"{c.INDENT}if (", conditions, ") {")


def buffers(plan: Plan, names: Names) -> list[str]:
    """Declarations of the pointers into the arena, with their lifetimes."""
    touched = {name for node in plan.graph.nodes for name in (*node.inputs, node.output)}
    # an input that nobody reads needs no pointer
    inside = [buffer for buffer in plan.memory.buffers if touched & {*buffer.tensors}]
    inside.sort(key=lambda buffer: (buffer.first, buffer.offset))
    return c.commented(
        [(_declaration(plan, names, buffer), _lifetime(plan, names, buffer)) for buffer in inside]
    )


def steps(plan: Plan, names: Names) -> list[Step]:
    """Calls and views in the order of execution."""
    layers = {layer.node.name: layer for layer in plan.layers}
    return [
        _call(plan, names, layers[node.name]) if node.name in layers else _view(plan, names, node)
        for node in plan.graph.nodes
    ]


def _declaration(plan: Plan, names: Names, buffer: Buffer) -> str:
    c_type = plan.graph.tensors[buffer.name].dtype
    place = _at(buffer.offset)
    if c_type is not DType.S8:
        place = f"({c_type.c_type} *)(void *)({place})"
    return f"{c_type.c_type} *const {names.buffers[buffer.name]} = {place};"


def _lifetime(plan: Plan, names: Names, buffer: Buffer) -> str:
    nodes = plan.graph.nodes[buffer.first : buffer.last + 1]
    alive = [names.layers[node.name] for node in nodes if node.name in names.layers]
    return f"{c.count(buffer.bytes)} B, live {alive[0]}..{alive[-1]}"


def _call(plan: Plan, names: Names, layer: Layer) -> Step:
    node, graph, memory = layer.node, plan.graph, plan.memory
    inputs = [_place(plan, names, tensor) for tensor in node.inputs]
    if node.op.variadic:
        inputs = [f"(const int8_t *const[]){{{', '.join(inputs)}}}"]
    output = _place(plan, names, node.output)
    scratch = _at(memory.scratch[node.name]) if node.name in memory.scratch else "NULL"
    state = [_state(layer)] if layer.state_bytes else []
    arguments = [f"&{names.layers[node.name]}", *inputs, *state, output, scratch]
    return Step(
        comment=heading(layer, names),
        statements=[
            *c.call(f"{c.INDENT}CQ_TRY({layer.kernel.symbol}", arguments, ");"),
            f"{c.INDENT}CQ_TRACE({layer.index}, {output}, {graph.output_type(node).bytes});",
        ],
    )


def reset(layer: Layer) -> list[str]:
    """Lines that fill the state of a layer as it is before the first inference."""
    first, end = layer.state_offset, layer.state_offset + layer.state_bytes
    fill = layer.node.op.state_fill(layer.node.params)
    return [
        f"{c.INDENT}for (uint32_t i = {first}u; i < {end}u; i++) {{",
        f"{c.INDENT * 2}bytes[i] = {fill}u;",
        f"{c.INDENT}}}",
    ]


def _state(layer: Layer) -> str:
    """Pointer to a layer's part of the state."""
    return f"(uint8_t *)state + {layer.state_offset}" if layer.state_offset else "state"


def _view(plan: Plan, names: Names, node: Node) -> Step:
    name = c.clip(c.comment(node.name), 40)
    place, kind = _place(plan, names, node.output), plan.graph.output_type(node)
    return Step(
        comment=f'{node.op.kind} "{name}": {place} is now {kind}, nothing is copied', statements=[]
    )


def _place(plan: Plan, names: Names, tensor: str) -> str:
    """Pointer to a tensor."""
    place = plan.memory.places[tensor]
    return names.buffers[place.name] if place.kind == "arena" else names.tensors[place.name]


def _at(offset: int) -> str:
    return f"bytes + {offset}" if offset else "bytes"
