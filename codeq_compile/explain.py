# SPDX-License-Identifier: Apache-2.0
"""Why a plan is as it is: of each layer every packing and kernel there could be, with its price."""

from collections.abc import Iterator
from dataclasses import dataclass

from codeq_compile import cost
from codeq_compile.ir.graph import Node
from codeq_compile.ir.types import Packed, Weights
from codeq_compile.kernels import Kernel, rows, serving
from codeq_compile.packing import CODECS
from codeq_compile.plan import (
    AUTO,
    DENSE,
    GAP,
    HUFFMAN,
    NARROW,
    SMALL,
    Layer,
    Plan,
    for_kernel,
    otherwise,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """A kernel that reads one packing, or the reason why there is none.

    Parameters
    ----------
    packing : str, optional
        None for ops without weights.
    kernel : str, optional
        Its symbol, or its family with the instruction set where the family cannot serve the layer;
        None where the packing cannot be used at all.
    weights_bytes, scratch_bytes, instructions : int, optional
        Stream and table of levels; RAM while it runs; predicted instructions of one call. None
        where it is not known.
    error : float, optional
        Largest relative error of such predictions for layers that were not fitted.
    verdict : str
        ``"chosen"``, or why it was not.
    """

    packing: str | None
    kernel: str | None = None
    weights_bytes: int | None = None
    scratch_bytes: int | None = None
    instructions: int | None = None
    error: float | None = None
    verdict: str

    @property
    def is_chosen(self) -> bool:
        return self.verdict == CHOSEN


CHOSEN = "chosen"


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """One layer: its options, that which was chosen first.

    Parameters
    ----------
    index : int
        As in the C files, from 1.
    name, op : str
    options : tuple of Option
    """

    index: int
    name: str
    op: str
    options: tuple[Option, ...]


def explain(plan: Plan) -> tuple[Explanation, ...]:
    """Every layer of a plan."""
    return tuple(
        Explanation(
            index=layer.index,
            name=layer.node.name,
            op=layer.node.op.kind,
            options=tuple(sorted(_options(plan, layer), key=lambda option: not option.is_chosen)),
        )
        for layer in plan.layers
    )


def _options(plan: Plan, layer: Layer) -> Iterator[Option]:
    candidates = plan.candidates(layer)
    for node, _, packed in candidates.values():
        yield from _kernels(plan, layer, node, packed)
    if layer.node.weights is not None:
        for name in CODECS:
            if name not in candidates:
                yield Option(packing=name, verdict=_refusal(layer, layer.node.weights, name))


def _refusal(layer: Layer, weights: Weights, packing: str) -> str:
    """Why a packing was not considered."""
    if packing not in layer.node.op.packings:
        return f"not applicable: no kernel of {layer.node.op.kind} computes from it"
    if not CODECS[packing].applies(weights):
        return f"not applicable: needs {CODECS[packing].needs}"
    if packing == HUFFMAN:
        return f"left out: --packing {SMALL} takes it where it is shortest"
    return f"not applicable: no kernel of {layer.node.op.kind} for {weights.bits} bits"


def _kernels(plan: Plan, layer: Layer, node: Node, packed: Packed | None) -> Iterator[Option]:
    """Kernels that read a packing, the preferred one first; then families that cannot."""
    op = node.op
    able = serving(op, node.params, packed, plan.target)
    for kernel in able:
        yield _priced(plan, layer, node, packed, kernel, able[0])
    unfit = op.unfit_families(node.params)
    for row in rows():
        packing, bits = (packed.packing, packed.bits) if packed else (None, None)
        fits_weights = (row.packing, row.bits, row.op) == (packing, bits, op.kind)
        if fits_weights and row.isa in plan.target.isa and row.family in unfit:
            yield Option(
                packing=packing,
                kernel=row.symbol,
                verdict=f"not applicable: {unfit[row.family]}",
            )


def _priced(
    plan: Plan, layer: Layer, node: Node, packed: Packed | None, kernel: Kernel, best: Kernel
) -> Option:
    graph, op = plan.graph, node.op
    node = for_kernel(layer, node, kernel)
    inputs, output = graph.input_types(node), graph.output_type(node)
    known = cost.model(kernel, plan.target.core)
    predicted = cost.predict(node, inputs, output, packed, kernel, plan.target.core)
    scratch = op.scratch_bytes(node.params, inputs, output, packed, kernel.family, kernel.isa)
    if kernel == layer.kernel:
        # of all its calls, where it is computed some rows at a time
        price, scratch = plan.price(layer), layer.scratch_bytes
        predicted = None if price is None else price.instructions
    return Option(
        packing=packed.packing if packed else None,
        kernel=kernel.symbol,
        weights_bytes=packed.bytes if packed else None,
        scratch_bytes=scratch,
        instructions=predicted,
        error=known.worst if known is not None and predicted is not None else None,
        verdict=_compared(plan, otherwise(plan, layer, node, kernel, packed))
        if plan.weighs_code and kernel != layer.kernel
        else _verdict(plan, layer, packed, kernel, best),
    )


def _compared(plan: Plan, other: Plan) -> str:
    """What else the network would take, where the choice was made for all of it."""
    now, then = plan.total, other.total
    if now is None or then is None:
        return "not considered: its instructions or its code are not known"
    slower = then.instructions / max(1, now.instructions) - 1.0
    differences = (
        (then.flash - now.flash, f"flash {then.flash - now.flash:+d}"),
        (round(slower, 3), f"instructions {slower:+.1%}"),
        (other.ram_bytes - plan.ram_bytes, f"RAM {other.ram_bytes - plan.ram_bytes:+d}"),
    )
    told = [text for difference, text in differences if difference]
    return "network: " + (", ".join(told) or "all the same")


def _verdict(plan: Plan, layer: Layer, packed: Packed | None, kernel: Kernel, best: Kernel) -> str:
    if kernel == layer.kernel:
        return CHOSEN
    if packed == layer.packed and kernel == best:
        chosen = layer.kernel
        return f"{chosen.isa if chosen.isa != best.isa else chosen.family} makes the arena smaller"
    if kernel != best:
        if kernel.isa != best.isa:
            return f"{best.isa} comes before {kernel.isa}"
        return f"{best.family} is the more special kernel"
    assert packed is not None, "one packing has one best kernel"
    assert layer.packed is not None, "a layer with packed weights has a packing"
    if plan.packing == layer.packed.packing or layer.note:
        return layer.note or f"{plan.packing} was asked for"
    more = packed.bytes - layer.packed.bytes
    if more > 0:
        return f"{more} bytes more"
    are_bytes = (layer.packed.packing, layer.packed.bits) == (DENSE, 8)
    is_kept = are_bytes and packed.bytes > NARROW * layer.packed.bytes
    if more < 0 and plan.packing == AUTO and packed.packing != GAP and is_kept:
        return f"{-more} bytes less, too few to decode bytes for"
    if more < 0 and plan.packing in {AUTO, SMALL} and packed.packing != GAP:
        return f"{-more} bytes less, but more RAM"
    if more < 0:
        return f"{-more} bytes less, but {plan.packing} was asked for"
    return f"as many bytes, and {layer.packed.packing} is preferred"
