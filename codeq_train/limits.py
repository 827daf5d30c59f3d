# SPDX-License-Identifier: Apache-2.0
"""What a model takes of its budgets, as it is compiled; what is said where they are missed."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from codeq_compile import passes
from codeq_compile.cost import Price
from codeq_compile.errors import DoesNotFit, InputError
from codeq_compile.ir import Graph
from codeq_compile.plan import Plan, packings
from codeq_train.budget import STEERED
from codeq_train.channels import fewest_channels, pruning_layers
from codeq_train.config import BUDGETS, BudgetConfig
from codeq_train.cost import LayerCost, costs_of, linked_code, planned, shortest, snapshot
from codeq_train.layers import Conv
from codeq_train.model import QuantizedModel

MOST_CUT = 0.5
"""Share of the remaining weights that may be cut: beyond it, what is left is another network."""
LARGEST = 5
"""Layers and tensors that a message names."""

_WHAT = {
    "weights": "weights and tables",
    "flash": "flash",
    "ram": "RAM",
    "instructions": "instructions, predicted",
}
_SMALLER_TENSORS = (
    "give these layers fewer channels, reduce the resolution earlier, or take smaller inputs"
)
_LET_CHANNELS_GO = 'structure: "channel" (--structure channel), with which whole channels leave'


@dataclass(frozen=True, slots=True, kw_only=True)
class Exact:
    """What a model costs as it stands.

    Parameters
    ----------
    amounts : dict of str to int
        By budget: those that have a limit.
    source : Graph
        The integers, before any pass.
    plan : Plan
        What is compiled, if the weights are inside their limit.
    without_ram_limit : dict of str to int
        RAM, weights and instructions if RAM were not limited; empty where that much is allowed.
    costs : list of LayerCost
    tables : int
        Bytes of all tables, with what aligns them and the weights in a linked image.
    code : int
        Bytes of code and constants, and of the longer packings that take less of it; 0 where flash
        is not limited.
    prices : dict of str to dict of str to Price
        What a layer executes, by its name and the packing of its weights; empty where instructions
        are not limited.
    """

    amounts: dict[str, int]
    source: Graph = field(repr=False)
    plan: Plan = field(repr=False)
    without_ram_limit: dict[str, int]
    costs: list[LayerCost] = field(repr=False)
    tables: int
    code: int
    prices: dict[str, dict[str, Price]] = field(default_factory=dict, repr=False)


def exact(model: QuantizedModel, *, link: bool = True) -> Exact:
    """Count everything that a budget limits, as the compiler does.

    Parameters
    ----------
    model : QuantizedModel
        With budgets.
    link : bool
        Measure the code of kernels that have not been met before; else the last size stands.

    Raises
    ------
    ToolError
        Flash is limited, and there is no cross compiler.
    InputError
        Instructions are limited, and the compiler cannot predict those of a layer on the target.
    """
    limits = model.config.budgets
    graph = snapshot(model)
    lowered = passes.run(graph)
    ram = limits.limit("ram")
    free = shortest(lowered, limits)
    decided = planned(lowered, limits, free)
    code, flash = 0, limits.limit("flash")
    if flash is not None:
        whole = partial(planned, lowered, limits, free, weigh_code=True)
        total = _linked(model, whole(), graph, link=link)
        if total > flash and model.is_frozen and limits.instructions is None:
            # nothing is cut or refused for a library that fits if it may be slow
            total = min(total, _linked(model, whole(flash=0), graph, link=link))
        code = total - decided.data_bytes
    every, otherwise = _amounts(decided, limits), _amounts(free, limits)
    every["flash"] = every["weights"] + code
    # the compiler packs weights that are above their limit anew before it looks at RAM
    every["weights"] = max(every["weights"], otherwise["weights"])
    prices = {}
    if limits.instructions is not None:
        prices = {layer.node.name: packings.prices(decided, layer) for layer in decided.layers}
    return Exact(
        amounts={name: every[name] for name in BUDGETS if limits.limit(name) is not None},
        source=graph,
        plan=decided,
        without_ram_limit=otherwise if ram is not None and free.ram_bytes > ram else {},
        costs=costs_of(decided),
        tables=decided.tables_bytes + decided.padding_bytes,
        code=code,
        prices=prices,
    )


def _linked(model: QuantizedModel, compiled: Plan, source: Graph, *, link: bool) -> int:
    """Flash of a plan; of kernels that were not linked yet, and shall not be, with the code of the
    last ones that were.
    """
    budget = model.budget
    assert budget is not None
    kernels = tuple(sorted({layer.kernel.symbol for layer in compiled.layers}))
    if kernels not in budget.known_code and (link or not budget.known_code):
        budget.known_code[kernels] = linked_code(compiled, source)
    code = budget.known_code.get(kernels) or list(budget.known_code.values())[-1]
    return compiled.data_bytes + code


def _amounts(decided: Plan, limits: BudgetConfig) -> dict[str, int]:
    """What is known of a plan before it is linked."""
    amounts = {"weights": decided.data_bytes, "ram": decided.ram_bytes}
    if limits.instructions is not None:
        amounts["instructions"] = _instructions(decided)
    return amounts


def _instructions(decided: Plan) -> int:
    """Of the whole plan, predicted."""
    found = decided.instructions
    if found is None:
        unknown = [each.kernel.symbol for each in decided.layers if decided.price(each) is None]
        target = decided.target
        raise InputError(
            f"a budget of instructions needs predictions, and there are none on {target.name} "
            f"({target.core}) for {', '.join(sorted(set(unknown)))}: set budgets.target to another "
            "board, or leave budgets.instructions out"
        )
    return found


def check_instructions(decided: Plan, limits: BudgetConfig) -> None:
    """Refuse a plan of more instructions than its budget, which the compiler does not know.

    Raises
    ------
    DoesNotFit
    """
    limit, needed = limits.limit("instructions"), decided.instructions
    if limit is not None and needed is not None and needed > limit:
        raise DoesNotFit(
            f"{_WHAT['instructions']}: {needed}, {needed - limit} more than the budget of {limit}"
        )


# -- RAM ------------------------------------------------------------------------------------------


def check_ram(model: QuantizedModel) -> None:
    """Refuse a model whose activations fit in no plan, before hours of training.

    Raises
    ------
    DoesNotFit
        Naming the layer at which RAM is needed most, and the tensors that are there at that time.
    """
    limit = model.config.budgets.limit("ram")
    if limit is None:
        return
    decided = _leanest(model)
    if decided.ram_bytes <= limit:
        return
    why = (
        "neither zeros nor bits make activations smaller, so that training does not change this "
        f"but by {_LET_CHANNELS_GO}; or"
    )
    if pruning := pruning_layers(model):
        with fewest_channels(model):
            decided = _leanest(model)
        if decided.ram_bytes <= limit:
            return
        names = ", ".join(f'"{layer.origin.name}"' for layer in pruning)
        why = f"this much is left if all channels but one leave each of {names};"
    lines = [
        f"RAM: {decided.ram_bytes} bytes needed, {limit} allowed: "
        f"{decided.arena_bytes} for the arena, {decided.input_bytes} for inputs, "
        f"{decided.output_bytes} for outputs",
        *_fullest(decided),
        f"{why} {_SMALLER_TENSORS}",
    ]
    raise DoesNotFit("\n".join(lines), in_ram=True)


def _leanest(model: QuantizedModel) -> Plan:
    """The plan of least RAM, of a model that has yet to be trained."""
    # channels that are dead now may live later: a layer that lost some cannot take the place of one
    # that did not
    graph = snapshot(model)
    flows = (passes.flow_for(lossless=lossless) for lossless in (True, False))
    plans = (planned(passes.run(graph, flow), model.config.budgets) for flow in flows)
    return min(plans, key=lambda each: each.ram_bytes)


def check_floor(model: QuantizedModel) -> None:
    """Refuse budgets of flash that the tables alone exceed, before hours of training.

    Nothing is known where channels can leave, with their tables.

    Raises
    ------
    DoesNotFit
        Of all such budgets, with what takes the bytes.
    ToolError, InputError
        As `exact` has them.
    """
    limits = model.config.budgets
    if not any(limits.limit(name) for name in STEERED) or pruning_layers(model):
        return
    now = exact(model)
    missed = [
        f"{_WHAT[name]}: the tables alone are {now.tables} bytes, the budget is {limit}"
        for name in ("weights", "flash")
        if (limit := limits.limit(name)) is not None and now.tables > limit
    ]
    if missed:
        way_out = (
            "training does not make tables smaller; what does is "
            f"tables: compact, {_LET_CHANNELS_GO}, or a network with fewer channels"
        )
        raise DoesNotFit("\n".join([*missed, *_flash(now), way_out]))


def _fullest(decided: Plan) -> list[str]:
    """Lines that name the layer at which the arena is fullest, and what is there at that time."""
    memory = decided.memory
    at = decided.graph.nodes[memory.peak].name
    live = sorted(
        (buffer for buffer in memory.buffers if buffer.first <= memory.peak <= buffer.last),
        key=lambda buffer: -buffer.bytes,
    )[:LARGEST]
    return [
        f'the arena is fullest at layer "{at}":',
        *(
            f"  {buffer.bytes} bytes: "
            + (f'scratch of "{buffer.name}"' if buffer.is_scratch else f'"{buffer.name}"')
            for buffer in live
        ),
    ]


# -- What is missed --------------------------------------------------------------------------------


def check_budgets(model: QuantizedModel) -> None:
    """Say so where a model is not inside the budgets of its configuration.

    Raises
    ------
    DoesNotFit
        The message says by how much each is missed, what takes the bytes, and what would help.
    """
    if model.config.budgets.is_empty:
        return
    now = exact(model)
    if exceeded(model, now):
        raise DoesNotFit(missed(model, now, now))


def exceeded(model: QuantizedModel, found: Exact, *, margin: float = 0.0) -> list[str]:
    """Budgets that are missed; `margin` is kept where training moves the amount."""
    limits = model.config.budgets
    shares = {name: 1.0 - margin * (name in STEERED) for name in found.amounts}
    return [
        name
        for name, amount in found.amounts.items()
        if amount > shares[name] * (limits.limit(name) or 0)
    ]


def missed(model: QuantizedModel, now: Exact, least: Exact) -> str:
    """By how much, where the bytes are, and what would help."""
    limits, free = model.config.budgets, now.without_ram_limit
    over, lines = exceeded(model, now), []
    for name in over:
        limit, amount = limits.limit(name), now.amounts[name]
        assert limit is not None
        line = f"{_WHAT[name]}: {amount}, {amount - limit} more than the budget of {limit}"
        if least.amounts[name] < amount:
            line += f"; cutting {MOST_CUT:.0%} of what is left would give {least.amounts[name]}"
        if free.get(name, amount) < amount:
            line += f"; {free[name]} if layers had {free['ram']} bytes of RAM"
        lines.append(line)
        lines += _fullest(now.plan) if name == "ram" else []
    for name in exceeded(model, least):
        if name not in over:
            needed = f"{least.amounts[name]} of {limits.limit(name)}"
            lines.append(f"{_WHAT[name]}: that cut would take {needed}")
    if over != ["ram"]:
        lines += _flash(now)
    lines.append("what would help: " + "; ".join(_advice(model, now)))
    return "\n".join(lines)


def _flash(now: Exact) -> list[str]:
    """Lines that say what takes flash."""
    weights = sum(cost.weight_bytes for cost in now.costs)
    parts = [f"weights {weights}", f"tables {now.tables}"]
    if now.code:
        parts.append(f"code, constants and longer packings {now.code}")
    largest = sorted(now.costs, key=lambda cost: -cost.weight_bytes - cost.table_bytes)[:LARGEST]
    return [
        f"bytes now: {', '.join(parts)}; the largest layers:",
        *(
            f"  {cost.weight_bytes} + {cost.table_bytes} bytes: {cost.name} "
            f"({cost.weights} weights, {cost.bits} bits, {cost.sparsity:.0%} zeros, {cost.packing})"
            for cost in largest
            if cost.weights
        ),
    ]


def _advice(model: QuantizedModel, now: Exact) -> list[str]:
    limits = model.config.budgets
    configured = [model.config.layer(layer.origin.name) for layer in model.weighted()]
    smallest = limits.limit("weights")
    over = exceeded(model, now)
    advice = []
    if "ram" in over:
        advice += [
            "weights of more bits: channels whose weights are all 0 keep layers from working in "
            "place",
            _SMALLER_TENSORS if pruning_layers(model) else _LET_CHANNELS_GO,
        ]
    if over == ["ram"]:
        return [*advice, "a larger budget"]
    ram, free = limits.limit("ram"), now.without_ram_limit
    if ram is not None and any(free.get(n, now.amounts[n]) < now.amounts[n] for n in over):
        advice.append(
            f"{free['ram'] - ram} bytes more RAM: for want of it layers have packings and kernels "
            "that are longer or slower"
        )
    if configured:
        advice.append("more epochs before the last phase")
    if any(chosen.min_bits > 2 for chosen in configured):
        advice.append("min_bits: 2")
    if any(not chosen.learn_bits or not chosen.learn_dead_zone for chosen in configured):
        advice.append("learn_bits and learn_dead_zone in all layers")
    depthwise = sum(
        cost.weight_bytes
        for cost, layer in zip(weighted_costs(model, now), model.weighted(), strict=True)
        if isinstance(layer, Conv) and layer.is_depthwise
    )
    weights = sum(cost.weight_bytes for cost in now.costs)
    if depthwise > weights / 4:
        advice.append(f"fewer bits in the depthwise layers ({depthwise} bytes, always dense)")
    if smallest is not None and now.tables > smallest / 3:
        advice.append(
            f"smaller tables: {now.tables} bytes are bias, multiplier and exponent of each channel "
            '(per_channel: false where there is no BatchNorm, structure: "channel", fewer channels)'
        )
    if limits.flash is not None and now.code > (limits.limit("flash") or 0) / 2:
        advice.append("fewer kinds of layers and packings: each kernel is code")
    return [*advice, "a smaller network or a larger budget"]


def weighted_costs(model: QuantizedModel, now: Exact) -> Sequence[LayerCost]:
    """Costs of all layers with weights, in the model's order; those that are gone cost nothing."""
    named = {cost.name: cost for cost in now.costs}
    return [
        named.get(layer.origin.name, LayerCost(name=layer.origin.name))
        for layer in model.weighted()
    ]
