# SPDX-License-Identifier: Apache-2.0
"""What holds a model to its budgets: RAM before training, everything else from `freeze` on."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from codeq_compile import passes
from codeq_compile import target as targets
from codeq_compile.cost import Price
from codeq_compile.errors import DoesNotFit, InputError
from codeq_compile.ir import Graph
from codeq_compile.plan import Plan, plan
from codeq_train.budget import MARGIN
from codeq_train.config import BudgetConfig
from codeq_train.cost import LayerCost, costs_of, linked_code, snapshot
from codeq_train.layers import Conv, Weighted
from codeq_train.model import QuantizedModel

MOST_CUT = 0.5
"""Share of the remaining weights that may be cut: beyond it, what is left is another network."""
LARGEST = 5
"""Layers and tensors that a message names."""

_WHAT = {
    "weights": "weights and tables",
    "flash": "flash",
    "instructions": "instructions, predicted",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Exact:
    """What a model costs as it stands.

    Parameters
    ----------
    amounts : dict of str to int
        By budget: those of `budget.STEERED` that have a limit.
    costs : list of LayerCost
    tables : int
        Bytes of all tables, with what aligns them and the weights in a linked image.
    code : int
        Bytes of code and constants; 0 where flash is not limited.
    prices : dict of str to dict of str to Price
        What a layer executes, by its name and the packing of its weights; empty where instructions
        are not limited.
    """

    amounts: dict[str, int]
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
    budget, limits = model.budget, model.config.budgets
    assert budget is not None
    graph = snapshot(model)
    decided = plan(passes.run(graph), targets.load(limits.target), limits.packing)
    code = 0
    if limits.flash is not None:
        kernels = tuple(sorted({layer.kernel.symbol for layer in decided.layers}))
        if kernels not in budget.known_code and (link or not budget.known_code):
            budget.known_code[kernels] = linked_code(graph, limits.target, limits.packing)
        code = budget.known_code.get(kernels, int(budget.code))
    tables = decided.tables_bytes + decided.padding_bytes
    weights = decided.weights_bytes + tables
    every = {"weights": weights, "flash": weights + code}
    prices = {}
    if limits.instructions is not None:
        every["instructions"] = _instructions(decided)
        prices = {layer.node.name: decided.prices(layer) for layer in decided.layers}
    return Exact(
        amounts={name: every[name] for name in budget.limits},
        costs=costs_of(decided),
        tables=tables,
        code=code,
        prices=prices,
    )


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


# -- RAM ------------------------------------------------------------------------------------------


def check_ram(graph: Graph, limits: BudgetConfig) -> None:
    """Refuse a model whose activations do not fit, before hours of training.

    Raises
    ------
    DoesNotFit
        Naming the layer at which RAM is needed most, and the tensors that are there at that time.
    """
    limit = limits.limit("ram")
    if limit is None:
        return
    decided = plan(passes.run(graph), targets.load(limits.target), limits.packing)
    if decided.ram_bytes <= limit:
        return
    memory = decided.memory
    at = decided.graph.nodes[memory.peak].name
    live = sorted(
        (buffer for buffer in memory.buffers if buffer.first <= memory.peak <= buffer.last),
        key=lambda buffer: -buffer.bytes,
    )[:LARGEST]
    lines = [
        f"RAM: {decided.ram_bytes} bytes needed, {limit} allowed: "
        f"{decided.arena_bytes} for the arena, {decided.input_bytes} for inputs, "
        f"{decided.output_bytes} for outputs",
        f'the arena is fullest at layer "{at}":',
        *(
            f"  {buffer.bytes} bytes: "
            + (f'scratch of "{buffer.name}"' if buffer.is_scratch else f'"{buffer.name}"')
            for buffer in live
        ),
        "training does not change this: neither zeros nor bits make activations smaller; give "
        "these layers fewer channels, reduce the resolution earlier, or take smaller inputs",
    ]
    raise DoesNotFit("\n".join(lines))


# -- Landing --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Landing:
    """How a model came inside its budgets.

    Parameters
    ----------
    before, after : dict of str to int
        Exact amounts by budget.
    cut : int
        Weights that became 0 for it.
    """

    before: dict[str, int]
    after: dict[str, int]
    cut: int


@torch.no_grad()
def land(model: QuantizedModel) -> Landing | None:
    """Bring a frozen model inside its budgets by cutting the least important weights.

    Importance is LAMP's, a weight's share of the squares of those in its layer that are not
    smaller, which compares layers of any scale (Lee et al., arXiv:2010.07611).  As few as possible
    are cut.
    Nothing happens where the exact amounts are inside; call it as often as you like.

    Returns
    -------
    Landing or None
        None without budgets that training can move.

    Raises
    ------
    DoesNotFit
        The budgets cannot be met by a reasonable cut; the message says by how much they are missed,
        what takes the bytes, and what would help.  The model is as it was.
    """
    budget = model.budget
    if budget is None:
        return None
    first = exact(model)
    if not _exceeded(model, first):
        return Landing(before=first.amounts, after=first.amounts, cut=0)
    layers = _prunable(model)
    masks = [_nonzero(layer) for layer in layers]
    scores = [_importance(layer, mask) for layer, mask in zip(layers, masks, strict=True)]
    order = torch.cat([score[mask] for score, mask in zip(scores, masks, strict=True)]).sort()[0]

    def cut(count: int) -> Exact:
        threshold = order[count - 1] if count else order.new_tensor(-1.0)
        for layer, mask, score in zip(layers, masks, scores, strict=True):
            assert layer.quantizer is not None
            layer.quantizer.mask = (mask & (score > threshold)).to(layer.weight.dtype)
        return exact(model)

    previous = [layer.quantizer.mask for layer in layers if layer.quantizer is not None]
    low, high = 0, int(MOST_CUT * len(order))
    least = cut(high) if high else first
    if _exceeded(model, least):
        for layer, mask in zip(layers, previous, strict=True):
            assert layer.quantizer is not None
            layer.quantizer.mask = mask
        raise DoesNotFit(_missed(model, first, least))
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _exceeded(model, cut(middle)) else (low, middle)
    return Landing(before=first.amounts, after=cut(high).amounts, cut=high)


@torch.no_grad()
def spend(model: QuantizedModel) -> int:
    """Give the bytes that are left to the layers whose rounding costs the task most.

    Widths are whole, and one bit of a large layer is a large part of a budget: what its last step
    down won too much, others can use.  Layers gain a bit one after the other, that one first whose
    loss falls most for the weights it has; the loss is estimated as the squared error of the
    weights, times the mean square of their last gradient.

    Returns
    -------
    int
        Bits that were added; 0 where no layer learns its width.
    """
    layers = {
        id(layer.weight): layer
        for layer in model.weighted()
        if layer.quantizer is not None and layer.quantizer.bits < layer.quantizer.widest
    }
    added = 0
    while layers:
        gains = {key: _gain_of_a_bit(layer) for key, layer in layers.items()}
        key = max(gains, key=lambda each: gains[each])
        quantizer = layers[key].quantizer
        assert quantizer is not None
        bits = quantizer.bits
        quantizer.settle(bits + 1)
        if gains[key] > 0.0 and not _exceeded(model, exact(model, link=False), margin=MARGIN):
            added += 1
        else:
            quantizer.settle(bits)
        if quantizer.bits == bits or quantizer.bits == quantizer.widest:
            del layers[key]
    return added


@torch.no_grad()
def _gain_of_a_bit(layer: Weighted) -> float:
    """What the loss would fall for each weight of a layer, as `spend` estimates it."""
    quantizer, gradient = layer.quantizer, layer.weight.grad
    assert quantizer is not None
    bits = quantizer.bits
    errors = []
    for width in (bits, bits + 1):
        quantizer.settle(width)
        errors.append(quantizer.levels(layer.weight).dequantize() - layer.weight)
    quantizer.settle(bits)
    sensitivity = 1.0 if gradient is None else float(gradient.square().mean())
    before, after = (float(error.square().mean()) for error in errors)
    return sensitivity * (before - after)


def check_budgets(model: QuantizedModel) -> None:
    """Say so where a model is not inside the budgets of its configuration.

    Raises
    ------
    DoesNotFit
        The message says by how much each is missed, what takes the bytes, and what would help.
    """
    if model.budget is None:
        return
    now = exact(model)
    if _exceeded(model, now):
        raise DoesNotFit(_missed(model, now, now))


def _exceeded(model: QuantizedModel, found: Exact, *, margin: float = 0.0) -> list[str]:
    limits = model.config.budgets
    share = 1.0 - margin
    return [
        name for name, amount in found.amounts.items() if amount > share * (limits.limit(name) or 0)
    ]


def _prunable(model: QuantizedModel) -> list[Weighted]:
    """Layers whose zeros save bytes; those that share a weight once."""
    found: dict[int, Weighted] = {}
    for layer in model.weighted():
        is_dense = isinstance(layer, Conv) and layer.is_depthwise
        if layer.quantizer is not None and not is_dense:
            found.setdefault(id(layer.weight), layer)
    return list(found.values())


def _nonzero(layer: Weighted) -> Tensor:
    return layer.levels().values() != 0


def _importance(layer: Weighted, mask: Tensor) -> Tensor:
    """LAMP scores in (0, 1] of the weights under `mask`, of the weight's shape."""
    square = layer.weight.double().square() * mask
    ascending, order = square.flatten().sort()
    # sums over a weight and all that are not smaller
    remaining = ascending.flip(0).cumsum(0).flip(0).clamp(min=torch.finfo(torch.double).tiny)
    scores = torch.empty_like(ascending)
    scores[order] = ascending / remaining
    return scores.reshape(square.shape)


def _missed(model: QuantizedModel, now: Exact, least: Exact) -> str:
    """By how much, where the bytes are, and what would help."""
    limits = model.config.budgets
    lines = []
    for name in _exceeded(model, now):
        limit, amount = limits.limit(name), now.amounts[name]
        assert limit is not None
        line = f"{_WHAT[name]}: {amount}, {amount - limit} more than the budget of {limit}"
        if least.amounts[name] < amount:
            line += f"; cutting {MOST_CUT:.0%} of what is left would give {least.amounts[name]}"
        lines.append(line)
    weights = sum(cost.weight_bytes for cost in now.costs)
    parts = [f"weights {weights}", f"tables {now.tables}"]
    if now.code:
        parts.append(f"code and constants {now.code}")
    lines.append(f"bytes now: {', '.join(parts)}; the largest layers:")
    largest = sorted(now.costs, key=lambda cost: -cost.weight_bytes - cost.table_bytes)[:LARGEST]
    lines += [
        f"  {cost.weight_bytes} + {cost.table_bytes} bytes: {cost.name} "
        f"({cost.weights} weights, {cost.bits} bits, {cost.sparsity:.0%} zeros, {cost.packing})"
        for cost in largest
        if cost.weights
    ]
    lines.append("what would help: " + "; ".join(_advice(model, now)))
    return "\n".join(lines)


def _advice(model: QuantizedModel, now: Exact) -> list[str]:
    limits = model.config.budgets
    configured = [model.config.layer(layer.origin.name) for layer in model.weighted()]
    smallest = limits.limit("weights")
    advice = ["more epochs before the last phase"]
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
