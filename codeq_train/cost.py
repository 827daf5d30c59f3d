# SPDX-License-Identifier: Apache-2.0
"""What a model costs on the device: exactly, as the compiler decides it, and differentiably."""

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from msgspec.structs import replace
from torch import Tensor

from codeq_compile import passes
from codeq_compile import target as targets
from codeq_compile.build import firmware, tools
from codeq_compile.emit import write
from codeq_compile.errors import InputError, ToolError
from codeq_compile.ir import Graph
from codeq_compile.plan import Plan, plan
from codeq_train.activations import ActivationQuantizer
from codeq_train.budget import PACKINGS
from codeq_train.config import BudgetConfig
from codeq_train.export import convert
from codeq_train.layers import Conv, Weighted
from codeq_train.model import QuantizedModel
from codeq_train.quantizers import Levels

_HOST = "host"
_RUN_BITS = torch.arange(1.0, 9.0)
_ROOM = 1 << 27
"""Bytes of flash and RAM in which code is measured: more than any model has before training."""
_SOFTNESS = 0.03
"""Formats within this share of the smallest have a say in the gradient."""


# -- Exact ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerCost:
    """Flash and work of one layer with its present weights.

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
        Bias, multiplier and exponent of all channels; levels; tables of functions.
    macs, macs_done : int
        Multiply-accumulates of one inference, and those that are left where zeros are skipped.
    instructions : int, optional
        Predicted by the compiler, of one inference; None where it cannot tell.
    """

    name: str
    weights: int = 0
    bits: int = 0
    gap: int = 0
    sparsity: float = 0.0
    packing: str = ""
    weight_bytes: int = 0
    table_bytes: int = 0
    macs: int = 0
    macs_done: int = 0
    instructions: int | None = None


def snapshot(model: QuantizedModel) -> Graph:
    """The integers of a model as it stands now, in training or not."""
    with _deployed(model):
        graph, _ = convert(model)
    return graph


def shortest(lowered: Graph, limits: BudgetConfig) -> Plan:
    """The plan whose weights are shortest, whatever RAM and code that takes."""
    return plan(lowered, targets.load(limits.target), limits.packing, weigh_code=False)


def planned(
    lowered: Graph,
    limits: BudgetConfig,
    short: Plan | None = None,
    *,
    weigh_code: bool = False,
    flash: int | None = None,
) -> Plan:
    """The plan that `codeq_compile.compile` makes within budgets, where weights are inside theirs.

    Weights above their limit keep their packings here, so that it shows by how much they are above
    it: the compiler would turn to slower ones first.

    Parameters
    ----------
    lowered : Graph
    limits : BudgetConfig
    short : Plan, optional
        Of `shortest`, if it is known.
    weigh_code : bool
        Decide as the compiler does at last; without it weights stay as short as RAM allows, which
        is what training counts, and takes no less RAM and no fewer instructions.
    flash : int, optional
        As `codeq_compile.plan.plan` has it.
    """
    short = short or shortest(lowered, limits)
    ram, weights = limits.limit("ram"), limits.limit("weights")
    if ram is None and not weigh_code:
        return short
    if weights is not None:
        weights = max(weights, short.weights_bytes + short.tables_bytes)
    return plan(
        lowered,
        short.target,
        limits.packing,
        weights=weights,
        ram=ram,
        flash=flash,
        weigh_code=weigh_code,
    )


def layer_costs(model: QuantizedModel) -> list[LayerCost]:
    """Exact costs of every layer that takes flash, in execution order."""
    packing = model.config.budgets.packing
    host = targets.load(_HOST)
    decided = plan(passes.run(snapshot(model)), host, packing, weigh_code=False)
    return [cost for cost in costs_of(decided) if cost.weight_bytes or cost.table_bytes]


def costs_of(decided: Plan) -> list[LayerCost]:
    """Costs of all layers of a plan."""
    costs = []
    for layer in decided.layers:
        weights, price = layer.node.weights, decided.price(layer)
        costs.append(
            LayerCost(
                name=layer.node.name,
                weights=weights.codes.size if weights else 0,
                bits=weights.bits if weights else 0,
                gap=weights.gap if weights else 0,
                sparsity=weights.zeros if weights else 0.0,
                packing=layer.packed.packing if layer.packed else "",
                weight_bytes=layer.weights_bytes,
                table_bytes=layer.tables_bytes,
                macs=layer.macs,
                macs_done=layer.macs_done,
                instructions=None if price is None else price.instructions,
            )
        )
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


@contextlib.contextmanager
def _deployed(model: QuantizedModel) -> Iterator[None]:
    """The model in evaluation mode with all its quantization on, for a look in between."""
    was_training = model.training
    grids = {layer.grid for layer in model.layers if layer.grid is not None}
    modules: list[Weighted | ActivationQuantizer] = [*model.weighted(), *grids]
    enabled = [module.enabled for module in modules]
    model.eval()
    for module in modules:
        module.enabled = True
    try:
        yield
    finally:
        for module, was_enabled in zip(modules, enabled, strict=True):
            module.enabled = was_enabled
        model.train(was_training)


def linked_code(decided: Plan, source: Graph) -> int:
    """Bytes of code and constants of a plan's linked library, which takes about a second.

    Parameters
    ----------
    decided : Plan
    source : Graph
        What was lowered for it.

    Raises
    ------
    ToolError
        There is no cross compiler.
    InputError
        The target has no linked image.
    """
    board = decided.target
    if board.is_host:
        raise InputError(
            f'a flash budget needs a board, and "{board.name}" is none: set budgets.target'
        )
    try:
        compiler = tools.arm_cc()
    except ToolError as error:
        raise ToolError(
            "a flash budget counts the linked code, and there is no cross compiler: install "
            "arm-none-eabi-gcc (`codeq doctor`), or give a budget for weights instead"
        ) from error
    # what training has yet to make smaller may be larger than the board
    assert board.memory is not None
    memory = replace(board.memory, flash_bytes=_ROOM, ram_bytes=_ROOM, regions={})
    board = replace(board, memory=memory)
    with tempfile.TemporaryDirectory() as folder:
        write(decided, Path(folder), source=source, command="")
        sizes = firmware.build(Path(folder), board, compiler=compiler, app="footprint").sizes
    return sizes.code_bytes + sizes.constants_bytes


# -- Differentiable -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Estimate:
    """What one layer costs: 0-d tensors whose gradients lead to fewer bytes.

    Parameters
    ----------
    weight_bytes : Tensor
        In the smallest of the packings that the op has kernels for.
    packings : tuple of str
        Names of all that are possible; a packing with a parameter is there once for each value.
    sizes : Tensor of shape (packings,)
        Bytes in each.
    shares : Tensor of shape (packings,)
        Of each in the gradient; they add up to 1.
    nonzeros : Tensor
        Weights that are not 0.
    """

    weight_bytes: Tensor
    packings: tuple[str, ...]
    sizes: Tensor
    shares: Tensor
    nonzeros: Tensor


def estimate(layer: Weighted, packing: str = "auto") -> Estimate:
    """Flash of a layer's weights in closed form, from width and density alone.

    With N weights of b bits (v bits where a weight is known not to be 0: 1 for b = 2), of which the
    share d is not 0, the packings take bits::

        dense    N · b
        ternary  N · 8 / 5                      b = 2
        bitmask  N + N · d · v
        rle      N · d · (v + r / (1 - (1 - d)^(2^r - 1)))      for the best r of 1 to 8
        huffman  N · (z + d · e) + 8 · (b + 1 + levels)         where `packing` is "small"

    Runs are geometric, as where zeros are strewn independently.  A prefix code takes the entropy: z
    is that of being zero or not, but a whole bit where most weights are zero, and e that of the
    others, which grows by one with each bit of their width; the rest is its table.  The value is
    the smallest, the gradient a mean of those that are nearly as small: it shows the way to a
    packing that is just not chosen yet.  Width and density have the values of the stored levels and
    the gradients of the quantizer's `rate`.

    Parameters
    ----------
    layer : Weighted
        With a quantizer.
    packing : {"auto", "small"}
        As in `BudgetConfig`.
    """
    assert layer.quantizer is not None
    count = float(layer.weight.numel())
    levels = layer.levels()
    width, density = layer.quantizer.rate(layer.weight)
    width = _valued(width, float(levels.bits))
    density = _valued(density, (levels.values() != 0).to(density.dtype).mean())
    bits = {"dense": [width * count]}
    if levels.bits == 2 and levels.gap == 0 and levels.table is None:
        bits["ternary"] = [width * count * 0.8]
    nonzeros = count * density
    if not (isinstance(layer, Conv) and layer.is_depthwise):
        if packing == "small":
            bits["huffman"] = [_prefix_bits(levels, width, density)]
        density = density.clamp(0.5 / count, 1.0)
        fields = count * density
        field = width if levels.table is not None else width - torch.relu(3.0 - width)
        run_bits = _RUN_BITS.to(density.device)
        records = 1.0 / (1.0 - (1.0 - density) ** (torch.exp2(run_bits) - 1.0))
        bits["bitmask"] = [count + fields * field]
        bits["rle"] = [*(fields * (field + run_bits * records)).unbind()]
    sizes = torch.stack([each for found in bits.values() for each in found]) / 8.0
    smallest = sizes.detach().min()
    shares = torch.softmax(-sizes.detach() / (_SOFTNESS * smallest), 0)
    mixed = (shares * sizes).sum()
    return Estimate(
        weight_bytes=_valued(mixed, torch.ceil(smallest)),
        packings=tuple(name for name, found in bits.items() for _ in found),
        sizes=sizes,
        shares=shares,
        nonzeros=nonzeros,
    )


def _prefix_bits(levels: Levels, width: Tensor, density: Tensor) -> Tensor:
    """Bits of all weights in a prefix code, with its table: 0-d tensor, differentiable."""
    count = levels.codes.numel()
    places = levels.codes.reshape(-1).long() + 128
    others = torch.bincount(places, (levels.values() != 0).reshape(-1).float())
    others = others[others > 0]
    shares = others / others.sum()
    among = -(shares * shares.log2()).sum()
    even = density.clamp(min=0.5, max=1.0 - 0.5 / count)
    zero_or_not = -(even * even.log2() + (1.0 - even) * (1.0 - even).log2())
    table = 8.0 * (levels.bits + 1 + len(others) + 1)
    return count * (zero_or_not + density * (among + width - width.detach())) + table


def _valued(x: Tensor, value: Tensor | float) -> Tensor:
    """`value`, to the bit, with the gradient of `x`."""
    return (x - x.detach()) + value


def instructions(found: Estimate, prices: Tensor) -> Tensor:
    """Instructions of one layer, predicted from its estimated weights: 0-d tensor, differentiable.

    In each packing ``fixed + per_nonzero · nonzeros + per_byte · bytes``, which is what the
    compiler predicts for its kernel (`codeq_compile.cost`); the value is that of the smallest
    packing, the gradient a mean over the packings that are nearly as small, as in `estimate`.

    Parameters
    ----------
    found : Estimate
    prices : float64 tensor of shape (packings, 3)
        Fixed, for a weight that is not 0 and for a byte, by place in `PACKINGS`; NaN where there is
        no kernel.
    """
    each = prices[[PACKINGS.index(name) for name in found.packings]]
    is_known = ~each[:, 0].isnan()
    fixed, per_nonzero, per_byte = each.nan_to_num(0.0).unbind(1)
    counts = fixed + per_nonzero * found.nonzeros + per_byte * found.sizes
    shares = found.shares * is_known
    mixed = (shares * counts).sum() / shares.sum().clamp(min=torch.finfo(shares.dtype).tiny)
    smallest = found.sizes.detach().where(is_known, torch.inf).argmin()
    return _valued(mixed, counts.detach()[smallest])
