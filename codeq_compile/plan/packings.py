# SPDX-License-Identifier: Apache-2.0
"""Which packing and kernel each layer gets for itself."""

import difflib
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from codeq_compile import cost
from codeq_compile.errors import InputError, NoKernel
from codeq_compile.ir.graph import Graph, Node
from codeq_compile.ir.types import Packed
from codeq_compile.kernels import Kernel, select
from codeq_compile.ops.base import SPARSE
from codeq_compile.packing import CODECS, applicable, forms, pack, unpack
from codeq_compile.plan.layer import as_served, decide, for_kernel, packed_bytes
from codeq_compile.plan.types import AUTO, CHOICES, DENSE, FAST, GAP, HUFFMAN, SMALL, Layer, Plan
from codeq_compile.target import Target

_LONGER = 2
"""How much longer a stream may be that is faster; beyond, it must be faster in proportion."""
_FASTER = 15 / 16
"""Share of its instructions that a stream must be down to before it may be longer."""
NARROW = 2 / 3
"""Share of dense bytes, which kernels use where they stand, that weights are decoded for.

Less would not pay for the instructions, nor for a kernel that no other layer may need.
"""


def check_packing(graph: Graph, packing: str) -> None:
    known = (AUTO, FAST, SMALL, *CODECS)
    if packing not in known:
        near = difflib.get_close_matches(packing, known, n=1)
        hint = f'did you mean "{near[0]}"?' if near else f"there are {', '.join(known)}"
        raise InputError(f'there is no packing "{packing}": {hint}')
    if packing in CHOICES:
        return
    refused = [
        f'  layer "{node.name}": {node.weights.bits} bits, gap {node.weights.gap}'
        + (", a table of levels" if node.weights.levels else "")
        for node in graph.nodes
        if node.weights is not None
        and packing in node.op.packings
        and not applicable(node.weights, [packing])
    ]
    if refused:
        raise InputError(
            "\n".join(
                [
                    f"{packing} packing cannot hold the weights of {len(refused)} layers:",
                    *refused,
                    f'Use "{AUTO}", which takes {packing} where it is possible and smallest.',
                ]
            )
        )


def choose_alone(
    graph: Graph, node: Node, index: int, target: Target, packing: str, state_offset: int
) -> Layer:
    inputs, output = graph.input_types(node), graph.output_type(node)
    candidates = _candidates(written(graph, node, packing), target, packing)

    def count(name: str) -> int | None:
        node, kernel, packed = candidates[name]
        return cost.predict(as_served(node, kernel), inputs, output, packed, kernel, target.core)

    name, note = _choice(node, candidates, packing, count)
    node, kernel, packed = candidates[name]
    return decide(
        graph,
        as_served(node, kernel),
        kernel,
        packed,
        index=index,
        costs={name: packed.bytes for name, (_, _, packed) in candidates.items() if packed},
        note=note,
        state_offset=state_offset,
    )


def shrunk(graph: Graph, target: Target, layers: list[Layer], limit: int) -> list[Layer]:
    """The layers, those that gain most for a weight that is read slowly in fewer bytes."""
    excess = sum(map(packed_bytes, layers)) - limit
    if excess <= 0:
        return layers
    nodes = {node.name: node for node in graph.nodes}
    smaller = [
        choose_alone(graph, nodes[layer.node.name], layer.index, target, SMALL, layer.state_offset)
        if layer.packed
        else layer
        for layer in layers
    ]
    gains = [packed_bytes(a) - packed_bytes(b) for a, b in zip(layers, smaller, strict=True)]
    chosen = list(layers)
    for place in sorted(range(len(layers)), key=lambda k: -gains[k] / max(1, _weights(layers[k]))):
        if excess > 0 and gains[place] > 0:
            chosen[place] = smaller[place]
            excess -= gains[place]
    return chosen


def written(graph: Graph, node: Node, packing: str) -> list[Node]:
    """The node with its weights in every form; as they are where a codec was asked for."""
    if node.weights is None or packing not in CHOICES:
        return [node]
    kinds = graph.input_types(node), graph.output_type(node)
    others = [replace(node, weights=form) for form in forms(node.weights)[1:]]
    return [node, *(replace(other, params=other.op.lower(other, *kinds)) for other in others)]


Candidates = dict[str, tuple[Node, Kernel, Packed | None]]
"""Layer, kernel and stream by packing, in the op's order; one entry "" for ops without weights."""


def candidates(plan: Plan, layer: Layer) -> Candidates:
    """What the choice of a layer's packing was made from."""
    found = _candidates(written(plan.graph, layer.node, plan.packing), plan.target, plan.packing)
    packed = layer.packed
    if packed is not None and found.get(packed.packing, (None,))[-1] != packed:
        # a limit asked for another form than the shortest, or for prefix codes
        found[packed.packing] = layer.node, layer.kernel, packed
    return found


def prices(plan: Plan, layer: Layer) -> dict[str, cost.Price]:
    """Predicted instructions in every packing that has a kernel here, as far as known."""
    core, graph = plan.target.core, plan.graph
    inputs, output = graph.input_types(layer.node), graph.output_type(layer.node)
    found = {
        name: cost.price(for_kernel(layer, node, kernel), inputs, output, packed, kernel, core)
        for name, (node, kernel, packed) in candidates(plan, layer).items()
    }
    return {name: price for name, price in found.items() if price is not None}


def _candidates(forms: list[Node], target: Target, packing: str) -> Candidates:
    """Every packing that has a kernel on the target, with the form that it makes shortest.

    The first of equals is the form that the model has. A prefix code is made where it may be taken
    only: that takes longer than all the rest of a plan.
    """
    left_out = set() if packing in {SMALL, HUFFMAN} else {HUFFMAN}
    found: Candidates = {}
    missing: NoKernel | None = None
    for node in forms:
        names = [""] if node.weights is None else applicable(node.weights, node.op.packings)
        for name in names:
            if name in left_out:
                continue
            packed = pack(node.weights, name) if node.weights is not None else None
            if name in found and _bytes(packed) >= _worth(found[name][2], packing):
                continue
            try:
                found[name] = (node, select(node.op, node.params, packed, target), packed)
            except NoKernel as error:
                missing = missing or error
    if not found:
        node = forms[0]
        assert missing is not None, f"{node.op.kind} has no packing for its weights"
        raise NoKernel(f'layer "{node.name}": {missing}') from missing
    return found


def _worth(packed: Packed | None, packing: str) -> float:
    """Bytes that another form or packing of the layer must be below to be taken instead."""
    is_byte = packed is not None and (packed.packing, packed.bits) == (DENSE, 8)
    return _bytes(packed) * (NARROW if is_byte and packing in {AUTO, FAST} else 1.0)


def _choice(
    node: Node, candidates: Candidates, packing: str, count: Callable[[str], int | None]
) -> tuple[str, str]:
    """Name of the packing, and a note where it is not the one that was asked for.

    `count` predicts the instructions of a candidate, or says None.
    """
    if node.weights is None:
        return "", ""
    if packing in candidates:
        return packing, ""
    if packing not in CHOICES:
        return DENSE, f"{packing} has no kernel for {node.op.kind} here: dense instead"
    size = {name: _worth(packed, packing) for name, (_, _, packed) in candidates.items()}
    # the first of the smallest: the order is the op's preference
    smallest = min((name for name in size if name != GAP or packing == SMALL), key=size.__getitem__)
    if packing == FAST:
        return _fastest(candidates, smallest, count), ""
    return smallest, ""


def _fastest(candidates: Candidates, smallest: str, count: Callable[[str], int | None]) -> str:
    """The packing with the fewest predicted instructions, which count more where it is long.

    The smallest one, unless a sixteenth is saved; without predictions of it gaps instead of another
    sparse stream.
    """
    least = max(1, _bytes(candidates[smallest][2]))
    longer = {
        name: _bytes(packed) / (_LONGER * least) for name, (_, _, packed) in candidates.items()
    }
    dense = _bytes(candidates[DENSE][2]) if DENSE in candidates else math.inf
    known = {
        name: each
        for name, (_, _, packed) in candidates.items()
        # lists of nearly all weights would be another kernel for a small gain
        if (name not in SPARSE or _bytes(packed) < _LONGER * dense)
        and (each := count(name)) is not None
    }
    if smallest not in known:
        return GAP if smallest in SPARSE and longer.get(GAP, 2.0) <= 1.0 else smallest
    fastest = min(known, key=lambda name: known[name] * max(1.0, longer[name]))
    gain = known[fastest] * max(1.0, longer[fastest]) / max(1, known[smallest])
    return fastest if gain <= _FASTER else smallest


def _bytes(packed: Packed | None) -> int:
    return packed.bytes if packed else 0


def _weights(layer: Layer) -> int:
    return layer.node.weights.codes.size if layer.node.weights is not None else 0


def check_stream(node: Node, packed: Packed | None) -> None:
    """The bytes that go to flash are decoded once, here, and compared."""
    if node.weights is None or packed is None:
        return
    if not np.array_equal(unpack(packed, node.weights.codes.shape), node.weights.values):
        raise AssertionError(f'"{node.name}": {packed.packing} does not decode to its weights')
