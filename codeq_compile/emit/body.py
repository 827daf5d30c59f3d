# SPDX-License-Identifier: Apache-2.0
"""The body of `<name>_run`: checks of its arguments, pointers into the arena, calls."""

from collections.abc import Sequence
from dataclasses import dataclass

from codeq_compile.emit import format as c
from codeq_compile.emit import stream
from codeq_compile.emit.layers import heading
from codeq_compile.emit.names import Names
from codeq_compile.emit.pointers import at, place, scratch
from codeq_compile.emit.ports import Port
from codeq_compile.ir import DType, Node
from codeq_compile.memory import Buffer
from codeq_compile.plan import Layer, Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A layer that is called, a stream, or a view: a comment and no statements."""

    comment: str
    statements: list[str]


def argument_checks(ports: Sequence[Port], *, has_state: bool) -> list[str]:
    """Lines of the ``if`` that catches a wrong call."""
    given = [port for port in ports if port.offset is None]
    conditions = [f"{port.identifier} == NULL" for port in given]
    memory = ["arena", "state"] if has_state else ["arena"]
    conditions += [f"{name} == NULL" for name in memory]
    alignment = {port.identifier: port.type.dtype.numpy.itemsize for port in given if port.is_wide}
    alignment |= dict.fromkeys(memory, 4)
    conditions += [f"((uintptr_t){name} & {n - 1}u) != 0u" for name, n in alignment.items()]
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
    streams = {each.stream.first: each for each in plan.memory.streams}
    inside = {p for s in streams.values() for p in range(s.stream.first + 1, s.stream.last + 1)}
    result = []
    for position, node in enumerate(plan.graph.nodes):
        if position in streams:
            placed = streams[position]
            lines = stream.statements(plan, names, placed)
            result.append(Step(comment=stream.heading(plan, names, placed), statements=lines))
        elif node.name not in layers:
            result.append(_view(plan, names, node))
        elif position not in inside:
            result.append(_call(plan, names, layers[node.name]))
    return result


def _declaration(plan: Plan, names: Names, buffer: Buffer) -> str:
    c_type = plan.graph.tensors[buffer.name].dtype
    where = at(buffer.offset)
    if c_type is not DType.S8:
        where = f"({c_type.c_type} *)(void *){f'({where})' if buffer.offset else where}"
    return f"{c_type.c_type} *const {names.buffers[buffer.name]} = {where};"


def _lifetime(plan: Plan, names: Names, buffer: Buffer) -> str:
    nodes = plan.graph.nodes[buffer.first : buffer.last + 1]
    alive = [names.layers[node.name] for node in nodes if node.name in names.layers]
    rows = plan.memory.windows.get(buffer.name)
    window = f"{rows} of {plan.graph.tensors[buffer.name].shape[0]} rows, " if rows else ""
    return f"{window}{c.count(buffer.bytes)} B, live {alive[0]}..{alive[-1]}"


def _call(plan: Plan, names: Names, layer: Layer) -> Step:
    node, graph = layer.node, plan.graph
    inputs = [place(plan, names, tensor) for tensor in node.inputs]
    if node.op.variadic:
        inputs = [f"(const int8_t *const[]){{{', '.join(inputs)}}}"]
    output = place(plan, names, node.output)
    state = [_state(layer)] if layer.state_bytes else []
    arguments = [f"&{names.layers[node.name]}", *inputs, *state, output, scratch(plan, node)]
    return Step(
        comment=heading(layer, names),
        statements=[
            *c.call(f"{c.INDENT}CQ_TRY({layer.kernel.symbol}", arguments, ");"),
            f"{c.INDENT}CQ_TRACE({layer.index}, {output}, {graph.output_type(node).bytes});",
        ],
    )


def reset(layer: Layer, names: Names) -> list[str]:
    """Lines that fill the state of a layer as it is before the first inference."""
    first, end = layer.state_offset, layer.state_offset + layer.state_bytes
    fill = layer.node.op.state_fill(layer.node.params)
    return [
        f"{c.INDENT}for (uint32_t i = {first}u; i < {end}u; i++) {{",
        f"{c.INDENT * 2}bytes[i] = {fill}u; /* {names.layers[layer.node.name]} */",
        f"{c.INDENT}}}",
    ]


def _state(layer: Layer) -> str:
    """Pointer to a layer's part of the state."""
    return f"(uint8_t *)state + {layer.state_offset}" if layer.state_offset else "state"


def _view(plan: Plan, names: Names, node: Node) -> Step:
    name = c.clip(c.comment(node.name), 40)
    where, kind = place(plan, names, node.output), plan.graph.output_type(node)
    return Step(
        comment=f'{node.op.kind} "{name}": {where} is now {kind}, nothing is copied', statements=[]
    )
