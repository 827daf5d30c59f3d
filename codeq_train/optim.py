# SPDX-License-Identifier: Apache-2.0
"""Parameter groups: quantizer parameters have their own learning rates and never decay."""

from typing import Any

from torch import nn

from codeq_train.activations import ActivationQuantizer
from codeq_train.layers import BatchNorm
from codeq_train.model import QuantizedModel
from codeq_train.quantizers import CoDeQ, WeightQuantizer


def parameter_groups(
    model: QuantizedModel,
    *,
    lr: float = 1e-3,
    weight_decay: float = 0.0,
    range_lr: float | None = None,
    dead_zone_lr: float = 1e-2,
    bits_lr: float = 1e-2,
) -> list[dict[str, Any]]:
    """Groups for any torch optimizer; made for Adam and AdamW.

    Parameters
    ----------
    model : QuantizedModel
    lr : float
        Of weights, biases and BatchNorm.
    weight_decay : float
        Of weights only: biases, BatchNorm and every quantizer parameter are exempt, because decay
        of a range or a dead zone is not regularization but a drift of the grid.
    range_lr : float, optional
        Of weight ranges (a logarithm, so relative) and activation grids; by default `lr`.
    dead_zone_lr, bits_lr : float
        Of CoDeQ's `phi` and `psi`.

    Returns
    -------
    list of dict
        Named groups "weights", "other", "ranges", "dead_zone", "bits"; empty ones are left out.
    """
    weights, other, ranges, dead_zone, bits = _split(model)
    groups = [
        {"name": "weights", "params": weights, "lr": lr, "weight_decay": weight_decay},
        {"name": "other", "params": other, "lr": lr, "weight_decay": 0.0},
        {
            "name": "ranges",
            "params": ranges,
            "lr": lr if range_lr is None else range_lr,
            "weight_decay": 0.0,
        },
        {"name": "dead_zone", "params": dead_zone, "lr": dead_zone_lr, "weight_decay": 0.0},
        {"name": "bits", "params": bits, "lr": bits_lr, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def _split(model: QuantizedModel) -> tuple[list[nn.Parameter], ...]:
    weights: dict[int, nn.Parameter] = {}
    other: dict[int, nn.Parameter] = {}
    ranges: dict[int, nn.Parameter] = {}
    dead_zone: dict[int, nn.Parameter] = {}
    bits: dict[int, nn.Parameter] = {}
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if not parameter.requires_grad:
                continue
            if isinstance(module, CoDeQ) and name in {"phi", "psi"}:
                group = dead_zone if name == "phi" else bits
            elif isinstance(module, WeightQuantizer | ActivationQuantizer):
                group = ranges
            elif isinstance(module, BatchNorm) or name == "bias":
                group = other
            else:
                group = weights
            group[id(parameter)] = parameter
    return tuple(list(group.values()) for group in (weights, other, ranges, dead_zone, bits))
