# SPDX-License-Identifier: Apache-2.0
"""Rounded weights and inputs shift a channel's mean output: its bias takes the shift back.

Source: data-free quantization, arXiv:1906.04721, section 4.2, with the expectation taken over
calibration data; so the errors of all layers before are corrected too.
"""

import torch
from torch import Tensor, nn

from codeq_train.layers import Conv, Weighted
from codeq_train.posttraining.reconstruction import Task


@torch.no_grad()
def correct_bias(task: Task) -> None:
    """Subtract each channel's mean error, before the activation, from its bias.

    What is left is at most half a step of the bias's own grid.  A layer without a bias gets one,
    which costs nothing: every layer's tables have one.
    """
    layer = task.layer
    shift = mean_error(task)
    if layer.norm is not None:
        layer.norm.beta = nn.Parameter(layer.norm.beta - shift)
    elif layer.bias is not None:
        # a parameter of its own: layers that share weights do not share errors
        layer.bias = nn.Parameter(layer.bias - shift)
    else:
        layer.bias = nn.Parameter(-shift)


@torch.no_grad()
def mean_error(task: Task) -> Tensor:
    """Mean over samples and places of output minus target: tensor of shape (channels,).

    The bias's own rounding is left out: its new value is rounded anew.
    """
    layer = task.layer
    gain, bias = layer.folded()
    weight = layer.levels().dequantize() * gain.reshape(-1, *[1] * (layer.weight.dim() - 1))
    total = torch.zeros(layer.channels, dtype=torch.float64, device=bias.device)
    count = 0
    for x, z in zip(task.inputs, task.targets, strict=True):
        difference = (layer.linear(x, weight, bias) - z).double()
        total += _by_channel(layer, difference).sum(1)
        count += z.numel() // layer.channels
    return (total / max(count, 1)).to(bias)


def _by_channel(layer: Weighted, y: Tensor) -> Tensor:
    """Tensor of shape (channels, places)."""
    axis = 1 if isinstance(layer, Conv) else -1
    return y.movedim(axis, 0).flatten(1)
