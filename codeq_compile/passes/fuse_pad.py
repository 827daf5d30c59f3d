# SPDX-License-Identifier: Apache-2.0
"""A border of zeros becomes the padding of the convolutions that read it."""

from collections.abc import Mapping
from dataclasses import replace

from codeq_compile.ir.graph import Graph, Node
from codeq_compile.ops.conv2d import Conv2D
from codeq_compile.ops.dwconv2d import DWConv2D
from codeq_compile.ops.pad import Pad
from codeq_compile.passes.remove_dead_nodes import remove_dead_nodes


def fuse_pad(graph: Graph) -> Graph:
    """Convolutions read around a pad whose value is the zero point, and pad themselves.

    Exact: a convolution pads with the zero point of its input, and both tensors share a grid.
    """
    nodes: dict[str, Node] = {}
    for node in graph.nodes:
        if isinstance(node.op, Conv2D | DWConv2D):
            node = _absorb_pads(graph, node, nodes)
        nodes[node.output] = node
    return remove_dead_nodes(replace(graph, nodes=tuple(nodes.values())))


def _absorb_pads(graph: Graph, node: Node, producers: Mapping[str, Node]) -> Node:
    assert isinstance(node.op, Conv2D | DWConv2D)
    top, bottom, left, right = node.op.padding
    (source,) = node.inputs
    while (pad := producers.get(source)) is not None and _pads_zeros(graph, pad):
        assert isinstance(pad.op, Pad)
        top, left = top + pad.op.before[0], left + pad.op.before[1]
        bottom, right = bottom + pad.op.after[0], right + pad.op.after[1]
        (source,) = pad.inputs
    return replace(node, op=replace(node.op, padding=(top, bottom, left, right)), inputs=(source,))


def _pads_zeros(graph: Graph, node: Node) -> bool:
    """Real zeros above, below, left and right, but no channels."""
    if not isinstance(node.op, Pad) or node.op.before[2] or node.op.after[2]:
        return False
    return node.op.value in {None, graph.input_types(node)[0].zero_point}
