# SPDX-License-Identifier: Apache-2.0
"""Bit operations: counted by hand for small networks, and the paper's own arithmetic."""

import pytest
import torch
from torch import nn

from codeq_train import export, prepare
from codeq_train.bops import LayerOps, graph_ops, network_ops, relative_bops
from codeq_train.config import LayerConfig, QuantConfig
from codeq_train.recipes import models
from codeq_train.recipes.paper_codeq import quantize_weights


def small() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 4 * 4, 5))


def test_a_float_network_is_the_whole() -> None:
    """It is what everything is relative to."""
    layers = network_ops(small(), torch.randn(1, 2, 6, 6))

    assert [16 * 3 * 18, 48 * 5] == [layer.macs for layer in layers]
    assert 1.0 == relative_bops(layers, activation_bits=32)
    assert 0.25 == relative_bops(layers, activation_bits=8)


def test_zeros_and_narrow_weights_count_less() -> None:
    """4 of 32 bits, half of them zero, is a sixteenth; layers count by their multiplications."""
    half = LayerOps(name="a", weights=1, macs=300, bits=4, density=0.5)
    full = LayerOps(name="b", weights=1, macs=100, bits=32, density=1.0)

    assert 1 / 16 == relative_bops([half], activation_bits=32)
    assert (300 / 16 + 100) / 400 == relative_bops([half, full], activation_bits=32)


def test_the_papers_density_gives_the_papers_figure() -> None:
    """4 bits at a density of 0.236 are the 2.95 % of CoDeQ's table 1."""
    layer = LayerOps(name="", weights=1, macs=1, bits=4, density=0.236)

    assert 0.0295 == pytest.approx(relative_bops([layer], activation_bits=32))


@pytest.mark.slow
def test_an_exported_graph_counts_as_its_network() -> None:
    """The same layers, whether they are counted in torch or in the integers that came of it."""
    network, x = models.resnet20().eval(), torch.randn(2, 3, 32, 32)
    config = QuantConfig(weights=LayerConfig(bits=4, learn_bits=False))
    graph = export(prepare(network, x, config).eval())
    in_torch, in_integers = network_ops(network, x), graph_ops(graph)

    # a shortcut's convolution stands before or after those that it goes around
    assert sorted(layer.macs for layer in in_torch) == sorted(layer.macs for layer in in_integers)
    assert {4} == {layer.bits for layer in in_integers}
    assert all(0.0 < layer.density <= 1.0 for layer in in_integers)


def test_a_parametrized_weight_counts_as_its_quantizer_stores_it() -> None:
    """The paper's experiment quantizes weights in torch and exports nothing."""
    network = small()
    (first, _) = quantize_weights(network, LayerConfig(quantizer="lsq", bits=3))
    weight = network[0].parametrizations.weight.original
    with torch.no_grad():
        weight[0] = 0.0
    layers = network_ops(network, torch.randn(1, 2, 6, 6))

    assert [3, 3] == [layer.bits for layer in layers]
    expected = float((first.levels(weight).values() != 0).float().mean())
    assert expected == layers[0].density <= 2 / 3
