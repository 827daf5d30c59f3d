# SPDX-License-Identifier: Apache-2.0
"""Layers that nobody reads leave the graph."""

from codeq_compile.ir.graph import Graph


def remove_dead_nodes(graph: Graph) -> Graph:
    """Keep only the nodes that an output of the graph depends on."""
    needed = set(graph.outputs)
    kept = []
    for node in reversed(graph.nodes):
        if node.output in needed:
            needed.update(node.inputs)
            kept.append(node)
    return graph.with_nodes(tuple(reversed(kept)))
