# SPDX-License-Identifier: Apache-2.0
"""Predicts the instructions of a layer on a core: how often each loop of its kernel is executed,
times what a trip costs, which `costs.json` knows for every kernel family and core.

Trip counts are the ops' (`Op.trips`). What a trip costs was fitted to counted layers by
tests/bench/costs.py, which also states how far predictions were off for layers not fitted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import msgspec
import numpy as np

from codeq_compile.ir.graph import Node
from codeq_compile.ir.types import Packed, TensorType
from codeq_compile.kernels import Kernel

FILE = Path(__file__).with_name("costs.json")

DECODED = " decoded, "
"""In names of trips of a decoder; the name of the packing follows."""
NONZEROS, STREAM = "nonzeros", "stream bytes"
"""How names begin of trips that are proportional to weights that are not 0, and to bytes."""


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """Kernels of one family and instruction set on one core, whatever their width and packing.

    Parameters
    ----------
    core, family, isa : str
    fitted, held_out : int
        Layers.
    worst, mean : float
        Relative errors of the predictions of those that were held out.
    instructions : dict of str to float
        Of one trip, by its name.
    """

    core: str
    family: str
    isa: str
    fitted: int
    held_out: int
    worst: float
    mean: float
    instructions: dict[str, float]


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """Contents of costs.json.

    Parameters
    ----------
    compiler, optimization, emulator : str
        What was counted with.
    models : tuple of Model
    """

    compiler: str
    optimization: str
    emulator: str
    models: tuple[Model, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """Instructions of a layer, as they follow from its weights.

    Parameters
    ----------
    fixed : float
        Whatever the weights are.
    per_nonzero, per_byte : float
        For each weight that is not 0, and for each byte of the stream.
    nonzeros, stream_bytes : int
        Of the present weights.
    """

    fixed: float
    per_nonzero: float = 0.0
    per_byte: float = 0.0
    nonzeros: int = 0
    stream_bytes: int = 0

    @property
    def instructions(self) -> int:
        """With the present weights."""
        varying = self.per_nonzero * self.nonzeros + self.per_byte * self.stream_bytes
        return round(self.fixed + varying)


def total(prices: Sequence[Price]) -> Price:
    """Of several calls of one layer's kernel."""
    return replace(
        prices[0],
        fixed=sum(price.fixed for price in prices),
        per_nonzero=sum(price.per_nonzero for price in prices),
        per_byte=sum(price.per_byte for price in prices),
    )


@cache
def table() -> Table:
    """What is known."""
    return msgspec.json.decode(FILE.read_bytes(), type=Table)


@cache
def _models() -> Mapping[tuple[str, str, str], Model]:
    return {(model.core, model.family, model.isa): model for model in table().models}


def model(kernel: Kernel, core: str) -> Model | None:
    """What was fitted for a kernel's family and instruction set on a core; None if nothing was."""
    return _models().get((core, kernel.family, kernel.isa))


def trips(
    node: Node,
    inputs: tuple[TensorType, ...],
    output: TensorType,
    packed: Packed | None,
    kernel: Kernel,
) -> dict[str, float]:
    """How often each part of a kernel is executed in one call, itself included; nothing that is
    not.
    """
    counted = node.op.trips(node.params, inputs, output, packed, kernel.family, kernel.isa)
    return {"call": 1.0} | {name: float(times) for name, times in counted.items() if times}


def price(
    node: Node,
    inputs: tuple[TensorType, ...],
    output: TensorType,
    packed: Packed | None,
    kernel: Kernel,
    core: str,
) -> Price | None:
    """Predicted instructions of one call, split by what they depend on.

    Parameters
    ----------
    node : Node
        Lowered, its parameters those for this kernel (`Op.with_kernel`).
    inputs, output : TensorType
        Of the node.
    packed : Packed, optional
        Its weights in the packing that the kernel reads.
    kernel : Kernel
    core : str
        As in `Target.core`.

    Returns
    -------
    Price, optional
        None where the table does not know the kernel on this core, or the decoder. What only some
        layers need and none that was fitted, such as tables of another width, counts nothing.
    """
    known = model(kernel, core)
    if known is None:
        return None
    fixed = by_nonzeros = by_bytes = 0.0
    for name, times in trips(node, inputs, output, packed, kernel).items():
        if name not in known.instructions and DECODED in name:
            return None
        instructions = times * known.instructions.get(name, 0.0)
        if name.startswith(NONZEROS):
            by_nonzeros += instructions
        elif name.startswith(STREAM):
            by_bytes += instructions
        else:
            fixed += instructions
    nonzeros = int(np.count_nonzero(node.weights.values)) if node.weights else 0
    stream = len(packed.data) if packed else 0
    return Price(
        fixed=fixed,
        per_nonzero=by_nonzeros / max(1, nonzeros),
        per_byte=by_bytes / max(1, stream),
        nonzeros=nonzeros,
        stream_bytes=stream,
    )


def predict(
    node: Node,
    inputs: tuple[TensorType, ...],
    output: TensorType,
    packed: Packed | None,
    kernel: Kernel,
    core: str,
) -> int | None:
    """Instructions of one call, rounded; parameters and None as those of `price`."""
    found = price(node, inputs, output, packed, kernel, core)
    return None if found is None else found.instructions
