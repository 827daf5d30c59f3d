# SPDX-License-Identifier: Apache-2.0
"""Int8 functions in a row become one table."""

from dataclasses import replace

from codeq_compile.errors import SpecViolation
from codeq_compile.ir.graph import Graph, Node
from codeq_compile.numerics import Int8Array
from codeq_compile.ops.elementwise import INT8, lookup
from codeq_compile.ops.lut import Lut
from codeq_compile.ops.requantize import Requantize
from codeq_compile.passes.base import fused, sole_reader


def fuse_tables(graph: Graph) -> Graph:
    """Merge a lut with the luts and requantizes next to it.

    Exact: each of them is a function of one int8, and the table holds the function of the function.
    Two requantizes are left alone: a table would take 256 bytes that they do not.
    """
    for node in graph.nodes:
        reader = sole_reader(graph, node.output)
        # fused nodes of earlier rounds replaced the ones of this loop
        first = graph.producer(node.output)
        if first is None or reader is None or not _is_function(first) or not _is_function(reader):
            continue
        if isinstance(first.op, Lut) or isinstance(reader.op, Lut):
            table = lookup(_table(graph, reader), _table(graph, first))
            result = replace(reader, op=Lut(), table=table, inputs=first.inputs, params=None)
            graph = fused(graph, first, reader, result)
    return graph


def _is_function(node: Node) -> bool:
    return isinstance(node.op, Lut | Requantize)


def _table(graph: Graph, node: Node) -> Int8Array:
    """The node's result for all 256 inputs."""
    try:
        params = node.op.lower(node, graph.input_types(node), graph.output_type(node))
    except SpecViolation as violation:
        raise violation.at(node.name) from violation
    table: Int8Array = node.op.simulate(params, INT8.astype("int8")[None])[0]
    return table
