# SPDX-License-Identifier: Apache-2.0
"""Widths of all layers for a number of flash bytes: where rounding costs the loss least.

Rounding layer l adds ``1/2 · Tr(H_l)/n_l · ||Q(W_l) - W_l||²`` to the loss, to second order.  With
noise ``v · S² · 4^-b`` a weight and a price a bit, the best widths have a closed form; with the
true rounding errors and the packed bytes of each width, they are the solution of a small knapsack.
"""

import copy
import glob
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from codeq_compile.errors import DoesNotFit, InputError
from codeq_compile.report.table import Table, plain
from codeq_train.config import LayerConfig
from codeq_train.cost import layer_costs
from codeq_train.curvature import Batch, Loss, fisher_traces, hessian_traces
from codeq_train.layers import Conv, Scale, Weighted
from codeq_train.model import QuantizedModel
from codeq_train.prepare import prepare
from codeq_train.quantizers import make_quantizer

_UNIFORM = 1 / 12
"""Variance of a rounding error, in squared steps."""
_FLAT = 1e-6
"""Least curvature of a weight, of the largest: an estimate that is not positive still has an order
of widths, and no layer is free."""
_STATES = 1 << 17
"""Most states of the knapsack: up to 128 KiB it counts single bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerWidth:
    """The width of one layer, and why.

    Parameters
    ----------
    names : tuple of str
        The layer; several where layers share their weights.
    weights : int
        How many there are.
    curvature : float
        Mean second derivative of the loss along one weight.
    ideal_bits : float
        The closed form at the price that was found, before rounding and limits.
    bits : int
    bytes : int
        Weights and tables.
    loss_increase : float
        Predicted: what rounding adds to the loss.
    """

    names: tuple[str, ...]
    weights: int
    curvature: float
    ideal_bits: float
    bits: int
    bytes: int
    loss_increase: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocation:
    """Widths that meet a target.

    Parameters
    ----------
    widths : tuple of LayerWidth
    target_bytes, bytes : int
        Weights and tables of the whole model; what has no choice (tables of functions) is in them.
    """

    widths: tuple[LayerWidth, ...]
    target_bytes: int
    bytes: int

    @property
    def layers(self) -> dict[str, dict[str, Any]]:
        """The widths as `QuantConfig.layers`: fixed, none is learned."""
        return {
            glob.escape(name): {"bits": width.bits, "min_bits": width.bits, "learn_bits": False}
            for width in self.widths
            for name in width.names
        }

    @property
    def loss_increase(self) -> float:
        """Predicted for the whole model."""
        return sum(width.loss_increase for width in self.widths)

    def __str__(self) -> str:
        return plain(
            Table(
                title=(
                    f"{self.bytes} bytes of {self.target_bytes}; "
                    f"predicted loss + {self.loss_increase:.3g}"
                ),
                columns=("layer", "weights", "curvature", "ideal", "bits", "bytes", "loss +"),
                rows=tuple(
                    (
                        ", ".join(width.names),
                        str(width.weights),
                        f"{width.curvature:.3g}",
                        f"{width.ideal_bits:.2f}",
                        str(width.bits),
                        str(width.bytes),
                        f"{width.loss_increase:.2g}",
                    )
                    for width in self.widths
                ),
            )
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A layer with one width.

    Parameters
    ----------
    bits : int
    bytes : int
        Weights in their smallest packing, and tables.
    error : float
        Squared rounding error, summed over the weights.
    """

    bits: int
    bytes: int
    error: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One set of weights, its possible widths in ascending order, and what the closed form needs.

    `noise` is ``v · S²``: the variance of the rounding error of a weight at 0 bits.
    """

    names: tuple[str, ...]
    weights: int
    curvature: float
    noise: float
    choices: tuple[Choice, ...]

    def loss_increase(self, choice: Choice) -> float:
        return self.curvature * choice.error / 2

    def ideal_bits(self, price: float) -> float:
        return closed_form(self.curvature, self.noise, price)

    def price(self, bits: float) -> float:
        """The inverse: at which price `bits` are ideal."""
        return math.log(2.0) * self.noise * self.curvature * math.pow(4.0, -bits)


def closed_form(curvature: float, noise: float, price: float) -> float:
    """``b = 1/2 · log2(ln 2 · v · S² · Tr(H)/n / price)``: where a bit gains what it costs.

    ``1/2 · curvature · noise · 4^-b`` falls with slope ``-ln 2 · curvature · noise · 4^-b``, which
    is set to ``-price``: all layers end with the same product of curvature and noise, as in reverse
    water-filling.

    Parameters
    ----------
    curvature : float
        Second derivative of the loss along a weight, ``Tr(H)/n``.
    noise : float
        Variance of a weight's rounding error at 0 bits, ``v · S²``.
    price : float
        Loss that a bit of a weight is worth.
    """
    return 0.5 * math.log2(math.log(2.0) * noise * curvature / price)


def allocate(
    model: nn.Module,
    batches: Sequence[Batch],
    loss: Loss,
    target_bytes: int,
    *,
    curvature: Literal["hessian", "fisher"] = "hessian",
    method: Literal["exact", "closed_form"] = "exact",
    sparsity: float = 0.0,
    probes: int = 4,
) -> Allocation:
    """Widths of all layers so that weights and tables fit into `target_bytes`.

    A layer may get what its configuration allows, from `min_bits` to `bits`.  Bytes are counted by
    the compiler's own codecs, on weights and activation grids as they are: training moves both, and
    with them a few bytes.

    Parameters
    ----------
    model : nn.Module
        Trained and prepared, or float: then it is prepared with default settings.
    batches : sequence of (inputs, targets)
        A few hundred samples.
    loss : callable
        Of (outputs, targets), a mean over the batch.
    target_bytes : int
        Weights and tables.
    curvature : {"hessian", "fisher"}
        The loss's true curvature, or its mean squared gradient: that is never negative.
    method : {"exact", "closed_form"}
        The knapsack over true errors and bytes, or the rounded closed form at the smallest price
        that fits.
    sparsity : float, in [0, 1)
        Share of zeros that training is expected to reach: so many of the smallest weights of each
        layer are 0 when bytes and errors are counted.  Depthwise layers, which are stored dense,
        keep theirs.
    probes : int
        Sign vectors a layer and batch, for the Hessian.

    Returns
    -------
    Allocation

    Raises
    ------
    DoesNotFit
        Not even the smallest widths are small enough.
    InputError
        No samples, a loss that does not depend on the weights, or a share outside [0, 1).
    """
    if not 0.0 <= sparsity < 1.0:
        raise InputError(f"sparsity is a share in [0, 1), not {sparsity}")
    if not batches:
        raise InputError("widths are chosen by the loss: `batches` is empty")
    if not isinstance(model, QuantizedModel):
        model = prepare(model, batches[0][0])
    traces = (
        hessian_traces(model, batches, loss, probes=probes)
        if curvature == "hessian"
        else fisher_traces(model, batches, loss)
    )
    candidates, fixed = _candidates(model, traces, sparsity)
    left = target_bytes - fixed
    if sum(each.choices[0].bytes for each in candidates) > left:
        raise DoesNotFit(_advice(candidates, fixed, target_bytes))
    order, price = water_filling(candidates, left)
    if method == "exact":
        order = knapsack(
            [[(c.bytes, each.loss_increase(c)) for c in each.choices] for each in candidates], left
        )
    chosen = [each.choices[i] for each, i in zip(candidates, order, strict=True)]
    return Allocation(
        widths=tuple(
            LayerWidth(
                names=each.names,
                weights=each.weights,
                curvature=each.curvature,
                ideal_bits=each.ideal_bits(price),
                bits=choice.bits,
                bytes=choice.bytes,
                loss_increase=each.loss_increase(choice),
            )
            for each, choice in zip(candidates, chosen, strict=True)
        ),
        target_bytes=target_bytes,
        bytes=fixed + sum(choice.bytes for choice in chosen),
    )


def water_filling(candidates: Sequence[Candidate], budget: int) -> tuple[list[int], float]:
    """The rounded closed form at the smallest price whose widths fit, and that price.

    Bytes are a step function of the price, with a step wherever a width is rounded to the next
    lower one: the steps are taken one after the other, which finds what bisection would approach.

    Returns
    -------
    list of int
        Position of each candidate's choice; all 0 where nothing fits.
    float
        The price.
    """
    order = [len(each.choices) - 1 for each in candidates]
    steps = sorted(
        (each.price((lower.bits + upper.bits) / 2), number)
        for number, each in enumerate(candidates)
        for lower, upper in itertools.pairwise(each.choices)
    )
    price = steps[0][0] if steps else 1.0
    needed = sum(each.choices[-1].bytes for each in candidates)
    for step_price, number in steps:
        if needed <= budget:
            break
        price, choices = step_price, candidates[number].choices
        needed += choices[order[number] - 1].bytes - choices[order[number]].bytes
        order[number] -= 1
    return order, price


def knapsack(options: Sequence[Sequence[tuple[int, float]]], budget: int) -> list[int]:
    """One option of each row, so that the losses' sum is least and the bytes' sum fits.

    Dynamic programming over bytes: exact, where a greedy walk along the convex hull would leave
    bytes unused.  Above `_STATES` bytes it counts in units, rounded up: the budget is met all the
    same, and the loss is the least one for a budget smaller by less than a unit a row.

    Parameters
    ----------
    options : sequence of rows of (bytes, loss)
        The first ones of all rows fit together.
    budget : int

    Returns
    -------
    list of int
        Position of the chosen option in each row.

    Source: the integer program of HAWQ-V3 (arXiv:2011.10680), with one budget.
    """
    unit = max(1, -(-budget // _STATES))
    capacity = budget // unit
    least = np.zeros(capacity + 1)  # loss of the rows so far with at most so many units
    picks = []
    for row in options:
        losses = np.full((len(row), capacity + 1), np.inf)
        for number, (size, loss) in enumerate(row):
            units = -(-size // unit)
            if units <= capacity:
                losses[number, units:] = least[: capacity + 1 - units] + loss
        picks.append(losses.argmin(0))
        least = losses.min(0)
    if math.isinf(least[capacity]):
        return [0] * len(options)  # only rounding to units can have filled it
    chosen = []
    for row, pick in zip(reversed(options), reversed(picks), strict=True):
        chosen.append(int(pick[capacity]))
        capacity -= -(-row[chosen[-1]][0] // unit)
    return chosen[::-1]


@torch.no_grad()
def _candidates(
    model: QuantizedModel, traces: dict[str, float], sparsity: float
) -> tuple[list[Candidate], int]:
    """What can be chosen, and the bytes of what has no choice."""
    work = copy.deepcopy(model)
    groups: dict[int, list[Weighted]] = {}
    for layer in work.weighted():
        if not isinstance(layer, Scale):
            groups.setdefault(id(layer.weight), []).append(layer)
    for layers in groups.values():
        if not any(isinstance(layer, Conv) and layer.is_depthwise for layer in layers):
            _prune(layers[0].weight, sparsity)
    names = [tuple(layer.origin.name for layer in layers) for layers in groups.values()]
    choices = _choices(work, list(groups.values()))
    weights = [layers[0].weight for layers in groups.values()]
    bends = [traces[own[0]] / weight.numel() for own, weight in zip(names, weights, strict=True)]
    if names and max(bends) <= 0.0:
        raise InputError(
            "the loss does not rise along any layer's weights: give more samples, or a model that "
            'is trained; curvature="fisher" is never negative'
        )
    candidates = [
        Candidate(
            names=own,
            weights=weight.numel(),
            curvature=max(bend, _FLAT * max(bends)),
            noise=_noise(weight, model.config.layer(own[0])),
            choices=tuple(options),
        )
        for own, weight, bend, options in zip(names, weights, bends, choices, strict=True)
    ]
    chosen = {name for own in names for name in own}
    fixed = sum(
        cost.weight_bytes + cost.table_bytes
        for cost in layer_costs(work)
        if cost.name not in chosen
    )
    return candidates, fixed


def _choices(work: QuantizedModel, groups: Sequence[Sequence[Weighted]]) -> list[list[Choice]]:
    """Bytes and error of each group at each width that its configuration allows."""
    choices: list[list[Choice]] = [[] for _ in groups]
    settings = [work.config.layer(layers[0].origin.name) for layers in groups]
    for bits in range(min(s.min_bits for s in settings), max(s.bits for s in settings) + 1):
        for layers, setting in zip(groups, settings, strict=True):
            width = min(max(bits, setting.min_bits), setting.bits)
            grid = LayerConfig(quantizer="lsq", bits=width, per_channel=setting.per_channel)
            quantizer = make_quantizer(layers[0].weight, grid).to(layers[0].weight.device)
            for layer in layers:
                layer.quantizer = quantizer
        costs = {cost.name: cost.weight_bytes + cost.table_bytes for cost in layer_costs(work)}
        for options, layers, setting in zip(choices, groups, settings, strict=True):
            if setting.min_bits <= bits <= setting.bits:
                rounded = layers[0].levels().dequantize()
                options.append(
                    Choice(
                        bits=bits,
                        bytes=sum(costs[layer.origin.name] for layer in layers),
                        error=float((rounded - layers[0].weight).double().square().sum()),
                    )
                )
    return choices


def _prune(weight: Tensor, sparsity: float) -> None:
    """Make the smallest ones 0."""
    count = int(sparsity * weight.numel())
    smallest = weight.abs().flatten().topk(count, largest=False).indices
    weight.view(-1)[smallest] = 0.0


def _noise(weight: Tensor, setting: LayerConfig) -> float:
    """``v · S²`` with ``S = 2 · max|w|``, a channel's own where each has its own range."""
    largest = weight.abs().flatten(1).amax(1) if setting.per_channel else weight.abs().max()
    return _UNIFORM * float((2 * largest).square().mean())


def _advice(candidates: Sequence[Candidate], fixed: int, target_bytes: int) -> str:
    least = fixed + sum(each.choices[0].bytes for each in candidates)
    largest = sorted(candidates, key=lambda each: each.choices[0].bytes, reverse=True)[:5]
    shown = ", ".join(f"{each.names[0]} {each.choices[0].bytes}" for each in largest)
    return (
        f"the smallest widths need {least} bytes of weights and tables, {target_bytes} are given: "
        "expect zeros (sparsity), remove channels, allow fewer bits, or give more; "
        f"the largest layers: {shown}"
    )
