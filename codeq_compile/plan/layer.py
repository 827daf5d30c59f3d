# SPDX-License-Identifier: Apache-2.0
"""One layer with its kernel and its packing, and what follows from these."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from codeq_compile.ir.graph import Graph, Node
from codeq_compile.ir.op import CArray, c_arrays
from codeq_compile.ir.types import Packed
from codeq_compile.kernels import Kernel
from codeq_compile.memory.streams import Banded, Call, distinct_bands
from codeq_compile.ops.base import SPARSE, align4
from codeq_compile.plan.types import Layer


def decide(
    graph: Graph,
    node: Node,
    kernel: Kernel,
    packed: Packed | None,
    *,
    index: int,
    costs: dict[str, int],
    note: str,
    state_offset: int,
    calls: tuple[Call, ...] = (),
) -> Layer:
    """A layer with what follows from its kernel and its packing."""
    params = node.op.c_params(node.params, graph.input_types(node), graph.output_type(node), packed)
    arrays = [*c_arrays(params), *(array for _, array in operands(graph, node))]
    macs = node.op.macs(node.params, graph.output_type(node))
    return Layer(
        index=index,
        node=node,
        kernel=kernel,
        packed=packed,
        # the form may be another than that of the shortest packings
        costs=costs if packed is None else {**costs, packed.packing: packed.bytes},
        note=note,
        scratch_bytes=scratch_of(graph, node, kernel, packed, calls),
        state_offset=state_offset,
        state_bytes=node.op.state_bytes(node.params),
        tables_bytes=sum(array.bytes for array in arrays if array.name != "weights"),
        padding_bytes=sum(align4(array.bytes) - array.bytes for array in arrays),
        macs=macs,
        macs_done=macs * _nonzeros(node) // node.weights.codes.size
        if node.weights is not None and packed is not None and packed.packing in SPARSE
        else macs,
        calls=calls,
    )


def for_kernel(layer: Layer, node: Node, kernel: Kernel) -> Node:
    """A layer, or another form of it, as it would be if this kernel served it."""
    return layer.node if kernel == layer.kernel else as_served(node, kernel)


def as_served(node: Node, kernel: Kernel) -> Node:
    return replace(node, params=node.op.with_kernel(node.params, kernel.family, kernel.isa))


def operands(graph: Graph, node: Node) -> list[tuple[str, CArray]]:
    """The constants that a node reads, by tensor, as tables in flash."""
    constants = [name for name in node.inputs if name in graph.constants]
    return [
        (
            name,
            CArray(
                name="operand" if len(constants) == 1 else f"operand{number}",
                c_type=graph.tensors[name].dtype.c_type,
                data=graph.constants[name].reshape(-1),
            ),
        )
        for number, name in enumerate(constants)
    ]


def with_params(graph: Graph, layer: Layer, params: Any) -> Layer:
    node = replace(layer.node, params=params)
    scratch = scratch_of(graph, node, layer.kernel, layer.packed, layer.calls)
    return replace(layer, node=node, scratch_bytes=scratch)


def scratch_of(
    graph: Graph,
    node: Node,
    kernel: Kernel,
    packed: Packed | None,
    calls: Sequence[Call] = (),
) -> int:
    """What a layer needs: as a whole, or for the greediest of its calls."""
    if calls:
        parts = distinct_bands(graph, node, calls)
        return max(_band_scratch_bytes(part, kernel, packed) for part in parts)
    types = graph.input_types(node), graph.output_type(node)
    return node.op.scratch_bytes(node.params, *types, packed, kernel.family, kernel.isa)


def _band_scratch_bytes(band: Banded, kernel: Kernel, packed: Packed | None) -> int:
    node = band.node
    return node.op.scratch_bytes(
        node.params, band.inputs, band.output, packed, kernel.family, kernel.isa
    )


def packed_bytes(layer: Layer) -> int:
    return layer.weights_bytes + layer.tables_bytes


def _nonzeros(node: Node) -> int:
    assert node.weights is not None
    return int(np.count_nonzero(node.weights.values))
