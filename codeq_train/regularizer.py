# SPDX-License-Identifier: Apache-2.0
"""The penalty that makes a model small: density and width per layer, or one target in bytes."""

import torch
from torch import Tensor

from codeq_train.budget import Budget
from codeq_train.cost import estimated_bytes, layer_costs
from codeq_train.layers import Conv
from codeq_train.model import QuantizedModel
from codeq_train.oscillation import damping


def regularizer(model: QuantizedModel) -> Tensor:
    """Penalty to add to the task's loss, once a step: 0-d tensor.

    ``sum over layers of (weights / all weights) · (lambda_dz · density + lambda_bit · width / 8)``
    unless the quantizer has a `penalty` of its own, and with `budgets` in the configuration the
    budget's pressure.  Once the model is frozen only `oscillation.damping` is left of it.
    """
    layers = [
        layer
        for layer in model.weighted()
        if layer.quantizer is not None and layer.quantizer.learns_size
    ]
    zero = next(model.parameters()).new_zeros(())
    weight = model.config.oscillation.damping
    if weight:
        zero = weight * damping(model)
    if not layers or all(layer.use_running_statistics for layer in layers):
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
    estimate = torch.stack([estimated_bytes(layer) for layer in model.weighted()]).sum()
    if model.training:
        if budget.wants_measure:
            costs = layer_costs(model)
            budget.measure(
                estimate,
                weight_bytes=sum(cost.weight_bytes for cost in costs),
                table_bytes=sum(cost.table_bytes for cost in costs),
            )
        budget.step(estimate)
    return budget.penalty(estimate)
