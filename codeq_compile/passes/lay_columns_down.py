# SPDX-License-Identifier: Apache-2.0
"""Images of one column become images of one row, which have the same bytes."""

from dataclasses import replace
from typing import Any

from codeq_compile.ir.graph import Graph, Node
from codeq_compile.ir.op import Op
from codeq_compile.ir.types import TensorType
from codeq_compile.ops.avgpool2d import AvgPool2D
from codeq_compile.ops.conv2d import Conv2D
from codeq_compile.ops.dwconv2d import DWConv2D
from codeq_compile.ops.maxpool2d import MaxPool2D
from codeq_compile.ops.reshape import Reshape
from codeq_compile.passes.base import unused

_WINDOWED = (AvgPool2D, Conv2D, DWConv2D, MaxPool2D)


def lay_columns_down(graph: Graph) -> Graph:
    """Turn each layer whose window moves along a single column.

    Exact: height and width change places in all that the layer says of both, and its tensors are
    views. Kernels work along rows: sequences that a model has as columns would be rows of one pixel
    each. `remove_identity` takes out the views between layers that were both turned.
    """
    tensors = dict(graph.tensors)
    nodes: list[Node] = []
    for node in graph.nodes:
        nodes.extend(_turned(graph, node, tensors) if _is_column(graph, node) else [node])
    return replace(graph, tensors=tensors, nodes=tuple(nodes))


def _is_column(graph: Graph, node: Node) -> bool:
    if not isinstance(node.op, _WINDOWED):
        return False
    height, width, _ = graph.input_types(node)[0].shape
    return width == 1 < height and graph.output_type(node).shape[1] == 1 and _is_narrow(node)


def _is_narrow(node: Node) -> bool:
    """The window has one column of its own, and no padding beside it."""
    op: Any = node.op
    columns = op.kernel[1] if node.weights is None else node.weights.codes.shape[2]
    return (columns, *op.padding[2:]) == (1, 0, 0)


def _turned(graph: Graph, node: Node, tensors: dict[str, TensorType]) -> list[Node]:
    """A view of the input, the layer, and a view of its output."""
    source, target = node.inputs[0], node.output
    x, y = (unused(f"{name}.row", tensors) for name in (source, target))
    tensors[x], tensors[y] = (_lying(graph.tensors[name]) for name in (source, target))
    names = {other.name for other in graph.nodes}
    down, up = (unused(f"{node.name}.{way}", names) for way in ("down", "up"))
    weights = node.weights
    if weights is not None:
        weights = replace(weights, codes=weights.codes.swapaxes(1, 2))
    layer = replace(node, op=_lying_op(node.op), inputs=(x,), output=y, weights=weights)
    return [
        Node(name=down, op=_view(tensors[x]), inputs=(source,), output=x),
        layer,
        Node(name=up, op=_view(tensors[target]), inputs=(y,), output=target),
    ]


def _lying(image: TensorType) -> TensorType:
    height, width, channels = image.shape
    return replace(image, shape=(width, height, channels))


def _view(image: TensorType) -> Reshape:
    return Reshape(shape=image.shape)


def _lying_op(op: Any) -> Op[Any]:
    top, bottom, left, right = op.padding
    pairs = {
        name: (getattr(op, name)[1], getattr(op, name)[0])
        for name in ("kernel", "stride", "dilation")
        if hasattr(op, name)
    }
    lying: Op[Any] = replace(op, padding=(left, right, top, bottom), **pairs)
    return lying
