# SPDX-License-Identifier: Apache-2.0
"""Why a plan is as it is: of each layer every packing and kernel there could be, with its price."""

from collections.abc import Iterator
from dataclasses import dataclass

from codeq_compile import cost, footprint
from codeq_compile.ir.graph import Node
from codeq_compile.ir.types import Packed, Weights
from codeq_compile.kernels import Kernel, rows, serving
from codeq_compile.packing import CODECS
from codeq_compile.plan import AUTO, DENSE, GAP, HUFFMAN, SMALL, Layer, Plan
from codeq_compile.plan.economy import Aim, Total
from codeq_compile.plan.flash import THRIFTIER
from codeq_compile.plan.layer import for_kernel
from codeq_compile.plan.packings import NARROW, candidates
from codeq_compile.plan.ways import Needed, another_way, serves_calls


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
    explainer = _Explainer(plan)
    return tuple(
        Explanation(
            index=layer.index,
            name=layer.node.name,
            op=layer.node.op.kind,
            options=tuple(
                sorted(explainer.options(layer), key=lambda option: not option.is_chosen)
            ),
        )
        for layer in plan.layers
    )


class _Explainer:
    """A plan, and what all its layers together take."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._now = plan.total
        self._needed = Needed(plan)

    def options(self, layer: Layer) -> Iterator[Option]:
        """All that a layer has, packing by packing."""
        found = candidates(self._plan, layer)
        for node, _, packed in found.values():
            yield from self._kernels(layer, node, packed)
        if layer.node.weights is not None:
            for name in CODECS:
                if name not in found:
                    yield Option(packing=name, verdict=_refusal(layer, layer.node.weights, name))

    def _kernels(self, layer: Layer, node: Node, packed: Packed | None) -> Iterator[Option]:
        """Kernels that read a packing, the preferred one first; then families that cannot."""
        op, target = node.op, self._plan.target
        able = serving(op, node.params, packed, target)
        for kernel in able:
            yield self._priced(layer, node, packed, kernel, able[0])
        unfit = op.unfit_families(node.params)
        for row in rows():
            packing, bits = (packed.packing, packed.bits) if packed else (None, None)
            fits_weights = (row.packing, row.bits, row.op) == (packing, bits, op.kind)
            if fits_weights and row.isa in target.isa and row.family in unfit:
                yield Option(
                    packing=packing,
                    kernel=row.symbol,
                    verdict=f"not applicable: {unfit[row.family]}",
                )

    def _priced(
        self, layer: Layer, node: Node, packed: Packed | None, kernel: Kernel, best: Kernel
    ) -> Option:
        plan, packing = self._plan, packed.packing if packed else None
        node = for_kernel(layer, node, kernel)
        if not serves_calls(plan.graph, node, kernel, layer.calls):
            verdict = "not applicable: cannot compute these rows alone"
            return Option(packing=packing, kernel=kernel.symbol, verdict=verdict)
        way = layer
        if kernel != layer.kernel:
            way = another_way(plan, layer, node, kernel, packed)
        known, price = cost.model(kernel, plan.target.core), plan.price(way)
        if kernel == layer.kernel:
            verdict = CHOSEN
        elif plan.weighed is not None:
            verdict = self._compared(layer, way, plan.weighed)
        else:
            verdict = _preference(plan, layer, packed, kernel, best)
        return Option(
            packing=packing,
            kernel=kernel.symbol,
            weights_bytes=packed.bytes if packed else None,
            scratch_bytes=way.scratch_bytes,
            instructions=None if price is None else price.instructions,
            error=known.worst if known is not None and price is not None else None,
            verdict=verdict,
        )

    def _compared(self, layer: Layer, way: Layer, aim: Aim) -> str:
        """What the network would take with another way of a layer, and what forbids it.

        Other layers stay as they are, and so does the place of every buffer.
        """
        now, then = self._now, self._total(layer, way)
        if now is None or then is None:
            return "not considered: its instructions or its code are not known"
        flash, count = then.flash - now.flash, then.instructions - now.instructions
        ram = max(0, self._needed(way) - self._plan.arena_bytes)
        differences = (
            (flash, f"flash {flash:+d}"),
            (count, f"instructions {count / max(1, now.instructions):+.1%}"),
            (ram, f"RAM {ram:+d}"),
        )
        told = ", ".join(text for difference, text in differences if difference) or "all the same"
        reason = _reason(now, then, aim, needs_ram=ram > 0)
        return f"network: {told}; {reason}" if reason else f"network: {told}"

    def _total(self, layer: Layer, way: Layer) -> Total | None:
        plan, now = self._plan, self._now
        before, after = plan.price(layer), plan.price(way)
        others = [each.kernel for each in plan.layers if each.index != layer.index]
        code = footprint.predict([*others, way.kernel], plan.target.core)
        if now is None or before is None or after is None or code is None:
            return None
        data = now.data + way.data_bytes - layer.data_bytes
        count = now.instructions + after.instructions - before.instructions
        return Total(data=data, flash=data + code, instructions=count)


def _reason(now: Total, then: Total, aim: Aim, *, needs_ram: bool) -> str:
    """What speaks against another total; empty where nothing does but RAM or a tie."""
    if then.data > aim.most.data:
        return "above the limit of weights"
    if then.flash > aim.most.flash:
        return "more flash than allowed"
    if then.instructions > aim.most.instructions:
        return "slower than the shortest weights"
    (_, before), (_, after) = aim.rank(now), aim.rank(then)
    if THRIFTIER * before < after < before and not aim.is_speed and not needs_ram:
        return "too little is saved"
    if after <= before:
        return ""
    if not aim.is_speed:
        return f"flash times instructions {after / before - 1:+.1%}"
    return "slower" if then.instructions > now.instructions else "too little for its flash"


def _refusal(layer: Layer, weights: Weights, packing: str) -> str:
    """Why a packing was not considered."""
    if packing not in layer.node.op.packings:
        return f"not applicable: no kernel of {layer.node.op.kind} computes from it"
    if not CODECS[packing].applies(weights):
        return f"not applicable: needs {CODECS[packing].needs}"
    if packing == HUFFMAN:
        return f"left out: --packing {SMALL} takes it where it is shortest"
    return f"not applicable: no kernel of {layer.node.op.kind} for {weights.bits} bits"


def _preference(
    plan: Plan, layer: Layer, packed: Packed | None, kernel: Kernel, best: Kernel
) -> str:
    """Why a kernel comes after the chosen one where each layer has its own choice."""
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
