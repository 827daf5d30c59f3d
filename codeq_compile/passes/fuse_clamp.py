# SPDX-License-Identifier: Apache-2.0
"""A ReLU or clip that stands alone becomes the output limits of the layer before it."""

from dataclasses import fields, replace
from typing import Any

from codeq_compile.ir.graph import Graph, Node
from codeq_compile.ir.op import Op
from codeq_compile.ops.base import Pair
from codeq_compile.ops.requantize import Requantize
from codeq_compile.passes.base import fused, sole_reader


def fuse_clamp(graph: Graph) -> Graph:
    """Merge a requantize that stays on its grid into the only layer that feeds it.

    Exact: on one grid requantize is nothing but its limits, and limiting twice is limiting once.
    """
    for node in graph.nodes:
        feeder = graph.producer(node.inputs[0])
        if (
            isinstance(node.op, Requantize)
            and feeder is not None
            and graph.tensors[node.inputs[0]] == graph.output_type(node)
            and _has_clamp(feeder)
            and sole_reader(graph, feeder.output) is node
        ):
            op = _limited(feeder.op, node.op.clamp)
            graph = fused(graph, feeder, node, replace(feeder, op=op, output=node.output))
    return graph


def _has_clamp(node: Node) -> bool:
    return any(field.name == "clamp" for field in fields(node.op))  # type: ignore[arg-type]  # every op is a dataclass


def _limited(op: Any, then: Pair) -> Op[Any]:
    """The op with limits that do what its own and `then` do, also where the two are disjoint."""
    low, high = (min(max(limit, then[0]), then[1]) for limit in op.clamp)
    limited: Op[Any] = replace(op, clamp=(low, high))
    return limited
