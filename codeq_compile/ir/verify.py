# SPDX-License-Identifier: Apache-2.0
"""What a legal graph is: checked after loading and after every pass, all violations at once."""

import re
from collections import Counter
from collections.abc import Iterator

import numpy as np

from codeq_compile.errors import ModelError, SpecViolation
from codeq_compile.ir.graph import Graph, Node
from codeq_compile.ir.types import DType

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
    problems = _structure(graph)
    if not problems:
        for node in graph.nodes:
            problems.extend(_node(graph, node))
    if problems:
        raise ModelError("\n".join([f'the graph "{graph.name}" is not legal:', *problems]))
    return graph


def _structure(graph: Graph) -> list[str]:
    return [*_names(graph), *_tensors(graph), *_order(graph), *_constant_operands(graph)]


def _names(graph: Graph) -> Iterator[str]:
    if not _C_IDENTIFIER.match(graph.name):
        yield f'  the model name "{graph.name}" is not a lower-case C identifier'
    names = [node.name for node in graph.nodes]
    for name, count in Counter(names).items():
        if count > 1:
            yield f'  {count} layers are called "{name}"'
    # names end up in comments of the emitted C and on terminals
    for name in (*names, *graph.tensors, *graph.labels):
        if not name or not name.isprintable():
            yield f"  the name {name!r} is empty or not printable"


def _tensors(graph: Graph) -> Iterator[str]:
    for name, kind in graph.tensors.items():
        if not kind.shape or any(not 1 <= n <= MAX_DIMENSION for n in kind.shape):
            yield f'  tensor "{name}" has the illegal shape {list(kind.shape)}'
        elif kind.elements > MAX_ELEMENTS:
            yield f'  tensor "{name}" has {kind.elements} elements, more than {MAX_ELEMENTS}'
        if kind.grid is None:
            if kind.dtype is not DType.S32:
                yield f'  tensor "{name}": an {kind.dtype} tensor needs a grid'
        elif kind.grid.bits != kind.dtype.bits:
            yield f'  tensor "{name}": its grid has {kind.grid.bits} bits, and it is {kind}'


def _order(graph: Graph) -> Iterator[str]:
    known = set(graph.given)
    if len(known) != len(graph.given) or not graph.inputs:
        yield "  a graph needs inputs with distinct names"
    for node in graph.nodes:
        for tensor in node.inputs:
            if tensor not in known:
                yield f'  layer "{node.name}" reads "{tensor}" before it exists'
        if not node.inputs:
            yield f'  layer "{node.name}" reads nothing'
        if node.output in known:
            yield f'  layer "{node.name}" writes "{node.output}" a second time'
        known.add(node.output)
    if not graph.outputs or len(set(graph.outputs)) != len(graph.outputs):
        yield "  a graph needs outputs with distinct names"
    for name in graph.outputs:
        if name in graph.given:
            given = "an input" if name in graph.inputs else "a constant"
            yield f'  output "{name}" is {given}: there is nothing to compute'
        elif name not in known:
            yield f'  output "{name}" is never written'
    for name in sorted(known - graph.tensors.keys()):
        yield f'  tensor "{name}" has no type'
    for name in sorted(graph.tensors.keys() - known):
        yield f'  tensor "{name}" is never written'


def _constant_operands(graph: Graph) -> Iterator[str]:
    readers: dict[str, list[Node]] = {name: [] for name in graph.constants}
    for node in graph.nodes:
        for tensor in node.inputs:
            if tensor in readers:
                readers[tensor].append(node)
    for name, array in graph.constants.items():
        kind = graph.tensors.get(name)
        if kind is None or (array.dtype, array.shape) != (kind.dtype.numpy, kind.shape):
            got = f"{array.dtype} {list(array.shape)}"
            yield f'  constant "{name}" holds {got}, and its type is {kind}'
        if any(node.op.is_view for node in readers[name]):
            yield f'  constant "{name}" is viewed: give it the other shape itself'
        if len(readers[name]) != 1:
            yield f'  constant "{name}" is read {len(readers[name])} times: each layer has its own'


def _node(graph: Graph, node: Node) -> Iterator[str]:
    inputs, output = graph.input_types(node), graph.output_type(node)
    broken = list(_constants(node))
    if broken:
        yield from (f'  layer "{node.name}": {problem}' for problem in broken)
        return
    try:
        inferred = node.op.infer(node, inputs)
    except SpecViolation as violation:
        yield f"  {violation.at(node.name)}"
        return
    if (inferred.shape, inferred.dtype) != (output.shape, output.dtype):
        yield f'  layer "{node.name}" makes {inferred}, but "{node.output}" is {output}'
    elif inferred.grid is not None and inferred.grid != output.grid:
        yield (
            f'  layer "{node.name}": {node.op.kind} fixes the grid of its output to '
            f"{inferred.grid}, but the tensor has {output.grid}"
        )


def _constants(node: Node) -> Iterator[str]:
    kind = node.op.kind
    if node.op.has_weights != (node.weights is not None):
        yield f"{kind} {'needs' if node.op.has_weights else 'has no'} weights"
    if node.op.has_table != (node.table is not None):
        yield f"{kind} {'needs' if node.op.has_table else 'has no'} table"
    if node.bias is not None and not node.op.has_weights:
        yield f"{kind} has no bias"
    if node.bias is not None and node.bias.dtype != np.int32:
        yield f"a bias is int32, not {node.bias.dtype}"
