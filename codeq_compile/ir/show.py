# SPDX-License-Identifier: Apache-2.0
"""A graph as text, one line a node: for logs, diffs and doctests."""

from collections.abc import Iterator
from dataclasses import MISSING, fields

from codeq_compile.ir.graph import Graph, Node


def show(graph: Graph) -> str:
    """One header line, then one line a node.

    >>> from codeq_compile.ir import Graph, Grid, Node, TensorType
    >>> from codeq_compile.ops.maxpool2d import MaxPool2D
    >>> grid = Grid(scale=0.5, zero_point=0)
    >>> op = MaxPool2D(kernel=(2, 2), stride=(1, 1))
    >>> pool = Node(name="features.2", op=op, inputs=("x",), output="y")
    >>> print(show(Graph(
    ...     name="tiny",
    ...     tensors={
    ...         "x": TensorType(shape=(4, 4, 8), grid=grid),
    ...         "y": TensorType(shape=(3, 3, 8), grid=grid),
    ...     },
    ...     inputs=("x",),
    ...     outputs=("y",),
    ...     nodes=(pool,),
    ... )))
    tiny(x: s8[4,4,8]) -> y
      y: s8[3,3,8] = maxpool2d(x, kernel=(2, 2), stride=(1, 1))  # "features.2"
    """
    return "\n".join(_lines(graph))


def _lines(graph: Graph) -> Iterator[str]:
    inputs = ", ".join(f"{name}: {graph.tensors[name]}" for name in graph.inputs)
    yield f"{graph.name}({inputs}) -> {', '.join(graph.outputs)}"
    for name in graph.constants:
        yield f"  {name}: {graph.tensors[name]} = constant"
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
