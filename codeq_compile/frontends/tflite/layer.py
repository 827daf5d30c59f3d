# SPDX-License-Identifier: Apache-2.0
"""What a handler sees of one operator, and how it adds nodes to the graph."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, TypeVar

import numpy as np

from codeq_compile.errors import SpecViolation
from codeq_compile.frontends.builder import Builder, Handlers, Refusal
from codeq_compile.frontends.tflite import constants, options
from codeq_compile.frontends.tflite.schema import Activation, ElementType, Operator, Tensor
from codeq_compile.ir.graph import Node
from codeq_compile.ir.op import Array, Op
from codeq_compile.ir.types import DType, Grid, Shape, TensorType, Weights
from codeq_compile.numerics import Int8Array, round_half_away
from codeq_compile.ops.base import Pair
from codeq_compile.ops.elementwise import INT8
from codeq_compile.ops.lut import Lut
from codeq_compile.ops.reshape import Reshape


class Kernels(StrEnum):
    """Whose integers an import gives: the arithmetic of scales changed between versions."""

    TFLM = "tflm"
    """TFLite Micro since October 2026: scales are multiplied and divided in float64."""
    TFLM_FLOAT32 = "tflm-float32"
    """TFLite Micro before: some are multiplied and divided in float32."""
    TFLITE = "tflite-2.14"
    """TensorFlow Lite's reference kernels: float32 likewise, but for SUB; logistic and tanh are
    float tables."""

    @property
    def multiplies_in_float32(self) -> bool:
        return self is not Kernels.TFLM


_DTYPES: Mapping[ElementType, DType] = {
    ElementType.INT8: DType.S8,
    ElementType.INT16: DType.S16,
    ElementType.INT32: DType.S32,
}

Options = TypeVar("Options")


@dataclass(slots=True, kw_only=True)
class Building(Builder):
    """The graph so far: what is known of each tensor of the file.

    Parameters
    ----------
    kernels : Kernels
    names : dict of int to str
        Tensor of the file → tensor of the graph, for those that the graph computes.
    folded : dict of int to array
        Tensor of the file → its values, where they follow from shapes and constants.
    """

    kernels: Kernels
    names: dict[int, str] = field(default_factory=dict)
    folded: dict[int, Array] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Layer:
    """One operator while it is converted."""

    building: Building
    operator: Operator

    # ---- what the operator says

    def options(self, kind: type[Options]) -> Options:
        return options.read(kind, self.operator.options)

    def has_input(self, position: int) -> bool:
        inputs = self.operator.inputs
        return position < len(inputs) and inputs[position] is not None

    def tensor(self, position: int) -> Tensor:
        """An input as the file describes it."""
        tensor = self.operator.inputs[position] if self.has_input(position) else None
        if tensor is None:
            raise Refusal(f"its input {position} is missing")
        return tensor

    @property
    def output(self) -> Tensor:
        if len(self.operator.outputs) != 1:
            raise Refusal(f"it has {len(self.operator.outputs)} outputs, and one is expected")
        return self.operator.outputs[0]

    @property
    def output_grid(self) -> Grid:
        grid = tensor_type(self.output).grid
        if grid is None:
            raise Refusal(f"its output is {self.output}, and int8 is expected")
        return grid

    def known(self, position: int) -> Array | None:
        """Values of an input, if they are known before the model runs."""
        tensor = self.tensor(position)
        if tensor.index in self.building.folded:
            return self.building.folded[tensor.index]
        return constants.values(tensor) if tensor.is_constant else None

    def constant(self, position: int, what: str) -> Array:
        values = self.known(position)
        if values is None:
            raise Refusal(f"its {what} are computed while the model runs, and must be constant")
        return values

    def integers(self, position: int, what: str) -> list[int]:
        """The values of a small constant, such as a shape or axes."""
        values = self.constant(position, what)
        if values.dtype.kind not in "iu" or values.size > 64:
            raise Refusal(f"its {what} are {values.size} values of type {values.dtype}")
        return [int(v) for v in values.reshape(-1)]

    # ---- the graph

    def type(self, name: str) -> TensorType:
        return self.building.tensors[name]

    def grid(self, name: str) -> Grid:
        """Of an int8 tensor of the graph."""
        kind = self.type(name)
        if kind.grid is None or kind.dtype is not DType.S8:
            raise Refusal(f"it reads {kind}, and int8 is expected")
        return kind.grid

    def input(self, position: int = 0) -> str:
        """The graph's name of an input that is computed while the model runs."""
        tensor = self.tensor(position)
        name = self.building.names.get(tensor.index)
        if name is None:
            if tensor.kind is ElementType.FLOAT32:
                raise Refusal(
                    f"it reads float32 {tensor.label}: quantize the whole model to int8 with a "
                    "representative data set"
                )
            if tensor.is_constant:
                raise Refusal(f"its input {tensor.label} is a constant")
            raise Refusal(f"it reads {tensor.label}, which no supported operator writes")
        return name

    def view(self, name: str, shape: Shape) -> str:
        """The same elements in another shape: a name, after a reshape where one is needed."""
        return self.building.view(name, shape)

    def operand(self, position: int = 0) -> str:
        """An input, or a constant as a tensor of the graph."""
        values = self.known(position)
        if values is None:
            return self.input(position)
        tensor = self.tensor(position)
        if tensor.kind not in {ElementType.INT8, ElementType.INT16}:
            raise Refusal(f"its constant {tensor.label} is {tensor}, and int8 is expected")
        kind = tensor_type(tensor)
        name = self.building.add_tensor(tensor.short_name, kind)
        self.building.constants[name] = values.reshape(kind.shape)
        return name

    def image(self, position: int = 0) -> str:
        """An input that must be one image (h, w, c)."""
        tensor = self.tensor(position)
        if len(tensor.shape) != 4 or tensor.shape[0] != 1:
            raise Refusal(
                f"it reads {tensor}, and one image (1, h, w, c) is expected: convert the model "
                "with a batch of 1"
            )
        return self.view(self.input(position), tensor.shape[1:])

    def add(
        self,
        op: Op[Any],
        *inputs: str,
        weights: Weights | None = None,
        bias: Array | None = None,
        table: Int8Array | None = None,
        output: Tensor | None = None,
    ) -> None:
        """Append the node that computes `output`, by default the operator's only one.

        Where the op keeps the bytes of a grid and the file calls the output's grid another one, an
        identity table stands behind it: TFLite's kernels copy the bytes, whatever the grids say.
        """
        output, building = output or self.output, self.building
        stem = output.short_name
        wanted = tensor_type(output)
        data: dict[str, Any] = {"weights": weights, "bias": bias, "table": table}
        probe = Node(name=stem, op=op, inputs=inputs, output=stem, **data)
        made = op.infer(probe, tuple(self.type(name) for name in inputs))
        if (math.prod(made.shape), made.dtype) != (wanted.elements, wanted.dtype):
            raise Refusal(f"it makes {made}, but the file calls its output {output}")
        kind = replace(made, grid=made.grid if made.grid is not None else wanted.grid)
        steps: list[tuple[TensorType, Op[Any], dict[str, Any]]] = [(kind, op, data)]
        if kind.grid != wanted.grid:
            kind = replace(kind, grid=wanted.grid)
            steps.append((kind, Lut(), {"table": INT8.astype(np.int8)}))
        if kind.shape != wanted.shape:
            steps.append((wanted, Reshape(shape=wanted.shape), {}))
        for kind, step, constants_ in steps[:-1]:
            inputs = (building.add_node(f"{stem}.{step.kind}", kind, step, *inputs, **constants_),)
        kind, step, constants_ = steps[-1]
        self._write(output, building.add_node(stem, kind, step, *inputs, **constants_))

    def step(self, op: Op[Any], *inputs: str) -> str:
        """Append a node that keeps the grid on the way to the operator's output; its tensor."""
        stem = f"{self.output.short_name}.{op.kind}"
        probe = Node(name=stem, op=op, inputs=inputs, output=stem)
        kind = op.infer(probe, tuple(self.type(name) for name in inputs))
        return self.building.add_node(stem, kind, op, *inputs)

    def _write(self, output: Tensor, name: str) -> None:
        """This tensor of the graph is an output of the operator."""
        if output.index in self.building.names:
            raise Refusal(f"its output {output.label} is written twice")
        self.building.names[output.index] = name

    def add_table(self, name: str, function: Callable[[Array], Array]) -> None:
        """Append a table of an integer function of one int8; the results are limited to int8."""
        table = np.clip(function(INT8), -128, 127).astype(np.int8)
        self.add(Lut(), name, table=table)

    def clamp(self, activation: int, grid: Grid | None = None) -> Pair:
        """Limits of a fused activation on a grid, by default the output's; in float32 as TFLite."""
        grid = grid or self.output_grid

        def at(real: float) -> int:
            with np.errstate(over="ignore"):
                steps = float(np.float32(real) / np.float32(grid.scale))
            return grid.zero_point + (round_half_away(steps) if math.isfinite(steps) else 1 << 16)

        match activation:
            case Activation.NONE:
                return -128, 127
            case Activation.RELU:
                return max(-128, at(0.0)), 127
            case Activation.RELU6:
                return max(-128, at(0.0)), min(127, at(6.0))
            case Activation.RELU_N1_TO_1:
                return max(-128, at(-1.0)), min(127, at(1.0))
        known = activation in Activation._value2member_map_
        name = Activation(activation).name if known else str(activation)
        raise Refusal(f"its fused function {name} is none of RELU, RELU6 and RELU_N1_TO_1")


def tensor_type(tensor: Tensor) -> TensorType:
    """The graph's type of an activation: without its batch of 1, and with one grid.

    Raises
    ------
    Refusal
        The graph has no such element type, or no grid is given.
    """
    shape = tensor.shape[1:] if tensor.shape[:1] == (1,) else tensor.shape
    if tensor.kind not in _DTYPES:
        raise Refusal(
            f"{tensor.label} is {tensor}: quantize the model to int8 "
            "(TFLITE_BUILTINS_INT8 with inference_input_type int8)"
        )
    if not tensor.elements:
        raise Refusal(f"{tensor.label} has the shape {list(tensor.shape)}: it is empty")
    dtype = _DTYPES[tensor.kind]
    # indices and shapes are plain integers
    is_plain = dtype is DType.S32 and not len(tensor.scale)
    grid = None if is_plain else activation_grid(tensor)
    return TensorType(shape=shape or (1,), dtype=dtype, grid=grid)


def activation_grid(tensor: Tensor) -> Grid:
    if len(tensor.scale) != 1 or len(tensor.zero_point) != 1:
        raise Refusal(
            f"{tensor.label} has {len(tensor.scale)} scales and {len(tensor.zero_point)} zero "
            "points, and an activation needs one of each"
        )
    try:
        return Grid(
            scale=float(tensor.scale[0]),
            zero_point=int(tensor.zero_point[0]),
            bits=_DTYPES[tensor.kind].bits,
        )
    except SpecViolation as violation:
        raise Refusal(f"{tensor.label}: {violation}") from violation


HANDLERS: Handlers[Layer] = Handlers()
handles = HANDLERS.handles


__all__ = [
    "HANDLERS",
    "Building",
    "Kernels",
    "Layer",
    "Refusal",
    "activation_grid",
    "handles",
    "tensor_type",
]
