# SPDX-License-Identifier: Apache-2.0
"""One-op graphs for the tests: declared as cases, built from a seed that is the case's name."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from codeq_compile.ir import DType, Graph, Grid, Node, Op, TensorType, Weights, verify
from codeq_compile.ir.op import Array
from codeq_compile.numerics import Int8Array, Int32Array


def grid(scale: float, zero_point: int, bits: int = 8) -> Grid:
    """A grid whose scale is rounded to float32, as files store it."""
    return Grid(scale=float(np.float32(scale)), zero_point=zero_point, bits=bits)


def s8(*shape: int, scale: float = 0.05, zero_point: int = -3) -> TensorType:
    """An int8 tensor type."""
    return TensorType(shape=shape, grid=grid(scale, zero_point))


def s16(*shape: int, scale: float = 0.001, zero_point: int = 0) -> TensorType:
    """An int16 tensor type."""
    return TensorType(shape=shape, dtype=DType.S16, grid=grid(scale, zero_point, bits=16))


def random_int8(rng: np.random.Generator, shape: Sequence[int]) -> Int8Array:
    """All 256 values, uniformly."""
    return rng.integers(-128, 128, shape).astype(np.int8)


def random_weights(
    rng: np.random.Generator,
    shape: Sequence[int],
    *,
    bits: int = 8,
    zeros: float = 0.0,
    gap: int = 0,
    levels: Sequence[int] | None = None,
    per_channel: bool = True,
) -> Weights:
    """Weights with about the share `zeros` of zero codes (exactly none for 0, all for 1).

    With `levels` the codes are positions in the table; zeros then go to the level 0, if it has one.
    """
    if levels is not None:
        codes = rng.integers(0, len(levels), shape).astype(np.int8)
        if 0 in levels:
            codes[rng.random(shape) < zeros] = list(levels).index(0)
    else:
        top = (1 << (bits - 1)) - 1
        magnitude = rng.integers(1, top + 1, shape)
        codes = (magnitude * rng.choice([-1, 1], shape)).astype(np.int8)
        codes[rng.random(shape) < zeros] = 0
    scale = rng.uniform(0.01, 0.03, shape[0] if per_channel else 1).astype(np.float32)
    return Weights(
        codes=codes,
        bits=bits,
        scale=scale,
        gap=gap,
        levels=tuple(levels) if levels is not None else None,
    )


def random_bias(rng: np.random.Generator, weights: Weights) -> Int32Array:
    """Biases of the order of the accumulator's spread."""
    spread = 1 + int(_spread(weights).max())
    return rng.integers(-spread, spread, len(weights.codes)).astype(np.int32)


def fitting_grid(x: TensorType, weights: Weights, zero_point: int = 5) -> Grid:
    """An output grid on which random inputs fill about the int8 range and sometimes saturate."""
    real = float(np.median(_spread(weights) * weights.scale)) * x.scale
    return grid(max(real, x.scale * float(weights.scale.max())) / 60, zero_point)


def _spread(weights: Weights) -> Array:
    """Standard deviation of each channel's accumulator for uniform random inputs."""
    values = weights.values.reshape(len(weights.codes), -1).astype(np.float64)
    return 74.0 * np.sqrt((values**2).sum(axis=1))


def one_op_graph(
    op: Op[Any],
    inputs: Sequence[TensorType],
    output: Grid | None = None,
    *,
    weights: Weights | None = None,
    bias: Array | None = None,
    table: Int8Array | None = None,
    name: str = "one",
) -> Graph:
    """A verified quantized graph of one node; the output's shape comes from the op's own rule.

    Without `output` the grid is the one the op fixes or, with weights, a fitting one.
    Inputs are called ``x0, x1, …``, the output is ``y`` and the layer is ``layer``.
    """
    names = tuple(f"x{i}" for i in range(len(inputs)))
    node = Node(
        name="layer", op=op, inputs=names, output="y", weights=weights, bias=bias, table=table
    )
    y = op.infer(node, tuple(inputs))
    if output is None and weights is not None:
        output = fitting_grid(inputs[0], weights)
    y = replace(y, grid=y.grid if output is None else output)
    return verify(
        Graph(
            name=name,
            tensors={**dict(zip(names, inputs, strict=True)), "y": y},
            inputs=names,
            outputs=("y",),
            nodes=(node,),
        )
    )


def lowered(graph: Graph) -> Graph:
    """Every node with its integers, as the pass `lower` leaves it."""
    return graph.with_nodes(
        tuple(
            replace(
                node,
                params=node.op.lower(node, graph.input_types(node), graph.output_type(node)),
            )
            for node in graph.nodes
        )
    )


def random_inputs(rng: np.random.Generator, graph: Graph, batch: int) -> dict[str, Array]:
    """Random samples, among them (from the second on) all lowest and all highest values."""
    inputs = {}
    for name in graph.inputs:
        kind = graph.tensors[name]
        limits = np.iinfo(kind.dtype.numpy)
        array = rng.integers(limits.min, limits.max + 1, (batch, *kind.shape))
        for row, extreme in zip(range(1, batch), (limits.min, limits.max), strict=False):
            array[row] = extreme
        inputs[name] = array.astype(kind.dtype.numpy)
    return inputs


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightSpec:
    """Arguments of `random_weights`; `bias` adds random biases."""

    shape: tuple[int, ...]
    bits: int = 8
    zeros: float = 0.0
    gap: int = 0
    levels: tuple[int, ...] | None = None
    per_channel: bool = True
    bias: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One named example of an op; the same name gives the same graph and the same data.

    Parameters
    ----------
    name : str
        Readable test id, unique in its list.
    op : Op
    inputs : tuple of TensorType
    output : Grid, optional
        See `one_op_graph`.
    weights : WeightSpec, optional
    has_table : bool
        The node gets a random 256-byte table.
    """

    name: str
    op: Op[Any]
    inputs: tuple[TensorType, ...]
    output: Grid | None = None
    weights: WeightSpec | None = None
    has_table: bool = False

    def graph(self) -> Graph:
        """The quantized graph."""
        rng = self._rng("graph")
        weights = bias = table = None
        if self.weights is not None:
            spec = self.weights
            weights = random_weights(
                rng,
                spec.shape,
                bits=spec.bits,
                zeros=spec.zeros,
                gap=spec.gap,
                levels=spec.levels,
                per_channel=spec.per_channel,
            )
            bias = random_bias(rng, weights) if spec.bias else None
        if self.has_table:
            table = random_int8(rng, (256,))
        return one_op_graph(
            self.op, self.inputs, self.output, weights=weights, bias=bias, table=table
        )

    def data(self, batch: int = 3) -> Mapping[str, Array]:
        """Samples for every input of the graph."""
        return random_inputs(self._rng("data"), self.graph(), batch)

    def _rng(self, purpose: str) -> np.random.Generator:
        return np.random.default_rng(zlib.crc32(f"{self.op.kind}/{self.name}/{purpose}".encode()))

    def __str__(self) -> str:
        return self.name
