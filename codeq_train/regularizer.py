# SPDX-License-Identifier: Apache-2.0
"""The penalty that makes a model small: density and width per layer, or one target in bytes."""

from collections.abc import Iterable

import torch
from torch import Tensor

from codeq_train.budget import MEASURE_EVERY, Budget
from codeq_train.cost import estimate, instructions
from codeq_train.landing import land, prune_channels, spend
from codeq_train.layers import Conv
from codeq_train.limits import exact, weighted_costs
from codeq_train.model import QuantizedModel, check_prepared
from codeq_train.oscillation import damping
from codeq_train.quantizers import WeightQuantizer

_LINK_EVERY = 10 * MEASURE_EVERY


def regularizer(model: QuantizedModel) -> Tensor:
    """Penalty to add to the task's loss, once a step: 0-d tensor.

    ``sum over layers of (weights / all weights) · (lambda_dz · density + lambda_bit · width / 8)``
    unless the quantizer has a `penalty` of its own, and with `budgets` in the configuration the
    budget's pressure.  Once the model is frozen only `oscillation.damping` is left of it.

    Raises
    ------
    ModelError
        The model was not prepared.
    """
    check_prepared(model, "regularizer")
    layers = [
        layer
        for layer in model.weighted()
        if layer.quantizer is not None and layer.quantizer.learns_size
    ]
    zero = next(model.parameters()).new_zeros(())
    weight = model.config.oscillation.damping
    if weight:
        zero = weight * damping(model)
    if model.is_frozen:
        if model.budget is not None:
            _stay_inside(model, model.budget)
        return zero
    total = sum(layer.weight.numel() for layer in layers)
    penalty = zero
    for layer in layers:
        chosen = model.config.layer(layer.origin.name)
        if chosen.lambda_dz or chosen.lambda_bit:
            assert layer.quantizer is not None
            # depthwise weights are stored dense: zeros save nothing there
            is_dense = isinstance(layer, Conv) and layer.is_depthwise
            penalty = penalty + layer.quantizer.penalty(
                layer.weight,
                lambda_dz=0.0 if is_dense else chosen.lambda_dz,
                lambda_bit=chosen.lambda_bit,
                share=layer.weight.numel() / total,
            )
    return penalty if model.budget is None else penalty + _budget_penalty(model, model.budget)


def _budget_penalty(model: QuantizedModel, budget: Budget) -> Tensor:
    """Count exactly now and then, estimate, move the pressures: once a training step."""
    counts = model.training and budget.wants_measure
    if counts:
        _measure(model, budget)
    sizes, work = _estimates(model, budget)
    if counts:
        budget.correct(sizes, work)
    amounts = budget.amounts(sizes, work)
    if counts:
        for quantizer in _quantizers(model):
            quantizer.steer(budget.excess(amounts))
    if model.training:
        if budget.is_ramp_over:
            for quantizer in _quantizers(model):
                quantizer.settle()
            spend(model)
        budget.step(amounts)
    return budget.penalty(amounts)


def _quantizers(model: QuantizedModel) -> Iterable[WeightQuantizer]:
    """All weight quantizers; one that layers share, as they share its weight, once."""
    found = (layer.quantizer for layer in model.weighted())
    return dict.fromkeys(each for each in found if each is not None)


def _measure(model: QuantizedModel, budget: Budget) -> None:
    # kernels change often while widths are learned, and linking takes a second
    now = exact(model, link=int(budget.steps) % _LINK_EVERY == 0)
    if budget.ram is not None:
        now = prune_channels(model, now, ram=budget.ram_aim(now.amounts["ram"]))
    costs = weighted_costs(model, now)
    budget.measure(
        weights=[cost.weight_bytes for cost in costs],
        tables=now.tables,
        code=now.code,
    )
    if "instructions" in now.amounts:
        executed = [cost.instructions or 0 for cost in costs]
        budget.measure_work(
            instructions=executed,
            others=now.amounts["instructions"] - sum(executed),
            prices=[now.prices.get(cost.name, {}) for cost in costs],
        )


def _estimates(model: QuantizedModel, budget: Budget) -> tuple[Tensor, Tensor]:
    """Bytes and instructions of each layer with weights: float tensors of shape (layers,).

    Differentiable where the quantizer learns its size, else as last counted.
    """
    sizes, work = [], []
    for place, layer in enumerate(model.weighted()):
        assert layer.quantizer is not None
        if layer.quantizer.learns_size:
            found = estimate(layer, model.config.budgets.packing)
            sizes.append(found.weight_bytes)
            work.append(instructions(found, budget.prices[place]))
        else:
            sizes.append(budget.weights[place].clone())
            work.append(budget.instructions[place].clone())
    return torch.stack(sizes), torch.stack(work)


def _stay_inside(model: QuantizedModel, budget: Budget) -> None:
    """In the last phase nothing grows but tables, whose values may need more bytes."""
    if model.training:
        if budget.wants_measure:
            land(model)
        budget.steps += 1
