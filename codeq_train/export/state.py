# SPDX-License-Identifier: Apache-2.0
"""State of one export with one choice of input layouts, and the registry of handlers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from typing import Any, TypeVar

import torch

from codeq_compile.errors import UnsupportedOp
from codeq_compile.ir import DType, Graph, Grid, Node, Op, TensorType
from codeq_compile.ops.reshape import Reshape as ReshapeOp
from codeq_train import layers as kinds
from codeq_train import layout as layouts
from codeq_train.layers import Layer
from codeq_train.layout import Layout, Shape
from codeq_train.model import QuantizedModel


class UnsupportedError(Exception):
    """Raised by a handler; the message says what and what to use instead."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Value:
    """A tensor while it is exported: its IR name and shape, its grid, its order in memory."""

    tensor: str
    shape: Shape
    layout: Layout
    grid: Grid | None
    view: str = ""

    @property
    def zero_point(self) -> int:
        assert self.grid is not None
        return self.grid.zero_point


Handler = Callable[["Export", Any, Sequence[Value]], Value]
_HANDLERS: dict[type[Layer], Handler] = {}
_H = TypeVar("_H", bound=Handler)


def exports(*types: type[Layer]) -> Callable[[_H], _H]:
    """Register the function that turns layers of some classes into nodes."""

    def add(function: _H) -> _H:
        for kind in types:
            _HANDLERS[kind] = function
        return function

    return add


@dataclass
class Export:
    """State of one export with one choice of input layouts."""

    model: QuantizedModel
    name: str
    labels: tuple[str, ...]
    input_layouts: Sequence[Layout]
    nodes: list[Node] = field(default_factory=list)
    tensors: dict[str, TensorType] = field(default_factory=dict)
    values: dict[str, Value] = field(default_factory=dict)
    views: dict[tuple[str, Shape], str] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)

    @property
    def multiplier_bits(self) -> int:
        return self.model.config.table_format.multiplier_bits

    def run(self) -> Graph:
        pending = list(self.input_layouts)
        for layer in self.model.layers:
            if isinstance(layer, kinds.Input):
                self.values[layer.origin.name] = self._input(layer, pending.pop(0))
            else:
                self.values[layer.origin.name] = self._layer(layer)
        outputs = {
            name: self._output(name, self.values[n]) for name, n in self.model.outputs.items()
        }
        if self.reasons:
            raise UnsupportedOp(self.reasons)
        return self._graph(outputs)

    # -- for handlers -----------------------------------------------------------------------------

    def image(self, value: Value) -> str:
        """The tensor as an image (h, w, c)."""
        if not value.layout.is_image:
            raise UnsupportedError(
                f"its input of shape {list(value.layout.shape)} is not channels-last in memory: "
                "remove the reshape or permute before it, or start from another input order"
            )
        return self.shaped(value, layouts.image_shape(value.layout.shape))

    def shaped(self, value: Value, shape: Shape) -> str:
        """The tensor under another IR shape: the same bytes."""
        if value.shape == shape:
            return value.tensor
        key = (value.tensor, shape)
        if key not in self.views:
            taken = {node.name for node in self.nodes}
            name = value.view if value.view and value.view not in taken else f"{value.tensor}.view"
            while name in taken:
                name += "_"
            self._append(name, ReshapeOp(shape=shape), (value.tensor,), shape, value.grid)
            self.views[key] = name
        return self.views[key]

    def emit(
        self,
        layer: Layer,
        op: Op[Any],
        inputs: Sequence[str],
        shape: Shape,
        layout: Layout,
        **constants: Any,
    ) -> Value:
        """Append the node of a layer."""
        grid = None if layer.grid is None else layer.grid.grid()
        name = layer.origin.name
        self._append(name, op, tuple(inputs), shape, grid, **constants)
        return Value(tensor=name, shape=shape, layout=layout, grid=grid)

    def emit_image(self, layer: Layer, op: Op[Any], source: str, **constants: Any) -> Value:
        """Append a node whose output is an image or sequence of the layer's torch shape."""
        shape = layer.origin.shape
        return self.emit(
            layer, op, [source], layouts.image_shape(shape), layouts.image(shape), **constants
        )

    # -- inside -----------------------------------------------------------------------------------

    def _append(
        self,
        name: str,
        op: Op[Any],
        inputs: tuple[str, ...],
        shape: Shape,
        grid: Grid | None,
        **constants: Any,
    ) -> None:
        dtype = DType.S8 if grid is not None else DType.S32
        self.tensors[name] = TensorType(shape=shape, dtype=dtype, grid=grid)
        self.nodes.append(Node(name=name, op=op, inputs=inputs, output=name, **constants))

    def _input(self, layer: kinds.Input, layout: Layout) -> Value:
        assert layer.grid is not None
        name, shape, grid = layer.origin.name, layouts.ir_shape(layout), layer.grid.grid()
        self.tensors[name] = TensorType(shape=shape, grid=grid)
        return Value(tensor=name, shape=shape, layout=layout, grid=grid)

    def _layer(self, layer: Layer) -> Value:
        inputs = [self.values[name] for name in layer.origin.inputs]
        try:
            return _HANDLERS[type(layer)](self, layer, inputs)
        except UnsupportedError as reason:
            where = f" [{layer.origin.source}]" if layer.origin.source else ""
            kind = type(layer).__name__.lower()
            self.reasons.append(f'layer "{layer.origin.name}" ({kind}): {reason}{where}')
            # go on as if it had worked, so that all reasons are told at once
            layout = layouts.candidates(layer.origin.shape)[0]
            return replace(inputs[0], layout=layout, shape=layouts.ir_shape(layout))

    def _output(self, name: str, value: Value) -> str:
        layout = value.layout
        if not (layout.is_plain or layout.is_image):
            self.reasons.append(
                f"{name}: its elements stand in an order that is neither torch's nor "
                "channels-last: return the tensor before the last reshape or permute"
            )
            return value.tensor
        return self.shaped(value, layouts.ir_shape(layout) if value.grid else value.shape)

    def _graph(self, outputs: dict[str, str]) -> Graph:
        tensors = list(outputs.values())
        if len(set(tensors)) != len(tensors):
            raise UnsupportedOp(["two outputs are the same tensor: return it once"])
        made = {node.output for node in self.nodes}
        if any(tensor not in made for tensor in tensors):
            raise UnsupportedOp(["an output is an input as it came: return only what is computed"])
        names = {tensor: name for name, tensor in outputs.items()}
        graph = Graph(
            name=self.name,
            tensors={names.get(name, name): kind for name, kind in self.tensors.items()},
            inputs=tuple(layer.origin.name for layer in self.model.inputs),
            outputs=tuple(outputs),
            nodes=tuple(
                replace(
                    node,
                    inputs=tuple(names.get(name, name) for name in node.inputs),
                    output=names.get(node.output, node.output),
                )
                for node in self.nodes
            ),
            labels=self.labels,
            provenance={
                "trainer": f"codeq {version('codeq-mcu')}, torch {torch.__version__}",
                **{
                    f"axes of {layer.origin.name}": axes_in_memory(layout)
                    for layer, layout in zip(self.model.inputs, self.input_layouts, strict=True)
                },
                **{
                    f"snap error of {layer.origin.name}": f"{error:.3g} steps"
                    for layer in self.model.weighted()
                    if layer.quantizer is not None and (error := layer.quantizer.snap_error()) > 0.0
                },
            },
        )
        return graph.with_nodes(_needed(graph))


def axes_in_memory(layout: Layout) -> str:
    """Torch axes of one sample in the order in which they stand in memory."""
    axes = range(len(layout.shape))
    return " ".join(map(str, [*axes[1:], 0] if layout.is_image and not layout.is_plain else axes))


def _needed(graph: Graph) -> tuple[Node, ...]:
    """Nodes that an output depends on."""
    wanted, kept = set(graph.outputs), []
    for node in reversed(graph.nodes):
        if node.output in wanted:
            kept.append(node)
            wanted.update(node.inputs)
    return tuple(reversed(kept))


def grid_of(layer: Layer) -> Grid:
    """Grid of a layer's output."""
    assert layer.grid is not None
    return layer.grid.grid()


def clamp_of(layer: Layer) -> tuple[int, int]:
    """Integer limits of a layer's fused activation."""
    assert layer.grid is not None
    return layer.grid.clamp(layer.limits)
