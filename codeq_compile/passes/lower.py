# SPDX-License-Identifier: Apache-2.0
"""Grids become integers: every node gets the parameters that simulation and C compute with."""

from dataclasses import replace

from codeq_compile.errors import ModelError, SpecViolation
from codeq_compile.ir.graph import Graph


def lower(graph: Graph) -> Graph:
    """Set `params` of every node.

    Raises
    ------
    ModelError
        The grids of some layers cannot be turned into integers; all of them are named.
    """
    nodes = []
    problems = []
    for node in graph.nodes:
        try:
            params = node.op.lower(node, graph.input_types(node), graph.output_type(node))
        except SpecViolation as violation:
            problems.append(f"  {violation.at(node.name)}")
        else:
            nodes.append(replace(node, params=params))
    if problems:
        raise ModelError("\n".join([f'"{graph.name}" cannot be lowered to integers:', *problems]))
    return graph.with_nodes(tuple(nodes))
