# SPDX-License-Identifier: Apache-2.0
"""What weights and tables will cost in flash: exact bytes, and a differentiable estimate."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

import codeq_compile.ops  # noqa: F401  # registers the ops, whose packings are asked for
from codeq_compile.ir import TensorType, op_type
from codeq_compile.ir.op import c_arrays
from codeq_compile.ops.base import make_requant
from codeq_compile.packing import applicable, pack
from codeq_train.fold import Folded, fold
from codeq_train.layers import Conv, Unary, Weighted
from codeq_train.model import QuantizedModel

_TABLE_BYTES = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerCost:
    """Flash of one layer with its present weights.

    Parameters
    ----------
    name : str
    weights : int
        How many there are.
    bits, gap : int
    sparsity : float
        Share of zeros, in [0, 1].
    packing : str
        The smallest one.
    weight_bytes : int
        In that packing.
    table_bytes : int
        Bias, multiplier and exponent of all channels; tables of functions.
    """

    name: str
    weights: int = 0
    bits: int = 0
    gap: int = 0
    sparsity: float = 0.0
    packing: str = ""
    weight_bytes: int = 0
    table_bytes: int = 0


def layer_costs(model: QuantizedModel) -> list[LayerCost]:
    """Exact flash bytes of every layer that has any, in execution order.

    Packs the present codes with the compiler's own codecs.
    """
    costs = []
    for layer in model.layers:
        if isinstance(layer, Weighted):
            costs.append(_weighted_cost(layer, bits=model.config.table_format.multiplier_bits))
        elif isinstance(layer, Unary):
            costs.append(LayerCost(name=layer.origin.name, table_bytes=_TABLE_BYTES))
    return costs


def projected_bytes(model: QuantizedModel) -> int:
    """Flash bytes of all weights and tables as they stand now."""
    return sum(cost.weight_bytes + cost.table_bytes for cost in layer_costs(model))


def mean_bits(costs: Sequence[LayerCost]) -> float:
    """Width per weight, averaged over all weights."""
    return _average(costs, [cost.bits for cost in costs])


def mean_sparsity(costs: Sequence[LayerCost]) -> float:
    """Share of zeros among all weights."""
    return _average(costs, [cost.sparsity for cost in costs])


def _average(costs: Sequence[LayerCost], values: Sequence[float]) -> float:
    total = sum(cost.weights for cost in costs)
    return sum(c.weights * v for c, v in zip(costs, values, strict=True)) / max(total, 1)


def _weighted_cost(layer: Weighted, *, bits: int) -> LayerCost:
    folded = fold(layer)
    weights = folded.weights
    names = applicable(weights, op_type(folded.kind).packings)
    packed = [pack(weights, name) for name in names]
    best = min(packed, key=lambda candidate: candidate.bytes)
    return LayerCost(
        name=layer.origin.name,
        weights=weights.codes.size,
        bits=weights.bits,
        gap=weights.gap,
        sparsity=weights.zeros,
        packing=best.packing,
        weight_bytes=best.bytes,
        table_bytes=_requant_bytes(layer, folded, bits=bits),
    )


def _requant_bytes(layer: Weighted, folded: Folded, *, bits: int) -> int:
    """Biases and factors as the compiler stores them."""
    assert layer.grid is not None
    requant = make_requant(
        weights=folded.weights,
        bias=folded.bias,
        input_type=TensorType(shape=(1,), grid=layer.input_grid.grid()),
        output_type=TensorType(shape=(1,), grid=layer.grid.grid()),
        clamp=(-128, 127),
        multiplier_bits=bits,
    )
    return sum(array.bytes for array in c_arrays(requant.c_params()))


def estimated_bytes(layer: Weighted) -> Tensor:
    """Differentiable flash bytes of one layer's weights: 0-d tensor.

    An ideal code of the zeros' positions and a value field for each non-zero,
    ``N · (h2(density) + density · value bits) / 8``: the bound that bitmask and run lengths
    approach.  Depthwise layers are always stored dense.
    """
    assert layer.quantizer is not None
    count = layer.weight.numel()
    width, density = layer.quantizer.rate(layer.weight)
    if isinstance(layer, Conv) and layer.is_depthwise:
        return width * (count / 8)
    # a non-zero of a 2-bit grid is its sign alone
    value_bits = width - torch.relu(3.0 - width)
    density = density.clamp(1e-4, 1.0 - 1e-4)
    positions = -(density * density.log() + (1 - density) * (1 - density).log()) / math.log(2.0)
    sparse = positions + density * value_bits
    return torch.minimum(sparse, width) * (count / 8)
