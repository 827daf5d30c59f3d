# SPDX-License-Identifier: Apache-2.0
"""Parameter groups: quantizer parameters have their own learning rates and never decay."""

from collections import defaultdict
from typing import Any

from torch import nn

from codeq_train.activations import ActivationQuantizer
from codeq_train.layers import BatchNorm
from codeq_train.model import QuantizedModel
from codeq_train.quantizers import WeightQuantizer
from codeq_train.structure import Structure


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
        Of thresholds, CoDeQ's `phi` and those of groups; of widths.

    Returns
    -------
    list of dict
        Named groups "weights", "other", "ranges", "dead_zone", "bits"; empty ones are left out.
    """
    rates = {
        "weights": lr,
        "other": lr,
        "ranges": lr if range_lr is None else range_lr,
        "dead_zone": dead_zone_lr,
        "bits": bits_lr,
    }
    members = _split(model)
    return [
        {
            "name": name,
            "params": members[name],
            "lr": rate,
            "weight_decay": weight_decay if name == "weights" else 0.0,
        }
        for name, rate in rates.items()
        if members[name]
    ]


def _split(model: QuantizedModel) -> dict[str, list[nn.Parameter]]:
    """Parameters by the name of their group; a shared one once."""
    members: dict[str, list[nn.Parameter]] = defaultdict(list)
    seen: set[int] = set()
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.requires_grad and id(parameter) not in seen:
                seen.add(id(parameter))
                members[_group(module, name)].append(parameter)
    return members


def _group(module: nn.Module, name: str) -> str:
    if isinstance(module, WeightQuantizer):
        return module.learned.get(name, "ranges")
    if isinstance(module, Structure):
        return "dead_zone"
    if isinstance(module, ActivationQuantizer):
        return "ranges"
    return "other" if isinstance(module, BatchNorm) or name == "bias" else "weights"
