# SPDX-License-Identifier: Apache-2.0
"""What a handler sees of one operator, and how it adds nodes to the graph."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codeq_compile.frontends.builder import Builder, Handlers, Refusal
from codeq_compile.frontends.onnx.layout import Layout, channels_last
from codeq_compile.frontends.onnx.schema import Attribute, Operator
from codeq_compile.frontends.onnx.values import (
    Activation,
    Constant,
    Function,
    Quantized,
    Value,
    range_grid,
)
from codeq_compile.ir.graph import Node
from codeq_compile.ir.op import Array, Op
from codeq_compile.ir.types import Grid, TensorType, Weights
from codeq_compile.numerics import Int8Array
from codeq_compile.ops.base import Pair
from codeq_compile.ops.elementwise import INT8
from codeq_compile.ops.lut import Lut
from codeq_compile.ops.requantize import Requantize
from codeq_compile.ops.transpose import Transpose

_SMALL = 64
"""Numbers in a list of axes, limits or extents."""


class Blocked(Exception):  # noqa: N818  # never shown: the operator before has told its reason
    """An operator reads what a refused one would have written."""


@dataclass(slots=True, kw_only=True)
class Building(Builder):
    """The graph so far: what is known of each tensor of the file.

    Parameters
    ----------
    readers : mapping of str to tuple of Operator
        Who reads a tensor of the file.
    outputs : frozenset of str
        Tensors of the file that the model gives to its caller.
    grids : mapping of str to Grid
        The grid on which a float tensor will be quantized.
    multiplier_bits : mapping of str to int
        Of the layers that `codeq export` wrote with less than 31.
    values : dict of str to Value
    absorbed : set of int
        Operators that one before them has computed too.
    refused : set of str
        Tensors that refused operators would have written.
    """

    readers: Mapping[str, tuple[Operator, ...]]
    outputs: frozenset[str]
    grids: Mapping[str, Grid] = field(default_factory=dict)
    multiplier_bits: Mapping[str, int] = field(default_factory=dict)
    values: dict[str, Value] = field(default_factory=dict)
    absorbed: set[int] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Layer:
    """One operator while it is converted."""

    building: Building
    operator: Operator

    # ---- what the operator says

    def attribute(self, name: str, default: Any) -> Any:
        """An attribute of the type of its default."""
        value = self.operator.attributes.get(name, default)
        wanted = Attribute if default is None else type(default)
        if not isinstance(value, wanted) and not (wanted is float and isinstance(value, int)):
            raise Refusal(f"its attribute {name} is {value!r}")
        return value

    def has_input(self, position: int) -> bool:
        inputs = self.operator.inputs
        return position < len(inputs) and bool(inputs[position])

    def value(self, position: int) -> Value:
        """What is known of an input."""
        if not self.has_input(position):
            raise Refusal(f"its input {position} is missing")
        name = self.operator.inputs[position]
        if name in self.building.refused:
            raise Blocked
        if name not in self.building.values:
            raise Refusal(f'it reads "{name}", which no operator before it writes')
        return self.building.values[name]

    def is_constant(self, position: int) -> bool:
        """Whether an input is known before the model runs."""
        name = self.operator.inputs[position] if self.has_input(position) else ""
        return isinstance(self.building.values.get(name), Constant | Quantized)

    @property
    def output(self) -> str:
        """Name of its first output in the file; the others must be unused."""
        for name in self.operator.outputs[1:]:
            if name and (name in self.building.readers or name in self.building.outputs):
                raise Refusal(f'its output "{name}" is used, which codeq does not compute')
        if not self.operator.outputs or not self.operator.outputs[0]:
            raise Refusal("it has no output")
        return self.operator.outputs[0]

    def constant(self, position: int, what: str) -> Array:
        """Values of an input that must be known before the model runs."""
        value = self.value(position)
        if isinstance(value, Constant):
            return value.array
        if isinstance(value, Quantized):
            return value.real
        raise Refusal(f"its {what} are computed while the model runs, and must be constant")

    def integers(self, position: int, what: str) -> list[int]:
        """The values of a small constant, such as a shape or axes."""
        values = self.constant(position, what)
        if values.dtype.kind not in "iu" or values.size > _SMALL:
            raise Refusal(f"its {what} are {values.size} values of type {values.dtype}")
        return [int(v) for v in values.reshape(-1)]

    def scalar(self, position: int, what: str) -> float:
        """A constant of one element, as a real number."""
        values = self.constant(position, what)
        if values.size != 1 or values.dtype.kind not in "iuf":
            raise Refusal(f"its {what} has {values.size} values of type {values.dtype}, not one")
        return float(values.reshape(-1)[0])

    def axes(self, position: int, default: Sequence[int] | None) -> list[int] | None:
        """Axes from the attribute of that name, or from an input where newer operators have it."""
        if "axes" in self.operator.attributes:
            return list(self.attribute("axes", ()))
        if self.has_input(position):
            return self.integers(position, "axes")
        return None if default is None else list(default)

    # ---- tensors of the graph

    def type(self, tensor: str) -> TensorType:
        return self.building.tensors[tensor]

    def grid(self, activation: Activation) -> Grid:
        grid = self.type(activation.tensor).grid
        if grid is None:
            raise Refusal("it reads plain integers, and quantized values are expected")
        return grid

    def real(self, position: int = 0, *, or_integers: bool = False) -> Activation:
        """An input that is computed while the model runs, as integers of the graph.

        With `or_integers` the file may speak of the integers: for operators that only select.
        """
        value = self.value(position)
        if isinstance(value, Function):
            value = self.computed(value)
            self.building.values[self.operator.inputs[position]] = value
        if not isinstance(value, Activation):
            raise Refusal(f"its input {position} is a constant")
        if value.offset is not None and not or_integers:
            raise Refusal(f"its input {position} are integers: a DequantizeLinear is missing")
        return value

    def computed(self, function: Function, grid: Grid | None = None) -> Activation:
        """The results of a function on a grid: the given one, its own or the finest for them."""
        if function.is_integer:
            raise Refusal("it reads integers: a DequantizeLinear is missing")
        grid = grid or function.grid or range_grid(function.results)
        if np.isnan(function.results).any():
            raise Refusal("it makes what is not a number of some inputs: limit them before")
        with np.errstate(over="ignore"):
            table = grid.quantize(function.results).astype(np.int8)
        source = function.source
        kind = replace(self.type(source.tensor), grid=grid)
        tensor = self.node(Lut(), source.tensor, kind=kind, table=table)
        return replace(source, tensor=tensor, offset=None)

    def output_grid(self) -> Grid:
        """The grid on which the file quantizes the output."""
        grid = self.building.grids.get(self.output)
        if grid is None:
            raise Refusal(
                "no QuantizeLinear follows it: quantize activations too (quantize_static with "
                "QuantFormat.QDQ), the outputs of the model included"
            )
        return grid

    def arranged(self, activation: Activation, layout: Layout) -> Activation:
        """The same elements in another order in memory: transposed where they are not."""
        if activation.layout == layout:
            return activation
        way = activation.layout.way_to(layout)
        if way is None:
            raise Refusal(
                f"it needs the elements of {list(activation.shape)} in an order that no transpose "
                "gives"
            )
        shape, axes = way
        op = Transpose(axes=axes)
        tensor = self.node(op, self.building.view(activation.tensor, shape))
        return replace(activation, tensor=tensor, layout=layout)

    def by_axes(self, activation: Activation) -> tuple[Activation, tuple[int, ...]]:
        """(the same elements with each axis in one piece, order of the axes in memory).

        The axes of 1 come first.
        """
        order = activation.layout.axis_order(activation.shape)
        if order is None:
            rank = len(activation.shape)
            wanted = channels_last(rank) if rank in {3, 4} else tuple(range(rank))
            activation = self.arranged(activation, Layout.of(activation.shape, wanted))
            order = activation.layout.axis_order(activation.shape)
            assert order is not None
        return activation, order

    def viewed(self, activation: Activation, order: Sequence[int]) -> str:
        """The tensor with an axis for each of the file, in an order that `by_axes` gave."""
        shape = tuple(activation.shape[axis] for axis in order)
        return self.building.view(activation.tensor, shape or (1,))

    def image(self, position: int = 0, *, or_integers: bool = False) -> tuple[str, Activation]:
        """An input that must be one image (1, c, h, w) or sequence (1, c, l), as (h, w, c)."""
        activation = self.real(position, or_integers=or_integers)
        shape = activation.shape
        if len(shape) not in {3, 4} or shape[0] != 1:
            raise Refusal(
                f"it reads {list(shape)}, and one image (1, c, h, w) or sequence (1, c, l) is "
                "expected: export the model with a batch of 1"
            )
        activation = self.arranged(activation, Layout.of(shape, channels_last(len(shape))))
        h, w = (1, *shape[2:])[-2:]
        return self.building.view(activation.tensor, (h, w, shape[1])), activation

    # ---- nodes of the graph

    def node(
        self,
        op: Op[Any],
        *inputs: str,
        kind: TensorType | None = None,
        grid: Grid | None = None,
        weights: Weights | None = None,
        bias: Array | None = None,
        table: Int8Array | None = None,
    ) -> str:
        """Append a node; what it makes is on `grid` where the op leaves that open."""
        data: dict[str, Any] = {"weights": weights, "bias": bias, "table": table}
        stem = self.operator.short_name
        probe = Node(name=stem, op=op, inputs=inputs, output=stem, **data)
        made = op.infer(probe, tuple(self.type(name) for name in inputs))
        made = kind or replace(made, grid=made.grid or grid)
        return self.building.add_node(stem, made, op, *inputs, **data)

    def write(self, value: Value, name: str | None = None) -> None:
        """This is what an output of the operator holds, by default its only one."""
        name = name or self.output
        if name in self.building.values:
            raise Refusal(f'its output "{name}" is written twice')
        if not all(value.shape) or math.prod(value.shape) < 1:
            raise Refusal(f"its output has the shape {list(value.shape)}: it is empty")
        self.building.values[name] = value

    def write_image(
        self, tensor: str, rank: int, grid: Grid | None = None, offset: int | None = None
    ) -> None:
        """Write an image (h, w, c) as what the file calls (1, c, h, w) or (1, c, l)."""
        h, w, c = self.type(tensor).shape
        shape = (1, c, h, w) if rank == 4 else (1, c, w)
        activation = Activation(
            tensor=tensor,
            shape=shape,
            layout=Layout.of(shape, channels_last(rank)),
            offset=offset,
        )
        self.write(self.on(activation, grid))

    def on(self, activation: Activation, grid: Grid | None) -> Activation:
        """The same real values on another grid."""
        if grid is None or self.grid(activation) == grid:
            return activation
        tensor = self.node(Requantize(), activation.tensor, grid=grid)
        return replace(activation, tensor=tensor)

    def follower(self, *kinds: str) -> "Layer | None":
        """The operator of these kinds that alone reads the output, which nobody else sees."""
        readers = self.building.readers.get(self.output, ())
        if self.output in self.building.outputs or len(readers) != 1:
            return None
        (reader,) = readers
        return Layer(self.building, reader) if reader.kind in kinds else None

    def clamp(self, grid: Grid, low: float, high: float) -> Pair:
        """Integers of real limits. [N3.2]"""
        if not low <= high:
            raise Refusal(f"its limits are {low} and {high}")
        with np.errstate(over="ignore"):
            q = grid.quantize(np.array([low, high]))
        return int(q[0]), int(q[1])


def reals(grid: Grid) -> NDArray[np.float64]:
    """Real values of all int8: float64 array of shape (256,)."""
    return grid.scale * (INT8 - grid.zero_point).astype(np.float64)


HANDLERS: Handlers[Layer] = Handlers()
handles = HANDLERS.handles


__all__ = ["HANDLERS", "Blocked", "Building", "Layer", "Refusal", "handles", "reals"]
