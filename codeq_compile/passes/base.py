# SPDX-License-Identifier: Apache-2.0
"""What a pass is, and the surgery that passes share."""

from collections.abc import Callable, Container, Mapping
from dataclasses import replace

from codeq_compile.ir.graph import Graph, Node

Pass = Callable[[Graph], Graph]
"""A function from graph to graph, named by what it does; the outputs keep their integers."""


def renamed(graph: Graph, names: Mapping[str, str]) -> Graph:
    """The graph with tensors called otherwise, wherever they are written or read.

    Parameters
    ----------
    graph : Graph
    names : mapping of str to str
        Tensor → its new name, which must be known to the graph and have the same type.
        Graph inputs and outputs keep their names.
    """
    return graph.with_nodes(
        tuple(
            replace(
                node,
                inputs=tuple(names.get(name, name) for name in node.inputs),
                output=names.get(node.output, node.output),
            )
            for node in graph.nodes
        )
    )


def sole_reader(graph: Graph, tensor: str) -> Node | None:
    """The node that reads `tensor`, if nobody else does, the caller included."""
    readers = list(graph.consumers(tensor))
    return readers[0] if len(readers) == 1 and tensor not in graph.outputs else None


def fused(graph: Graph, first: Node, second: Node, result: Node) -> Graph:
    """`result`, which writes what `second` wrote, in the place of `first`; `second` is gone."""
    return graph.with_nodes(
        tuple(result if node is first else node for node in graph.nodes if node is not second)
    )


def unused(name: str, known: Container[str]) -> str:
    """`name`, or a longer one that is not among the known."""
    while name in known:
        name += "_"
    return name
