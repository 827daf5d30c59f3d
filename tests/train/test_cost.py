# SPDX-License-Identifier: Apache-2.0
"""Projected bytes equal what the compiler stores; the estimate follows them."""

import pytest
import torch
from torch import nn

from codeq_compile import passes
from codeq_compile.ir.op import CArray
from codeq_compile.packing import applicable, pack
from codeq_train import (
    LayerConfig,
    QuantConfig,
    export,
    layer_costs,
    mean_bits,
    mean_sparsity,
    projected_bytes,
)
from codeq_train.cost import estimated_bytes
from codeq_train.fold import fold
from tests.train.nets import ConvNet, images, prepared, randomize_batchnorm


def arrays(fields: object) -> list[CArray]:
    """Constant arrays of a C parameter struct, nested ones too."""
    if isinstance(fields, CArray):
        return [fields]
    if isinstance(fields, dict):
        return [array for value in fields.values() for array in arrays(value)]
    return []


@pytest.mark.parametrize("bits", [2, 3, 8])
@pytest.mark.parametrize("tables", ["wide", "narrow", "compact"])
def test_projected_bytes_are_those_of_the_compiled_model(bits: int, tables: str) -> None:
    """The progress bar promises what the linker will show."""
    torch.manual_seed(0)
    model = nn.Sequential(ConvNet(), nn.Tanh())
    randomize_batchnorm(model)
    config = QuantConfig(
        weights=LayerConfig(bits=bits),
        tables=tables,  # type: ignore[arg-type]
    )
    ours = prepared(model, images(16, 2, 9, 9), config=config)
    graph = passes.run(export(ours), "literal")
    expected = 0
    for node in graph.nodes:
        packed = None
        if node.weights is not None:
            names = applicable(node.weights, node.op.packings)
            packed = min((pack(node.weights, name) for name in names), key=lambda p: p.bytes)
        fields = node.op.c_params(
            node.params, graph.input_types(node), graph.output_type(node), packed
        )
        expected += sum(array.bytes for array in arrays(dict(fields)))

    assert expected == projected_bytes(ours)


def test_the_folded_zero_point_counts_in_the_bias_tables() -> None:
    """It can make every bias twice as wide."""
    model = nn.Linear(64, 8)
    with torch.no_grad():
        model.weight.fill_(0.5).add_(0.01 * images(8, 64))
    ours = prepared(
        model, images(16, 64).abs() + 1.0, config=QuantConfig(weights=LayerConfig(bits=8))
    )
    (cost,) = layer_costs(ours)

    # int32 bias, factor of two bytes; the bias alone would fit int16
    assert 8 * (4 + 2) == cost.table_bytes
    assert abs(fold(next(ours.weighted())).bias).max() < 1 << 15


def test_costs_tell_each_layers_width_zeros_and_packing() -> None:
    """The report shows them while training."""
    config = QuantConfig(weights=LayerConfig(bits=2), layers={"stem": {"bits": 8}})
    costs = layer_costs(prepared(ConvNet(), images(16, 2, 9, 9), config=config))

    assert [8, 2, 2, 2] == [cost.bits for cost in costs]
    assert [144, 72, 96, 36] == [cost.weights for cost in costs]
    assert {"dense", "ternary"} >= {cost.packing for cost in costs[:2]}
    total = 144 + 72 + 96 + 36
    assert abs(mean_bits(costs) - (144 * 8 + 204 * 2) / total) < 1e-9
    assert 0.0 < mean_sparsity(costs) < 1.0


@pytest.mark.parametrize("gap", [0.3, 2.0, 5.0])
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_the_estimate_is_near_the_exact_bytes(bits: int, gap: float) -> None:
    """An ideal code is smaller than any codec, but not by much: its slope leads the right way."""
    torch.manual_seed(0)
    config = QuantConfig(weights=LayerConfig(bits=bits))
    model = nn.Linear(64, 48)
    with torch.no_grad():
        model.weight.normal_()
    ours = prepared(model, images(16, 64), config=config)
    (layer,) = ours.weighted()
    with torch.no_grad():
        layer.quantizer.phi.copy_(torch.tensor(gap).expm1().log())

    estimate = float(estimated_bytes(layer).detach())
    (cost,) = layer_costs(ours)

    assert 0.75 < estimate / cost.weight_bytes < 1.1


def test_depthwise_layers_count_as_dense() -> None:
    """Their kernels know no sparse packing: a gap there would cost accuracy for nothing."""
    ours = prepared(nn.Conv2d(4, 4, 3, groups=4), images(4, 4, 5, 5))
    (layer,) = ours.weighted()

    estimate = estimated_bytes(layer)

    assert 4 * 9 * 4 / 8 == float(estimate.detach())
    with pytest.raises(RuntimeError, match=r"unused|not have been used"):
        torch.autograd.grad(estimate, layer.quantizer.phi)
