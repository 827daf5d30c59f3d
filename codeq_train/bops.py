# SPDX-License-Identifier: Apache-2.0
"""Bit operations: what papers count to compare compressed networks with float ones.

A multiplication of a weight of b bits with an activation of a bits counts b · a, one with a zero
weight nothing; a float network has 32 · 32.  Papers that leave activations in float count a = 32;
on integers the activations' true width counts.  Neither says anything about bytes or time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from codeq_compile.ir import Graph
from codeq_compile.passes import run as lower
from codeq_train.quantizers import WeightQuantizer

FLOAT_BITS = 32

Multiplying = nn.Conv1d | nn.Conv2d | nn.Linear


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerOps:
    """Multiplications of one layer, for one sample.

    Parameters
    ----------
    name : str
    weights : int
    macs : int
        As if no weight were zero.
    bits : int
        Width of the weights.
    density : float
        Share of weights that are not zero, in [0, 1].
    """

    name: str
    weights: int
    macs: int
    bits: int
    density: float


def relative_bops(layers: Sequence[LayerOps], *, activation_bits: int) -> float:
    """Bit operations as a share of those in float, in [0, 1].

    Parameters
    ----------
    layers : sequence of LayerOps
    activation_bits : int
        32 for the figures of CoDeQ (arXiv:2512.12981, table 1), 8 for a network in int8.
    """
    ours = sum(layer.density * layer.macs * layer.bits * activation_bits for layer in layers)
    return ours / sum(layer.macs * FLOAT_BITS**2 for layer in layers)


def graph_ops(graph: Graph) -> list[LayerOps]:
    """Layers with weights of an exported graph, in execution order."""
    lowered = lower(graph)
    return [
        LayerOps(
            name=node.name,
            weights=node.weights.codes.size,
            macs=node.op.macs(node.params, lowered.output_type(node)),
            bits=node.weights.bits,
            density=1.0 - node.weights.zeros,
        )
        for node in lowered.nodes
        if node.weights is not None
    ]


def network_ops(network: nn.Module, *example: Tensor) -> list[LayerOps]:
    """Convolutions and linear layers of a torch module, in execution order.

    A layer whose weight is parametrized by a quantizer (torch's `parametrize`) has that one's width
    and zeros, any other one 32 bits and none.

    Parameters
    ----------
    network : nn.Module
    example : float tensors of shape (batch, ...)
        One input.
    """
    layers: list[LayerOps] = []

    def count(name: str, module: Multiplying, output: Tensor) -> None:
        bits, density = _stored(module)
        layers.append(
            LayerOps(
                name=name,
                weights=module.weight.numel(),
                macs=output[0].numel() * module.weight[0].numel(),
                bits=bits,
                density=density,
            )
        )

    hooks = [
        module.register_forward_hook(
            lambda module, _, output, name=name: count(name, module, output)
        )
        for name, module in network.named_modules()
        if isinstance(module, Multiplying)
    ]
    was_training = network.training
    try:
        with torch.no_grad():
            network.eval()(*example)
    finally:
        network.train(was_training)
        for hook in hooks:
            hook.remove()
    return layers


def _stored(module: Multiplying) -> tuple[int, float]:
    """Width and density of a layer's weights."""
    if not parametrize.is_parametrized(module, "weight"):
        return FLOAT_BITS, 1.0
    weight = cast(nn.ModuleDict, module.parametrizations)["weight"]
    (quantizer,) = (each for each in weight.modules() if isinstance(each, WeightQuantizer))
    levels = quantizer.levels(cast(Tensor, weight.original))
    return levels.bits, float((levels.values() != 0).float().mean())
