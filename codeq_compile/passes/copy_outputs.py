# SPDX-License-Identifier: Apache-2.0
"""An output that is only another view of bytes that the caller has already becomes a copy."""

from dataclasses import replace

from codeq_compile.ir.graph import Graph, Node
from codeq_compile.ir.types import TensorType
from codeq_compile.ops.requantize import Requantize
from codeq_compile.passes.base import unused


def copy_outputs(graph: Graph) -> Graph:
    """Copy where two of the caller's buffers would have to be the same bytes.

    A view costs nothing because it stays where it is, but every input and output of the graph has
    a buffer of its own. The copy is a requantize onto the same grid, which changes no value.
    """
    sources = {name: name for name in graph.given}
    taken = set(graph.given)
    tensors: dict[str, TensorType] = dict(graph.tensors)
    nodes: list[Node] = []
    for node in graph.nodes:
        source = sources[node.inputs[0]] if node.op.is_view else node.output
        sources[node.output] = source
        if node.output in graph.outputs and source in taken:
            nodes.extend(_copied(graph, node, tensors))
        else:
            nodes.append(node)
        if node.output in graph.outputs:
            taken.add(source)
    return replace(graph, tensors=tensors, nodes=tuple(nodes))


def _copied(graph: Graph, node: Node, tensors: dict[str, TensorType]) -> list[Node]:
    """A copy in the place of the view, or behind it where it changes the shape."""
    kind = tensors[node.output]
    if tensors[node.inputs[0]] == kind:
        return [replace(node, op=Requantize(), params=None)]
    view = unused(f"{node.output}.view", tensors)
    tensors[view] = kind
    name = unused(f"{node.name}.copy", {other.name for other in graph.nodes})
    copy = Node(name=name, op=Requantize(), inputs=(view,), output=node.output)
    return [replace(node, output=view), copy]
