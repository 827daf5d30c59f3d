# SPDX-License-Identifier: Apache-2.0
"""Why a plan is as it is: of each layer every packing and kernel there could be, with its price."""

from collections.abc import Iterator
from dataclasses import dataclass

from codeq_compile import cost, footprint
from codeq_compile.economy import Total
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
    THRIFTIER,
    Layer,
    Needed,
    Plan,
    another_way,
    for_kernel,
    serves_calls,
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
    network = _Network(plan)
    return tuple(
        Explanation(
            index=layer.index,
            name=layer.node.name,
            op=layer.node.op.kind,
            options=tuple(
                sorted(_options(network, layer), key=lambda option: not option.is_chosen)
            ),
        )
        for layer in plan.layers
    )


class _Network:
    """What the whole takes, beside which an option of a layer stands."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._now = plan.total
        self._needed = Needed(plan)

    def verdict(self, layer: Layer, way: Layer) -> str:
        """What the network would take with another way of a layer, and the limit that forbids it.

        Other layers stay as they are, and so does the place of every buffer.
        """
        plan, most, then = self.plan, self.plan.weighed, self._total(layer, way)
        if self._now is None or most is None or then is None:
            return "not considered: its instructions or its code are not known"
        flash, count = then.flash - self._now.flash, then.instructions - self._now.instructions
        ram = max(0, self._needed(way) - plan.arena_bytes)
        differences = (
            (flash, f"flash {flash:+d}"),
            (count, f"instructions {count / max(1, self._now.instructions):+.1%}"),
            (ram, f"RAM {ram:+d}"),
        )
        told = ", ".join(text for difference, text in differences if difference)
        if then.data > most.data:
            reason = "; above the limit of weights"
        elif not ram and not then.excess(most) and THRIFTIER * self._now.price < then.price:
            reason = "; too little is saved" if then.price < self._now.price else ""
        else:
            reason = ""
        return f"network: {told or 'all the same'}{reason}"

    def _total(self, layer: Layer, way: Layer) -> Total | None:
        plan, now = self.plan, self._now
        before, after = plan.price(layer), plan.price(way)
        others = [each.kernel for each in plan.layers if each.index != layer.index]
        code = footprint.predict([*others, way.kernel], plan.target.core)
        if now is None or before is None or after is None or code is None:
            return None
        data = now.data + way.data_bytes - layer.data_bytes
        count = now.instructions + after.instructions - before.instructions
        return Total(data=data, flash=data + code, instructions=count)


def _options(network: _Network, layer: Layer) -> Iterator[Option]:
    candidates = network.plan.candidates(layer)
    for node, _, packed in candidates.values():
        yield from _kernels(network, layer, node, packed)
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


def _kernels(
    network: _Network, layer: Layer, node: Node, packed: Packed | None
) -> Iterator[Option]:
    """Kernels that read a packing, the preferred one first; then families that cannot."""
    plan, op = network.plan, node.op
    able = serving(op, node.params, packed, plan.target)
    for kernel in able:
        yield _priced(network, layer, node, packed, kernel, able[0])
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
    network: _Network,
    layer: Layer,
    node: Node,
    packed: Packed | None,
    kernel: Kernel,
    best: Kernel,
) -> Option:
    plan = network.plan
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
        verdict=_verdict(network, layer, node, packed, kernel, best),
    )


def _verdict(
    network: _Network,
    layer: Layer,
    node: Node,
    packed: Packed | None,
    kernel: Kernel,
    best: Kernel,
) -> str:
    plan = network.plan
    if kernel == layer.kernel:
        return CHOSEN
    if plan.weighed is not None:
        if not serves_calls(plan.graph, node, kernel, layer.calls):
            return "not applicable: cannot compute these rows alone"
        return network.verdict(layer, another_way(plan, layer, node, kernel, packed))
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
