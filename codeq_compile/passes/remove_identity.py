# SPDX-License-Identifier: Apache-2.0
"""Layers that return their input leave the graph; of several reshapes in a row one is left."""

from dataclasses import replace

import numpy as np

from codeq_compile.ir.graph import Graph, Node
from codeq_compile.ops.concat import Concat
from codeq_compile.ops.elementwise import INT8
from codeq_compile.ops.lut import Lut
from codeq_compile.ops.pad import Pad
from codeq_compile.ops.requantize import Requantize
from codeq_compile.ops.reshape import Reshape
from codeq_compile.passes.base import renamed
from codeq_compile.passes.remove_dead_nodes import remove_dead_nodes


def remove_identity(graph: Graph) -> Graph:
    """Drop each node whose output has the type and the integers of its first input."""
    graph = _join_reshapes(graph)
    for node in graph.nodes:
        # inputs may have been renamed since the loop began
        current = graph.producer(node.output)
        if current is not None and _is_identity(graph, current):
            graph = _without(graph, current)
    return remove_dead_nodes(graph)


def _join_reshapes(graph: Graph) -> Graph:
    """A reshape of a reshape reads what the first one read."""
    sources: dict[str, str] = {}
    nodes = []
    for node in graph.nodes:
        if isinstance(node.op, Reshape):
            source = sources.get(node.inputs[0], node.inputs[0])
            sources[node.output] = source
            node = replace(node, inputs=(source,))
        nodes.append(node)
    return replace(graph, nodes=tuple(nodes))


def _is_identity(graph: Graph, node: Node) -> bool:
    if graph.input_types(node)[0] != graph.output_type(node):
        return False
    match node.op:
        case Reshape() | Pad() | Concat():
            # the output is no larger than the first input: nothing was added
            return True
        case Requantize(clamp=clamp):
            # the factor between equal grids is exactly 1 [N4.2]
            return clamp == (-128, 127)
        case Lut():
            return node.table is not None and np.array_equal(node.table, INT8)
        case _:
            return False


def _without(graph: Graph, node: Node) -> Graph:
    """One name survives: the caller's, if one of the two is the caller's. Both: the node stays."""
    source = node.inputs[0]
    rest = graph.with_nodes(tuple(other for other in graph.nodes if other is not node))
    if node.output not in graph.outputs:
        return renamed(rest, {node.output: source})
    if source not in graph.given and source not in graph.outputs:
        return renamed(rest, {source: node.output})
    return graph
