# SPDX-License-Identifier: Apache-2.0
"""Every decision of a compilation, made once: packing, kernel, scratch and place of each layer."""

import difflib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

import numpy as np

from codeq_compile import cost, economy, footprint
from codeq_compile.errors import InputError, NoKernel
from codeq_compile.ir.graph import Graph, Node
from codeq_compile.ir.op import CArray, c_arrays
from codeq_compile.ir.types import Packed
from codeq_compile.kernels import Kernel, select, serving
from codeq_compile.memory import Io, MemoryPlan, Stream, bytes_alive, choose_streams, plan_memory
from codeq_compile.memory.choice import WORTH
from codeq_compile.memory.streams import Banded, Call, banded, distinct_bands
from codeq_compile.ops.base import SPARSE, align4
from codeq_compile.packing import CODECS, applicable, forms, pack, unpack
from codeq_compile.target import Target

AUTO = "auto"
DENSE = "dense"
FAST = "fast"
"""The packing that is read in least time, unless it is much longer."""
SMALL = "small"
"""The shortest packing, however long it takes to read."""
GAP, HUFFMAN = "gap", "huffman"
CHOICES = frozenset({AUTO, FAST, SMALL})
"""What is no codec, but leaves the codec and the form of the weights to `plan`."""
_LONGER = 2
"""How much longer a stream may be that is faster; beyond, it must be faster in proportion."""
_FASTER = 15 / 16
"""Share of its instructions that a stream must be down to before it may be longer."""
NARROW = 2 / 3
"""Share of dense bytes, which kernels use where they stand, that weights are decoded for.

Less would not pay for the instructions, nor for a kernel that no other layer may need.
"""
_LITTLE = 1.125
"""What slower kernels of less scratch may cost in instructions of the network, unasked."""
_MUCH = 512
"""Bytes that each of them must save."""
THRIFTIER = 15 / 16
"""Share of flash times instructions that other packings and kernels must come down to: a smaller
gain is less than what predictions can tell.
"""

_UNLIMITED = 1 << 62

Streaming = Literal["off", "auto"]
"""Whether layers are executed some rows at a time: never, or where the arena becomes smaller."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A node that is executed (a view is not), and what was decided for it.

    Parameters
    ----------
    index : int
        Position among the layers, from 1, as in ``l01``.
    node : Node
    kernel : Kernel
    packed : Packed, optional
        The weights as they stand in flash.
    costs : dict of str to int
        Bytes of each packing that has a kernel here, in the op's order of preference.
    note : str
        Why the packing is not the one that was asked for; else empty.
    scratch_bytes : int
    state_offset, state_bytes : int
        Place in the caller's state of what lives from one inference to the next.
    tables_bytes : int
        Flash for biases, multipliers, functions and levels.
    padding_bytes : int
        Between these and the weights in a linked image: compilers for Arm align arrays to words.
    macs, macs_done : int
        Multiply-accumulates of one inference, and those that are left where zeros are skipped.
    calls : tuple of Call
        With some rows each, where the layer is a part of a stream; else empty.
    """

    index: int
    node: Node
    kernel: Kernel
    packed: Packed | None
    costs: dict[str, int]
    note: str
    scratch_bytes: int
    state_offset: int
    state_bytes: int
    tables_bytes: int
    padding_bytes: int
    macs: int
    macs_done: int
    calls: tuple[Call, ...] = ()

    @property
    def weights_bytes(self) -> int:
        """Flash for the packed stream; a table of levels counts as a table."""
        return len(self.packed.data) if self.packed else 0

    @property
    def data_bytes(self) -> int:
        """Flash for weights and tables, with what aligns them."""
        return self.weights_bytes + self.tables_bytes + self.padding_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All that the emitter needs to know.

    Parameters
    ----------
    graph : Graph
        Lowered.
    target : Target
    packing : str
        What was asked for: ``"auto"`` or the name of a codec.
    layers : tuple of Layer
        In order of execution.
    memory : MemoryPlan
    weighed : Total, optional
        What packings and kernels, chosen for the whole network with their code, might take; None
        where they were chosen for each layer.
    """

    graph: Graph = field(repr=False)
    target: Target
    packing: str
    layers: tuple[Layer, ...]
    memory: MemoryPlan = field(repr=False)
    weighed: economy.Total | None = field(default=None, repr=False)

    def price(self, layer: Layer) -> cost.Price | None:
        """Predicted instructions of a layer, all its calls together; None where nothing is known
        of its kernel here.
        """
        node, core = layer.node, self.target.core
        whole = (node, self.graph.input_types(node), self.graph.output_type(node))
        bands = (banded(self.graph, node, call.rows) for call in layer.calls)
        parts = [(band.node, band.inputs, band.output) for band in bands if band] or [whole]
        found = [cost.price(*part, layer.packed, layer.kernel, core) for part in parts]
        known = [price for price in found if price is not None]
        return cost.total(known) if len(known) == len(found) else None

    def candidates(self, layer: Layer) -> "Candidates":
        """What the choice of its packing was made from."""
        forms = _written(self.graph, layer.node, self.packing)
        found = _candidates(forms, self.target, self.packing)
        packed = layer.packed
        if packed is not None and found.get(packed.packing, (None,))[-1] != packed:
            # a limit asked for another form than the shortest, or for prefix codes
            found[packed.packing] = layer.node, layer.kernel, packed
        return found

    def prices(self, layer: Layer) -> dict[str, cost.Price]:
        """Predicted instructions in every packing that has a kernel here, as far as known."""
        core, graph = self.target.core, self.graph
        inputs, output = graph.input_types(layer.node), graph.output_type(layer.node)
        found = {
            name: cost.price(for_kernel(layer, node, kernel), inputs, output, packed, kernel, core)
            for name, (node, kernel, packed) in self.candidates(layer).items()
        }
        return {name: price for name, price in found.items() if price is not None}

    @property
    def instructions(self) -> int | None:
        """Predicted for one inference; None where it is not known of every layer."""
        prices = [self.price(layer) for layer in self.layers]
        known = [price.instructions for price in prices if price is not None]
        return sum(known) if len(known) == len(prices) else None

    @property
    def total(self) -> economy.Total | None:
        """Flash for weights, tables and kernels, and instructions, predicted; None where they are
        not known.
        """
        code = footprint.predict((layer.kernel for layer in self.layers), self.target.core)
        instructions = self.instructions
        if code is None or instructions is None:
            return None
        data = self.data_bytes
        return economy.Total(data=data, flash=data + code, instructions=instructions)

    @property
    def data_bytes(self) -> int:
        """Flash for weights and tables, with what aligns them."""
        return sum(layer.data_bytes for layer in self.layers)

    @property
    def weights_bytes(self) -> int:
        """Flash for packed weights."""
        return sum(layer.weights_bytes for layer in self.layers)

    @property
    def tables_bytes(self) -> int:
        """Flash for all other constant arrays."""
        return sum(layer.tables_bytes for layer in self.layers)

    @property
    def padding_bytes(self) -> int:
        """Flash between constant arrays in a linked image."""
        return sum(layer.padding_bytes for layer in self.layers)

    @property
    def arena_bytes(self) -> int:
        """RAM for activations and scratch."""
        return self.memory.arena_bytes

    @property
    def input_bytes(self) -> int:
        """RAM for the caller's input buffers; 0 where the inputs stand in the arena."""
        return self._caller_bytes(self.graph.inputs)

    @property
    def output_bytes(self) -> int:
        """RAM for the caller's output buffers; 0 where the outputs stand in the arena."""
        return self._caller_bytes(self.graph.outputs)

    def _caller_bytes(self, names: Iterable[str]) -> int:
        if self.memory.io == "arena":
            return 0
        return sum(self.graph.tensors[name].bytes for name in names)

    @property
    def state_bytes(self) -> int:
        """RAM that the caller keeps from one inference to the next."""
        return sum(align4(layer.state_bytes) for layer in self.layers)

    @property
    def ram_bytes(self) -> int:
        """Arena, state, inputs and outputs; not the stack."""
        return self.arena_bytes + self.state_bytes + self.input_bytes + self.output_bytes

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one inference when nothing is skipped."""
        return sum(layer.macs for layer in self.layers)

    @property
    def macs_done(self) -> int:
        """Those that the chosen kernels execute."""
        return sum(layer.macs_done for layer in self.layers)


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
        Predicted bytes of weights, tables and kernels that ``"auto"`` shall not exceed, whatever
        instructions that takes.
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
    _check_packing(graph, packing)
    nodes = [node for node in graph.nodes if not node.op.is_view]
    layers: list[Layer] = []
    state = 0
    for index, node in enumerate(nodes, start=1):
        layers.append(_layer(graph, node, index, target, packing, state))
        state += align4(layers[-1].state_bytes)
    if packing == AUTO and weights is not None:
        layers = _shrunk(graph, target, layers, weights)
    plain = _plan(graph, target, packing, layers, io)
    if ram is not None:
        is_short = packing == SMALL or weights is not None
        decided = _fitting(graph, plain, stream, ram, is_short=is_short)
    else:
        decided = plain if packing == FAST else _in_place(_lean(plain))
        if stream == "auto":
            decided = _flowing(plain, decided)
    decided = _with_room(decided, ram)
    if packing == AUTO and weigh_code:
        decided = _economical(graph, decided, weights, ram, flash)
    for layer in decided.layers:
        _check_stream(layer.node, layer.packed)
    return decided


def _with_room(plan: Plan, ram: int | None) -> Plan:
    """Layers use what the arena has left, and where it may grow a little more."""
    for extra in (_extra_bytes(plan, ram), 0):
        roomy = _replan(plan, _layers_with_room(plan, extra))
        if roomy.arena_bytes <= plan.arena_bytes + extra:
            return roomy
    return plan


def _economical(
    graph: Graph, plan: Plan, weights: int | None, ram: int | None, flash: int | None
) -> Plan:
    """The plan with the packings and kernels of least flash times instructions, code included.

    The same one where that needs more flash or instructions, or more RAM than it has or may have,
    saves little, or is not known.  Where a limit of flash is missed, as near to it as may be.
    """
    now = plan.total
    if now is None:
        return plan
    most = replace(now, data=now.flash if weights is None else max(now.data, weights))
    if flash is not None and now.flash > flash:
        most = replace(most, flash=flash, instructions=_UNLIMITED)
    room = max(plan.ram_bytes, ram or 0) - plan.ram_bytes
    nodes = {node.name: node for node in graph.nodes}
    needed = Needed(plan)
    options = []
    for layer in plan.layers:
        others = _ways(nodes[layer.node.name], plan, layer)
        fitting = (way for way in others if needed(way) <= plan.arena_bytes + room)
        known = list(_known(plan, (layer, *fitting)))
        options.append([known[k] for k in economy.worth_trying([way for _, way in known])])
    core = plan.target.core
    chosen = economy.choose(
        [[way for _, way in each] for each in options],
        lambda kernels: footprint.total(kernels, core),
        most,
    )
    other = _within_room(
        plan, [each[place][0] for each, place in zip(options, chosen, strict=True)], room, needed
    )
    # without a linker nothing is aligned
    packed = sum(map(_packed_bytes, plan.layers))
    packed = now.flash if weights is None else max(packed, weights)
    best, rank = plan, (now.excess(most), THRIFTIER * now.price)
    for each in (other, _with_room(other, ram)):
        total = each.total
        is_allowed = (
            each.ram_bytes <= plan.ram_bytes + room
            and sum(map(_packed_bytes, each.layers)) <= packed
        )
        if total is not None and is_allowed and (total.excess(most), total.price) <= rank:
            best, rank = each, (total.excess(most), total.price)
    return replace(best, weighed=most)


def _within_room(plan: Plan, layers: list[Layer], room: int, needed: "Needed") -> Plan:
    """The plan with other layers, but for those that need most where the arena would be too long.

    What is alive at once is a bound of the arena, which buffers of several layers may miss.
    """
    other = _replan(plan, layers)
    for changed in sorted(layers, key=needed, reverse=True):
        if other.ram_bytes <= plan.ram_bytes + room:
            break
        first = plan.layers[changed.index - 1]
        other = _replan(other, (first if e.index == first.index else e for e in other.layers))
    return other


def _known(plan: Plan, ways: Iterable[Layer]) -> Iterator[tuple[Layer, economy.Way]]:
    """Ways whose instructions and code are known."""
    for way in ways:
        price = plan.price(way)
        if price is not None and footprint.parts(way.kernel, plan.target.core) is not None:
            yield (
                way,
                economy.Way(
                    kernel=way.kernel, bytes=way.data_bytes, instructions=price.instructions
                ),
            )


def another_way(
    plan: Plan, layer: Layer, node: Node, kernel: Kernel, packed: Packed | None
) -> Layer:
    """A layer of a plan as another kernel would execute it, in this form and packing.

    Parameters
    ----------
    plan : Plan
    layer : Layer
    node : Node
        As this kernel computes it (`for_kernel`).
    kernel : Kernel
        One that `serves_calls` says can compute its calls.
    packed : Packed, optional
    """
    return _decided(
        plan.graph,
        node,
        kernel,
        packed,
        index=layer.index,
        costs=layer.costs,
        note=layer.note,
        state_offset=layer.state_offset,
        calls=layer.calls,
    )


def _extra_bytes(plan: Plan, ram: int | None) -> int:
    """By how much scratch may make the arena longer where that saves instructions.

    Up to the bytes that are enough for the caller; `fast` without such a number takes as much again
    as the largest tensor.
    """
    if ram is not None:
        return max(0, ram - plan.ram_bytes)
    return max(kind.bytes for kind in plan.graph.tensors.values()) if plan.packing == FAST else 0


def _shrunk(graph: Graph, target: Target, layers: list[Layer], limit: int) -> list[Layer]:
    """The layers, those that gain most for a weight that is read slowly in fewer bytes."""
    excess = sum(map(_packed_bytes, layers)) - limit
    if excess <= 0:
        return layers
    nodes = {node.name: node for node in graph.nodes}
    smaller = [
        _layer(graph, nodes[layer.node.name], layer.index, target, SMALL, layer.state_offset)
        if layer.packed
        else layer
        for layer in layers
    ]
    gains = [_packed_bytes(a) - _packed_bytes(b) for a, b in zip(layers, smaller, strict=True)]
    chosen = list(layers)
    for place in sorted(range(len(layers)), key=lambda k: -gains[k] / max(1, _weights(layers[k]))):
        if excess > 0 and gains[place] > 0:
            chosen[place] = smaller[place]
            excess -= gains[place]
    return chosen


def _packed_bytes(layer: Layer) -> int:
    return layer.weights_bytes + layer.tables_bytes


def _weights(layer: Layer) -> int:
    return layer.node.weights.codes.size if layer.node.weights is not None else 0


def _lean(plan: Plan) -> Plan:
    """Layers take kernels that need less scratch, each if that makes the arena much smaller.

    Where the network's instructions would be more than `_LITTLE` times as many they do not.
    """

    def is_cheap(trial: Plan) -> bool:
        before, after = plan.instructions, trial.instructions
        return before is not None and after is not None and after <= _LITTLE * before

    best = plan
    for layer in sorted(plan.layers, key=lambda layer: -layer.scratch_bytes):
        leaner = min((layer, *_other_kernels(plan, layer)), key=lambda each: each.scratch_bytes)
        if leaner is layer or layer.scratch_bytes <= (1 - WORTH) * plan.arena_bytes:
            continue
        trial = _replan(best, (leaner if e.index == layer.index else e for e in best.layers))
        saved = best.arena_bytes - trial.arena_bytes
        if saved >= _MUCH and is_cheap(trial) and trial.arena_bytes <= WORTH * best.arena_bytes:
            best = trial
    return best


def _fitting(graph: Graph, plain: Plan, stream: Streaming, ram: int, *, is_short: bool) -> Plan:
    """The plan of the fewest predicted instructions that is within a budget.

    Where flash is short, longer weights are the last resort.  Where there is no such plan, the
    smallest one: the budget then says what is missing.
    """

    def rank(plan: Plan) -> tuple[int, float]:
        return max(plan.ram_bytes, ram), plan.instructions or math.inf

    def least(*, may_grow: bool) -> Plan:
        best = min(plain, _within(graph, plain, ram, may_grow=may_grow), key=rank)
        # one with streams may be faster
        for streamed in _streamings(graph, plain, ram, may_grow) if stream == "auto" else ():
            best = min(best, _within(graph, streamed, ram, may_grow=may_grow), key=rank)
            if best.ram_bytes <= ram:
                break
        return best

    if plain.ram_bytes <= ram:
        return plain
    best = least(may_grow=not is_short)
    if best.ram_bytes <= ram or not is_short:
        return best
    return min(best, least(may_grow=True), key=rank)


def _streamings(graph: Graph, plain: Plan, ram: int, may_grow: bool) -> Iterator[Plan]:
    """With streams, those of the fewest calls first."""
    yield _streamed(plain, ram - (plain.ram_bytes - plain.arena_bytes))
    yield _streamed(plain)
    yield _streamed(_within(graph, plain, 0, may_grow=may_grow))


def _within(graph: Graph, plan: Plan, ram: int, *, may_grow: bool) -> Plan:
    """Layers take kernels and packings that need less RAM, as few as a budget asks for; longer ones
    if their weights may grow.

    All of them at first, since many may be as greedy; then each is put back, or takes the cheapest
    way that is within the budget. What is not enough comes as near as it can.
    """
    nodes = {node.name: node for node in graph.nodes}
    needed = Needed(plan)

    def ways_of(layer: Layer) -> Iterator[Layer]:
        yield layer
        for way in _ways(nodes[layer.node.name], plan, layer):
            if may_grow or _packed_bytes(way) <= _packed_bytes(layer):
                yield way

    ways = [list(ways_of(layer)) for layer in plan.layers]
    leanest = [min(each, key=needed) for each in ways]
    best = _replan(plan, leanest)
    if best.ram_bytes >= plan.ram_bytes:
        return plan

    def price(layer: Layer) -> float:
        found = plan.price(layer)
        return found.instructions if found else math.inf

    changed = [each for each, least in zip(ways, leanest, strict=True) if least is not each[0]]
    for layer, *others in changed:
        room = max(ram, best.ram_bytes) - (best.ram_bytes - best.arena_bytes)
        fitting = [way for way in (layer, *others) if needed(way) <= room]
        for way in sorted(fitting, key=lambda way: (way is not layer, price(way))):
            trial = _replan(best, (way if e.index == way.index else e for e in best.layers))
            if trial.ram_bytes <= max(ram, best.ram_bytes):
                best = trial
                break
    return best


class Needed:
    """Bytes alive in the arena while a layer is executed, by the way in which it is."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._places = {node.name: place for place, node in enumerate(plan.graph.nodes)}
        self._beside: dict[tuple[int, tuple[int, ...]], int] = {}

    def __call__(self, way: Layer) -> int:
        node, memory = way.node, self._plan.memory
        key = way.index, node.op.overwrites(node.params)
        if key not in self._beside:
            place = self._places[node.name]
            nodes = self._plan.graph.nodes
            graph = self._plan.graph.with_nodes((*nodes[:place], node, *nodes[place + 1 :]))
            streams = [each.stream for each in memory.streams]
            alive = bytes_alive(graph, {}, memory.alignment, memory.io, streams)
            self._beside[key] = alive[place]
        return self._beside[key] + way.scratch_bytes


def _ways(node: Node, plan: Plan, layer: Layer) -> Iterator[Layer]:
    """A layer in each form, packing and kernel that it could have, and in its input's place."""
    for form in _written(plan.graph, node, plan.packing):
        for packed in _packings(form, plan, layer):
            for kernel in serving(form.op, form.params, packed, plan.target):
                served = _served(form, kernel)
                if serves_calls(plan.graph, served, kernel, layer.calls):
                    way = another_way(plan, layer, served, kernel, packed)
                    yield way
                    yield _overwriting(plan.graph, way)


def _packings(form: Node, plan: Plan, layer: Layer) -> Iterator[Packed | None]:
    """Those that a layer could have, where that is for the compiler to choose."""
    if form.weights is None or layer.packed is None:
        yield None
    elif plan.packing not in CHOICES:
        yield layer.packed
    else:
        for name in applicable(form.weights, form.op.packings):
            if name != HUFFMAN or HUFFMAN in layer.costs:
                yield pack(form.weights, name)


def serves_calls(graph: Graph, node: Node, kernel: Kernel, calls: Sequence[Call]) -> bool:
    """Whether a kernel can compute the rows of each call."""
    parts = (part.node for part in distinct_bands(graph, node, calls))
    return all(kernel.family in part.op.families(part.params) for part in parts)


def _other_kernels(plan: Plan, layer: Layer) -> Iterator[Layer]:
    """The layer in each kernel that reads its packing."""
    for kernel in serving(layer.node.op, layer.node.params, layer.packed, plan.target):
        if kernel != layer.kernel:
            node = _served(layer.node, kernel)
            scratch = _scratch_bytes(plan.graph, node, kernel, layer.packed, layer.calls)
            yield replace(layer, node=node, kernel=kernel, scratch_bytes=scratch)


def _in_place(plan: Plan) -> Plan:
    """Layers that take their input's place at a price, if that makes the arena smaller.

    As few of them as serve: the others are put back one by one.
    """
    changed = {each.node.name: each for each in map(partial(_overwriting, plan.graph), plan.layers)}
    dear = [layer for layer in plan.layers if changed[layer.node.name] is not layer]
    best = _replan(plan, changed.values())
    if best.arena_bytes > WORTH * plan.arena_bytes:
        return plan
    for layer in dear:
        trial = _replan(
            best, (layer if each.index == layer.index else each for each in best.layers)
        )
        if trial.arena_bytes <= best.arena_bytes:
            best = trial
    return best


def _overwriting(graph: Graph, layer: Layer) -> Layer:
    kernel, node = layer.kernel, layer.node
    params = node.op.overwriting(node.params, kernel.family, kernel.isa)
    if node.op.overwrites(params) == node.op.overwrites(node.params):
        return layer
    return _with_params(graph, layer, params)


def _with_params(graph: Graph, layer: Layer, params: Any) -> Layer:
    node = replace(layer.node, params=params)
    scratch = _scratch_bytes(graph, node, layer.kernel, layer.packed, layer.calls)
    return replace(layer, node=node, scratch_bytes=scratch)


def _flowing(plain: Plan, smallest: Plan) -> Plan:
    """The plan with streams, if they make the arena much smaller."""
    flowing = _in_place(_streamed(plain))
    return flowing if flowing.arena_bytes <= WORTH * smallest.arena_bytes else smallest


def _streamed(plan: Plan, enough: int = 0) -> Plan:
    """With those streams that make the arena smallest, or small enough."""
    graph, memory = plan.graph, plan.memory
    scratch = {layer.node.name: layer.scratch_bytes for layer in plan.layers}
    streams = choose_streams(
        graph, scratch, partial(scratch_in, plan), memory.alignment, memory.io, max(0, enough)
    )
    return with_streams(plan, streams) if streams else plan


def with_streams(plan: Plan, streams: Sequence[Stream]) -> Plan:
    """The same decisions, with some layers executed some rows at a time.

    Parameters
    ----------
    plan : Plan
        Without streams.
    streams : sequence of Stream
        In order of execution; every kernel of theirs can compute its rows.
    """
    calls: dict[str, list[Call]] = {}
    for call in (call for stream in streams for call in stream.calls):
        calls.setdefault(call.layer, []).append(call)
    layers = [
        _with_params(
            plan.graph, replace(each, calls=tuple(calls.get(each.node.name, ()))), each.node.params
        )
        for each in plan.layers
    ]
    return _plan(plan.graph, plan.target, plan.packing, layers, plan.memory.io, streams)


def scratch_in(plan: Plan, stream: Stream) -> dict[str, int] | None:
    """Scratch of the layers of a stream; None if a kernel cannot compute its rows."""
    names = {node.name for node in plan.graph.nodes[stream.first : stream.last + 1]}
    scratch = {}
    for layer in (layer for layer in plan.layers if layer.node.name in names):
        node, kernel = layer.node, layer.kernel
        calls = [call for call in stream.calls if call.layer == node.name]
        if not serves_calls(plan.graph, node, kernel, calls):
            return None
        scratch[node.name] = _scratch_bytes(plan.graph, node, kernel, layer.packed, calls)
    return scratch


def _replan(plan: Plan, layers: Iterable[Layer]) -> Plan:
    streams = [each.stream for each in plan.memory.streams]
    return _plan(plan.graph, plan.target, plan.packing, list(layers), plan.memory.io, streams)


def _plan(
    graph: Graph,
    target: Target,
    packing: str,
    layers: list[Layer],
    io: Io,
    streams: Sequence[Stream] = (),
) -> Plan:
    decided = {layer.node.name: layer.node for layer in layers}
    graph = graph.with_nodes(tuple(decided.get(node.name, node) for node in graph.nodes))
    scratch = {layer.node.name: layer.scratch_bytes for layer in layers}
    return Plan(
        graph=graph,
        target=target,
        packing=packing,
        layers=tuple(layers),
        memory=plan_memory(graph, scratch, target.alignment, io, streams),
    )


def _layers_with_room(plan: Plan, extra: int) -> Iterator[Layer]:
    """Each layer, using what the arena has left while it is executed, and so many bytes more."""
    position = {node.name: position for position, node in enumerate(plan.graph.nodes)}
    for layer in plan.layers:
        node = layer.node
        room = plan.memory.room(position[node.name]) + extra
        yield _with_params(plan.graph, layer, node.op.with_scratch(node.params, room))


def _scratch_bytes(
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


def _check_packing(graph: Graph, packing: str) -> None:
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


def _layer(
    graph: Graph, node: Node, index: int, target: Target, packing: str, state_offset: int
) -> Layer:
    inputs, output = graph.input_types(node), graph.output_type(node)
    candidates = _candidates(_written(graph, node, packing), target, packing)

    def count(name: str) -> int | None:
        node, kernel, packed = candidates[name]
        return cost.predict(_served(node, kernel), inputs, output, packed, kernel, target.core)

    name, note = _choice(node, candidates, packing, count)
    node, kernel, packed = candidates[name]
    return _decided(
        graph,
        _served(node, kernel),
        kernel,
        packed,
        index=index,
        costs={name: packed.bytes for name, (_, _, packed) in candidates.items() if packed},
        note=note,
        state_offset=state_offset,
    )


def _decided(
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
        scratch_bytes=_scratch_bytes(graph, node, kernel, packed, calls),
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
    return layer.node if kernel == layer.kernel else _served(node, kernel)


def _served(node: Node, kernel: Kernel) -> Node:
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


def _written(graph: Graph, node: Node, packing: str) -> list[Node]:
    """The node with its weights in every form; as they are where a codec was asked for."""
    if node.weights is None or packing not in CHOICES:
        return [node]
    kinds = graph.input_types(node), graph.output_type(node)
    others = [replace(node, weights=form) for form in forms(node.weights)[1:]]
    return [node, *(replace(other, params=other.op.lower(other, *kinds)) for other in others)]


Candidates = dict[str, tuple[Node, Kernel, Packed | None]]
"""Layer, kernel and stream by packing, in the op's order; one entry "" for ops without weights."""


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


def _check_stream(node: Node, packed: Packed | None) -> None:
    """The bytes that go to flash are decoded once, here, and compared."""
    if node.weights is None or packed is None:
        return
    if not np.array_equal(unpack(packed, node.weights.codes.shape), node.weights.values):
        raise AssertionError(f'"{node.name}": {packed.packing} does not decode to its weights')


def _nonzeros(node: Node) -> int:
    assert node.weights is not None
    return int(np.count_nonzero(node.weights.values))
