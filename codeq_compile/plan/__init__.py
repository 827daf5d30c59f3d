# SPDX-License-Identifier: Apache-2.0
"""Every decision of a compilation, made once: packing, kernel, scratch and place of each layer."""

from codeq_compile.ir.graph import Graph
from codeq_compile.memory import Io
from codeq_compile.ops.base import align4
from codeq_compile.plan.flash import economical
from codeq_compile.plan.layer import operands
from codeq_compile.plan.packings import check_packing, check_stream, choose_alone, shrunk
from codeq_compile.plan.ram import fitting, flowing, in_place, lean, with_room
from codeq_compile.plan.types import (
    AUTO,
    CHOICES,
    DENSE,
    FAST,
    GAP,
    HUFFMAN,
    SMALL,
    Layer,
    Plan,
    Streaming,
)
from codeq_compile.plan.ways import assemble
from codeq_compile.target import Target

__all__ = [
    "AUTO",
    "CHOICES",
    "DENSE",
    "FAST",
    "GAP",
    "HUFFMAN",
    "SMALL",
    "Layer",
    "Plan",
    "Streaming",
    "operands",
    "plan",
]


def plan(
    graph: Graph,
    target: Target,
    packing: str = AUTO,
    io: Io = "caller",
    weights: int | None = None,
    stream: Streaming = "off",
    ram: int | None = None,
    *,
    flash: int | None = None,
    weigh_code: bool = True,
) -> Plan:
    """Decide everything for a lowered graph.

    Parameters
    ----------
    graph : Graph
        Lowered: `codeq_compile.passes.run` has run on it.
    target : Target
    packing : str
        ``"auto"``: the fewest bytes for each layer, ``gap`` and ``huffman`` left out, but dense
        bytes where nothing saves a third of them; then, with `weigh_code`, other packings and
        kernels where the network takes less flash, the code of its kernels included, and no more
        instructions and RAM; ``"fast"``: the fewest predicted instructions,
        where a packing more than twice as long as the shortest must be faster in proportion, dense
        bytes where no form saves a third of them, and no instructions spent on a smaller arena:
        scratch may be as much again as the largest tensor;
        ``"small"``: the fewest bytes, ``huffman`` included, read weight by weight. With all
        three, int8 weights take the shortest of their `forms`. Else one codec for all layers whose
        op has kernels for it, dense for the others, and weights as the model has them.
    io : {"caller", "arena"}
        Where inputs and outputs stand: in the arena they share bytes with other tensors, and a run
        overwrites its inputs.
    weights : int, optional
        Bytes of weights and tables that ``"auto"`` shall not exceed: the layers that gain most are
        packed as with ``"small"``, as many as that needs, whether it is enough or not.
    stream : {"off", "auto"}
        Whether layers may be executed some rows at a time where that makes the arena smaller by a
        tenth or more. It costs instructions: each call decodes its weights again.
    ram : int, optional
        Bytes of arena, state, inputs and outputs that are enough: layers are computed in rows, and
        take slower kernels or longer packings of less scratch, no more than that needs and those of
        the fewest predicted instructions; and scratch may take what is left.
    flash : int, optional
        Predicted bytes of weights, tables and kernels that ``"auto"`` may take: packings and
        kernels of fewer instructions than without this limit, if all of it saves a sixteenth, or
        of less flash.
    weigh_code : bool
        Without it ``"auto"`` knows the weights' bytes alone: what training is after, which makes
        weights shorter, and counts them often.

    Raises
    ------
    InputError
        There is no such packing, or some layer's weights cannot be stored in it.
    NoKernel
        A layer has no kernel on this target.
    """
    assert graph.is_lowered, "passes.run comes before plan"
    check_packing(graph, packing)
    nodes = [node for node in graph.nodes if not node.op.is_view]
    layers: list[Layer] = []
    state = 0
    for index, node in enumerate(nodes, start=1):
        layers.append(choose_alone(graph, node, index, target, packing, state))
        state += align4(layers[-1].state_bytes)
    if packing == AUTO and weights is not None:
        layers = shrunk(graph, target, layers, weights)
    plain = assemble(graph, target, packing, layers, io)
    if ram is not None:
        is_short = packing == SMALL or weights is not None
        decided = fitting(graph, plain, stream, ram, is_short=is_short)
    else:
        decided = plain if packing == FAST else in_place(lean(plain))
        if stream == "auto":
            decided = flowing(plain, decided)
    decided = with_room(decided, ram)
    if packing == AUTO and weigh_code:
        decided = economical(graph, decided, weights, ram, flash)
    for layer in decided.layers:
        check_stream(layer.node, layer.packed)
    return decided
