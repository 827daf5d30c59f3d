# SPDX-License-Identifier: Apache-2.0
"""Grids and tables that training chose, from a few steps of it to the bytes that C computes."""

from pathlib import Path

import pytest
import torch

import codeq_compile
from codeq_train import (
    ActivationConfig,
    LayerConfig,
    QuantConfig,
    export,
    freeze,
    integer_distance,
    layer_costs,
    parameter_groups,
    prepare,
    regularizer,
)
from codeq_train.fold import fold
from tests.train.nets import ConvNet, images, randomize_batchnorm

NARROW = ActivationConfig(bits=4)
CONFIGS = {
    "codeq": QuantConfig(weights=LayerConfig(bits=6, lambda_dz=10.0, lambda_bit=3.0)),
    "codeq with 2 of 4": QuantConfig(weights=LayerConfig(bits=4, structure="2:4")),
    "magnitude in blocks of 16": QuantConfig(
        weights=LayerConfig(quantizer="magnitude", bits=4, ramp_steps=6, structure="1x16")
    ),
    "ecq": QuantConfig(
        weights=LayerConfig(quantizer="ecq", bits=4, strength=0.3, relevance="fisher")
    ),
    "ec2t": QuantConfig(weights=LayerConfig(quantizer="ec2t", strength=0.3)),
    "ec2t of two centroids": QuantConfig(
        weights=LayerConfig(quantizer="ec2t", strength=0.3, symmetric=False)
    ),
    "codeq_offset": QuantConfig(weights=LayerConfig(quantizer="codeq_offset", bits=4)),
    "codeq_offset of 8 bits": QuantConfig(
        weights=LayerConfig(quantizer="codeq_offset", learn_bits=False)
    ),
    "codeq_offset with real levels": QuantConfig(
        weights=LayerConfig(quantizer="codeq_offset", bits=5, snap=False, per_channel=False)
    ),
    "codeq_offset of learned widths": QuantConfig(
        weights=LayerConfig(quantizer="codeq_offset", per_channel=False, lambda_bit=10.0)
    ),
    "diffq": QuantConfig(weights=LayerConfig(quantizer="diffq", bits=4)),
    "magnitude": QuantConfig(weights=LayerConfig(quantizer="magnitude", ramp_steps=6)),
    "lsq": QuantConfig(weights=LayerConfig(quantizer="lsq", bits=3)),
    "lsq with 4-bit activations": QuantConfig(
        weights=LayerConfig(quantizer="lsq", bits=4), activations=NARROW
    ),
    "codeq_offset with 4-bit activations": QuantConfig(
        weights=LayerConfig(quantizer="codeq_offset", bits=4), activations=NARROW
    ),
}
SPARSE = {"ecq", "ec2t", "ec2t of two centroids", "magnitude"}
LEARNED = {"codeq", "codeq_offset of learned widths"}
FAST = {"codeq", "ecq", "codeq_offset", "magnitude"}
TABLES = {name for name in CONFIGS if name.startswith("codeq_offset")} - {"codeq_offset of 8 bits"}


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in CONFIGS],
)
def test_a_trained_model_is_the_same_in_torch_in_integers_and_in_c(
    name: str, tmp_path: Path
) -> None:
    """BatchNorm with negative gammas turns tables of levels round: both signs must arrive."""
    net = ConvNet()
    randomize_batchnorm(net)
    x = images(64, 2, 9, 9)
    ours = prepare(net, x, CONFIGS[name])
    rate = 0.3 if name in LEARNED else 1e-2
    groups = parameter_groups(ours, lr=1e-2, dead_zone_lr=rate, bits_lr=rate)
    optimizer = torch.optim.Adam(groups)
    for step in range(12):
        if step == 8:
            freeze(ours)
        optimizer.zero_grad()
        loss = ours(x).square().mean() + regularizer(ours)
        loss.backward()
        optimizer.step()

    distances = integer_distance(ours, x)
    graph = export(ours.eval())
    tables = [fold(layer).weights.levels for layer in ours.weighted()]
    codeq_compile.compile(graph, tmp_path / "out", target="host")
    result = codeq_compile.check(tmp_path / "out")

    assert max(d.steps for d in distances) <= 1, distances
    assert (0, True) == (result.bytes_differing, result.bytes_compared > 0)
    if name in SPARSE:
        assert any(cost.sparsity > 0.3 for cost in layer_costs(ours))
    levels = [layer.levels() for layer in ours.weighted()]
    if name in LEARNED:
        assert any(2 < each.bits < CONFIGS[name].weights.bits for each in levels)
    if name == "codeq":
        assert any(each.gap > 0 for each in levels)
    pointwise = levels[2].values().reshape(12, 8)
    if name == "codeq with 2 of 4":
        assert ((pointwise.reshape(12, 2, 4) == 0).sum(2) >= 2).all()
    if name == "magnitude in blocks of 16":
        assert (pointwise == 0).all(1).any()  # all that the row of a block has
    if name in TABLES or name == "ec2t of two centroids":
        assert any(table is not None and len(table) > 3 for table in tables)
    # the graph says what the change to int8 levels was
    said = [float(v.split()[0]) for k, v in graph.provenance.items() if k.startswith("snap error")]
    assert bool(said) == (name.startswith("codeq_offset") or "centroids" in name)
    assert all(0.0 < error <= 0.5 for error in said)
