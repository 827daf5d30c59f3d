# SPDX-License-Identifier: Apache-2.0
"""What a legal graph is: checked after loading and after every pass, all violations at once."""

import re

from codeq_compile.errors import ModelError, SpecViolation
from codeq_compile.ir.graph import Graph, Node

_C_IDENTIFIER = re.compile(r"[a-z][a-z0-9_]*\Z")
MAX_DIMENSION = 1 << 20
MAX_ELEMENTS = 1 << 28


def verify(graph: Graph) -> Graph:
    """Return `graph` unchanged if it is legal.

    Raises
    ------
    ModelError
        Every broken rule, one a line: names, order, types, shapes, constants.
    """
    problems = list(_structure(graph))
    if not problems:
        for node in graph.nodes:
            problems.extend(_node(graph, node))
    if problems:
        raise ModelError("\n".join([f'the graph "{graph.name}" is not legal:', *problems]))
    return graph


def _structure(graph: Graph) -> list[str]:
    problems = []
    if not _C_IDENTIFIER.match(graph.name):
        problems.append(f'  the model name "{graph.name}" is not a lower-case C identifier')
    names = [node.name for node in graph.nodes]
    problems.extend(
        f'  two layers are called "{name}"' for name in sorted(set(names)) if names.count(name) > 1
    )
    for name, kind in graph.tensors.items():
        if not kind.shape or any(not 1 <= n <= MAX_DIMENSION for n in kind.shape):
            problems.append(f'  tensor "{name}" has the illegal shape {list(kind.shape)}')
        elif kind.elements > MAX_ELEMENTS:
            problems.append(f'  tensor "{name}" has {kind.elements} elements')
    known = set(graph.inputs)
    if len(known) != len(graph.inputs) or not graph.inputs:
        problems.append("  a graph needs inputs with distinct names")
    for node in graph.nodes:
        problems.extend(
            f'  layer "{node.name}" reads "{tensor}" before it exists'
            for tensor in node.inputs
            if tensor not in known
        )
        if node.output in known:
            problems.append(f'  layer "{node.name}" writes "{node.output}" a second time')
        known.add(node.output)
    if not graph.outputs or len(set(graph.outputs)) != len(graph.outputs):
        problems.append("  a graph needs outputs with distinct names")
    problems.extend(
        f'  output "{name}" is never written' for name in graph.outputs if name not in known
    )
    problems.extend(
        f'  tensor "{name}" has no type' for name in sorted(known - graph.tensors.keys())
    )
    return problems


def _node(graph: Graph, node: Node) -> list[str]:
    inputs, output = graph.input_types(node), graph.output_type(node)
    if node.op.has_weights != (node.weights is not None):
        return [f'  layer "{node.name}": {node.op.kind} and its weights do not belong together']
    try:
        inferred = node.op.infer(node, inputs)
    except SpecViolation as violation:
        return [f"  {violation.at(node.name)}"]
    if (inferred.shape, inferred.dtype) != (output.shape, output.dtype):
        return [f'  layer "{node.name}" makes {inferred}, but "{node.output}" is {output}']
    if inferred.grid is not None and inferred.grid != output.grid:
        return [
            f'  layer "{node.name}": {node.op.kind} fixes the grid of its output to '
            f"{inferred.grid}, but the tensor has {output.grid}"
        ]
    return []
