# SPDX-License-Identifier: Apache-2.0
"""Convolutions, linear layers and BatchNorm."""

import torch
from torch import fx

from codeq_train import layers as kinds
from codeq_train.activations import NO_LIMITS
from codeq_train.capture.nodes import Arguments, as_tuple, rank_of
from codeq_train.capture.state import Capture, UnsupportedError, handles
from codeq_train.layers import Layer, Window

aten = torch.ops.aten


@handles(aten.conv1d.default, aten.conv1d.padding, aten.conv2d.default, aten.conv2d.padding)
def _conv(capture: Capture, node: fx.Node, a: Arguments) -> str:
    source = capture.tensor(a["input"])
    weight = capture.constant(a["weight"])
    assert weight is not None
    spatial = weight.dim() - 2
    kernel, stride = tuple(weight.shape[2:]), as_tuple(a["stride"], spatial)
    dilation = as_tuple(a["dilation"], spatial)
    reach = [(k - 1) * d for k, d in zip(kernel, dilation, strict=True)]
    padding: tuple[tuple[int, int], ...]
    if a["padding"] == "same":
        padding = tuple((r // 2, r - r // 2) for r in reach)
    elif a["padding"] == "valid":
        padding = tuple((0, 0) for _ in reach)
    else:
        padding = tuple((n, n) for n in as_tuple(a["padding"], spatial))
    window = Window(kernel=kernel, stride=stride, dilation=dilation, padding=padding)
    layer = kinds.Conv(
        capture.origin(node, source),
        weight=weight,
        bias=capture.constant(a["bias"]),
        window=window,
        groups=int(a["groups"]),
    )
    return capture.add(layer)


@handles(aten.linear.default)
def _linear(capture: Capture, node: fx.Node, a: Arguments) -> str:
    source = capture.tensor(a["input"])
    weight = capture.constant(a["weight"])
    assert weight is not None
    layer = kinds.Linear(
        capture.origin(node, source), weight=weight, bias=capture.constant(a["bias"])
    )
    return capture.add(layer)


@handles(aten.batch_norm.default)
def _batch_norm(capture: Capture, node: fx.Node, a: Arguments) -> str:
    source = capture.tensor(a["input"])
    mean, variance = capture.constant(a["running_mean"]), capture.constant(a["running_var"])
    if mean is None or variance is None:
        raise UnsupportedError("BatchNorm without running statistics: use track_running_stats=True")
    norm = kinds.BatchNorm(
        gamma=capture.constant(a["weight"]),
        beta=capture.constant(a["bias"]),
        mean=mean,
        variance=variance,
        momentum=float(a["momentum"]) or 0.1,  # 0 stands for a mean over all batches
        eps=float(a["eps"]),
    )
    layer = capture.sole_producer(node, a["input"])
    if isinstance(layer, kinds.Conv | kinds.Linear) and layer.norm is None and _unlimited(layer):
        if rank_of(a["input"]) != 2 and isinstance(layer, kinds.Linear):
            raise UnsupportedError(
                "BatchNorm over rows of a linear layer: use a convolution of size 1"
            )
        layer.norm = norm
        return source
    spatial = rank_of(a["input"]) - 2
    if spatial not in (1, 2):
        raise UnsupportedError("BatchNorm must follow a convolution or linear layer, or an image")
    return capture.add(kinds.Scale(capture.origin(node, source), norm=norm, spatial=spatial))


def _unlimited(layer: Layer) -> bool:
    return layer.limits == NO_LIMITS
