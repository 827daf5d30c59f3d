# SPDX-License-Identifier: Apache-2.0
"""Which values each channel of a graph's tensors can take, for any input at all."""

from codeq_compile.ir.graph import Graph, Node
from codeq_compile.ir.types import Range
from codeq_compile.numerics import INT32_MAX


def infer(graph: Graph) -> dict[str, Range]:
    """Ranges of all tensors, from weights, biases and limits.

    Parameters
    ----------
    graph : Graph
        Lowered.

    Returns
    -------
    dict of str to Range
        By tensor; graph inputs may hold every value of their type.
    """
    ranges = {name: Range.of(graph.tensors[name]) for name in graph.inputs}
    for node in graph.nodes:
        ranges[node.output] = _output_range(graph, node, ranges)
    return ranges


def _output_range(graph: Graph, node: Node, ranges: dict[str, Range]) -> Range:
    inputs, output = graph.input_types(node), graph.output_type(node)
    bound = node.op.accumulator_bound(node.params)
    if bound is not None and bound.max() > INT32_MAX:
        # the pass `bound_accumulators` refuses it: nothing is known of what wraps around
        return Range.of(output)
    met = tuple(ranges[name] for name in node.inputs)
    return node.op.output_range(node.params, met, inputs, output)
