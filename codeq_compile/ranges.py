# SPDX-License-Identifier: Apache-2.0
"""Which values each channel of a graph's tensors can take, for any input at all."""

import numpy as np

from codeq_compile.ir.graph import Graph, Node
from codeq_compile.ir.op import Array
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
        By tensor; graph inputs may hold every value of their type, constants are what they are.
    """
    ranges = {name: Range.of(graph.tensors[name]) for name in graph.inputs}
    ranges |= {name: _extremes(array) for name, array in graph.constants.items()}
    for node in graph.nodes:
        ranges[node.output] = _output_range(graph, node, ranges)
    return ranges


def _extremes(constant: Array) -> Range:
    channels = constant.reshape(-1, constant.shape[-1]).astype(np.int64)
    return Range(low=channels.min(axis=0), high=channels.max(axis=0))


def _output_range(graph: Graph, node: Node, ranges: dict[str, Range]) -> Range:
    inputs, output = graph.input_types(node), graph.output_type(node)
    bound = node.op.accumulator_bound(node.params)
    if bound is not None and bound.max() > INT32_MAX:
        # the pass `bound_accumulators` refuses it: nothing is known of what wraps around
        return Range.of(output)
    met = tuple(ranges[name] for name in node.inputs)
    return node.op.output_range(node.params, met, inputs, output)
