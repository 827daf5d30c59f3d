# SPDX-License-Identifier: Apache-2.0
"""A graph as text, one line a node: for logs, diffs and doctests."""

from collections.abc import Iterator
from dataclasses import MISSING, fields

from codeq_compile.ir.graph import Graph, Node


def show(graph: Graph) -> str:
    """One header line, then one line a node."""
    return "\n".join(_lines(graph))


def _lines(graph: Graph) -> Iterator[str]:
    inputs = ", ".join(f"{name}: {graph.tensors[name]}" for name in graph.inputs)
    yield f"{graph.name}({inputs}) -> {', '.join(graph.outputs)}"
    for node in graph.nodes:
        yield f"  {_line(graph, node)}"


def _line(graph: Graph, node: Node) -> str:
    attributes = [
        f"{field.name}={getattr(node.op, field.name)}"
        for field in fields(node.op)  # type: ignore[arg-type]  # every op is a dataclass
        if field.default is MISSING or getattr(node.op, field.name) != field.default
    ]
    weights = node.weights
    if weights is not None:
        gap = f" gap {weights.gap}" if weights.gap else ""
        attributes.append(f"w{weights.bits}{gap} {weights.zeros:.0%} zero")
    call = f"{node.op.kind}({', '.join([*node.inputs, *attributes])})"
    return f'{node.output}: {graph.output_type(node)} = {call}  # "{node.name}"'
