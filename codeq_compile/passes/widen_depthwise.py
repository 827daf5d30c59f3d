# SPDX-License-Identifier: Apache-2.0
"""Depthwise convolutions of a single channel become convolutions, which have faster kernels."""

from dataclasses import fields, replace

from codeq_compile.ir.graph import Graph, Node
from codeq_compile.ops.conv2d import Conv2D
from codeq_compile.ops.dwconv2d import DWConv2D

MIN_FILTERS = 4
"""As many as the kernels of a convolution compute at a time; fewer would cost as much."""


def widen_depthwise(graph: Graph) -> Graph:
    """Write a depthwise convolution whose input has one channel as a convolution.

    Exact: every filter reads that channel, in both. Spectrograms and grey images begin like this.
    """
    return graph.with_nodes(tuple(_widened(graph, node) for node in graph.nodes))


def _widened(graph: Graph, node: Node) -> Node:
    if not isinstance(node.op, DWConv2D) or graph.input_types(node)[0].shape[2] != 1:
        return node
    assert node.weights is not None
    if len(node.weights.codes) < MIN_FILTERS:
        return node
    shared = {field.name: getattr(node.op, field.name) for field in fields(node.op)}
    weights = replace(node.weights, codes=node.weights.codes[..., None])
    return replace(node, op=Conv2D(**shared), weights=weights)
