# SPDX-License-Identifier: Apache-2.0
"""Inside the budgets from `freeze` on: what is above them is cut, what is left of them is spent."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from codeq_compile.errors import DoesNotFit
from codeq_train.budget import MARGIN
from codeq_train.channels import alive_channels, channel_sets, pruning_layers, remembered
from codeq_train.layers import Conv, Weighted
from codeq_train.limits import MOST_CUT, Exact, exact, exceeded, missed
from codeq_train.model import QuantizedModel


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
    """Bring a frozen model inside its budgets by cutting what matters least, as little as serves.

    Importance is LAMP's, a weight's share of the squares of those in its layer that are not
    smaller, which compares layers of any scale (Lee et al., arXiv:2010.07611).  Where RAM is
    exceeded, whole channels go first, of the layers that prune them (``structure: "channel"``).
    Nothing happens where the exact amounts are inside; call it as often as you like.

    Returns
    -------
    Landing or None
        None without budgets.

    Raises
    ------
    DoesNotFit
        The budgets cannot be met by a reasonable cut; the message says by how much they are missed,
        what takes the bytes, and what would help.  The model is as it was.
    """
    if model.config.budgets.is_empty:
        return None
    now = first = most = exact(model)
    if not exceeded(model, first):
        return Landing(before=first.amounts, after=first.amounts, cut=0)
    restore, left = remembered(model), _nonzeros(model)
    ram = model.config.budgets.limit("ram")
    if ram is not None:
        now = most = prune_channels(model, first, ram=ram, most=MOST_CUT)
    if exceeded(model, now):
        now, most = _cut_weights(model, now)
    if exceeded(model, now):
        restore()
        raise DoesNotFit(missed(model, first, most))
    return Landing(before=first.amounts, after=now.amounts, cut=left - _nonzeros(model))


@torch.no_grad()
def prune_channels(model: QuantizedModel, now: Exact, *, ram: int, most: float = 1.0) -> Exact:
    """Take out channels until the model is within `ram` bytes, or no channel is left that helps.

    Those go first that the loss feels least for the bytes they take where the arena is fullest.

    Parameters
    ----------
    model : QuantizedModel
    now : Exact
        Of the model as it stands.
    ram : int
        Bytes of RAM, at most.
    most : float
        Share of the channels that may go, in [0, 1].
    """
    allowed = int(most * sum(len(alive_channels(layer)) for layer in pruning_layers(model)))
    while now.amounts["ram"] > ram and allowed > 0:
        # where one node needs less, a layer's kernel may need less scratch too: count after half
        excess, before = 0.5 * (now.amounts["ram"] - ram), allowed
        for channels in channel_sets(model, now.source, now.plan):
            if excess > 0 and channels.count <= allowed and not channels.is_last:
                channels.prune()
                excess -= channels.ram_bytes
                allowed -= channels.count
        if allowed == before:
            break
        now = exact(model)
    return now


def _cut_weights(model: QuantizedModel, first: Exact) -> tuple[Exact, Exact]:
    """Zero the fewest weights with which all budgets are met, or as many as may go.

    Returns
    -------
    tuple of Exact
        What is reached, and what the largest cut would give.
    """
    layers = _prunable(model)
    masks = [_nonzero(layer) for layer in layers]
    scores = [_importance(layer, mask) for layer, mask in zip(layers, masks, strict=True)]
    if not layers:
        return first, first
    order = torch.cat([score[mask] for score, mask in zip(scores, masks, strict=True)]).sort()[0]

    def cut(count: int) -> Exact:
        threshold = order[count - 1] if count else order.new_tensor(-1.0)
        for layer, mask, score in zip(layers, masks, scores, strict=True):
            assert layer.quantizer is not None
            layer.quantizer.mask = (mask & (score > threshold)).to(layer.weight.dtype)
        return exact(model)

    count = int(MOST_CUT * len(order))
    most = least = cut(count) if count else first
    if {"ram"} == set(exceeded(model, least)) - set(exceeded(model, first)):
        # it may rise where channels die: the largest cut within it decides
        count, _ = _step(count, lambda n: "ram" in exceeded(model, cut(n)))
        least = cut(count)
    if exceeded(model, least):
        return least, most
    _, count = _step(count, lambda n: not exceeded(model, cut(n)))
    return cut(count), most


def _step(end: int, holds: Callable[[int], bool]) -> tuple[int, int]:
    """Neighbours in 0 .. `end` of which the second is the first for which something holds.

    It is known to hold for `end` and not for 0, and may begin to hold once.
    """
    low, high = 0, end
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return low, high


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
    before = exact(model, link=False)
    missed_before, added = exceeded(model, before, margin=MARGIN), 0

    def is_allowed(now: Exact) -> bool:
        """What was missed before, as RAM by channels that are still to go, must only not grow."""
        grown = [n for n in missed_before if now.amounts[n] > before.amounts[n]]
        return not grown and set(exceeded(model, now, margin=MARGIN)) <= set(missed_before)

    while layers:
        gains = {key: _gain_of_a_bit(layer) for key, layer in layers.items()}
        key = max(gains, key=lambda each: gains[each])
        quantizer = layers[key].quantizer
        assert quantizer is not None
        bits = quantizer.bits
        quantizer.settle(bits + 1)
        if gains[key] > 0.0 and is_allowed(exact(model, link=False)):
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


def _nonzeros(model: QuantizedModel) -> int:
    """Weights that are not 0; those that layers share once."""
    layers = {id(layer.weight): layer for layer in model.weighted()}
    return sum(int(_nonzero(layer).sum()) for layer in layers.values())


def _importance(layer: Weighted, mask: Tensor) -> Tensor:
    """LAMP scores in (0, 1] of the weights under `mask`, of the weight's shape."""
    square = layer.weight.double().square() * mask
    ascending, order = square.flatten().sort()
    # sums over a weight and all that are not smaller
    remaining = ascending.flip(0).cumsum(0).flip(0).clamp(min=torch.finfo(torch.double).tiny)
    scores = torch.empty_like(ascending)
    scores[order] = ascending / remaining
    return scores.reshape(square.shape)
