# SPDX-License-Identifier: Apache-2.0
"""From a prepared model to the compiler's IR: integers, grids and channels-last memory.

torch keeps channels first, the IR last.  No transpose is ever emitted: weights adapt to the order
in which elements stand (`layout`), and a model in which that is impossible is refused.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from codeq_compile.errors import InputError, ModelError, UnsupportedOp
from codeq_compile.ir import DType, Graph, Grid, Node, Op, TensorType, save, verify
from codeq_compile.ops.add import Add as AddOp
from codeq_compile.ops.argmax import Argmax as ArgmaxOp
from codeq_compile.ops.avgpool2d import AvgPool2D as AvgPool2DOp
from codeq_compile.ops.concat import Concat as ConcatOp
from codeq_compile.ops.conv2d import Conv2D as Conv2DOp
from codeq_compile.ops.dwconv2d import DWConv2D as DWConv2DOp
from codeq_compile.ops.linear import Linear as LinearOp
from codeq_compile.ops.lut import Lut as LutOp
from codeq_compile.ops.lut import tabulate
from codeq_compile.ops.maxpool2d import MaxPool2D as MaxPool2DOp
from codeq_compile.ops.mean import Mean as MeanOp
from codeq_compile.ops.mul import Mul as MulOp
from codeq_compile.ops.pad import Pad as PadOp
from codeq_compile.ops.requantize import Requantize as RequantizeOp
from codeq_compile.ops.reshape import Reshape as ReshapeOp
from codeq_compile.ops.softmax import Softmax as SoftmaxOp
from codeq_train import layers as kinds
from codeq_train import layout as layouts
from codeq_train.activations import ActivationQuantizer
from codeq_train.fold import fold
from codeq_train.layers import Layer, Window
from codeq_train.layout import Layout, Shape
from codeq_train.model import QuantizedModel

Pair = tuple[int, int]


def export(
    model: nn.Module,
    path: Path | str | None = None,
    *,
    name: str = "model",
    labels: Sequence[str] = (),
) -> Graph:
    """The integers of a trained model as a graph, written to a `.cq` file if `path` is given.

    Parameters
    ----------
    model : QuantizedModel
        From `prepare`, in evaluation mode.
    path : path, optional
        Of the `.cq` file.
    name : str
        A lower-case C identifier: prefix of every symbol of the emitted library.
    labels : sequence of str
        Class names of the first output.

    Returns
    -------
    Graph
        Verified.  Images are (h, w, c), sequences (1, length, c); the provenance says how each
        input's torch axes are ordered (`to_graph_inputs` does it).

    Raises
    ------
    UnsupportedOp
        Layers that have no integer form as they stand; all are listed.
    ModelError
        The model was not prepared, or is in training mode.
    """
    if not isinstance(model, QuantizedModel):
        raise ModelError(
            f"export needs the model that prepare() returned, not a {type(model).__name__}: "
            "prepare the whole network, with everything that surrounds it"
        )
    if model.training:
        raise ModelError("the model is in training mode: export(model.eval(), …)")
    _check_quantized(model)
    graph = verify(_best_layout(model, name, tuple(labels)))
    classes = graph.tensors[graph.outputs[0]].shape[-1]
    if labels and len(labels) != classes:
        raise InputError(f"{len(labels)} labels were given for {classes} outputs")
    if path is not None:
        save(graph, Path(path))
    return graph


def _check_quantized(model: QuantizedModel) -> None:
    reasons = []
    for layer in model.layers:
        off = isinstance(layer, kinds.Weighted) and not layer.enabled
        if off or (layer.grid is not None and not layer.grid.enabled):
            reasons.append(
                f'layer "{layer.origin.name}": its quantization is switched off: '
                "set_quantization(model, weights=True, activations=True), and train with it"
            )
    if reasons:
        raise UnsupportedOp(reasons)


def _best_layout(model: QuantizedModel, name: str, labels: tuple[str, ...]) -> Graph:
    """Try the orders in which the inputs may come until every layer finds what it needs."""
    first: UnsupportedOp | None = None
    choices = [layouts.candidates(layer.origin.shape) for layer in model.inputs]
    for chosen in itertools.product(*choices):
        try:
            return _Export(model, name, labels, chosen).run()
        except UnsupportedOp as error:
            first = first or error
    assert first is not None
    raise first


class _UnsupportedError(Exception):
    """Raised by a handler; the message says what and what to use instead."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Value:
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


Handler = Callable[["_Export", Any, Sequence[_Value]], _Value]
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
class _Export:
    """State of one export with one choice of input layouts."""

    model: QuantizedModel
    name: str
    labels: tuple[str, ...]
    input_layouts: Sequence[Layout]
    nodes: list[Node] = field(default_factory=list)
    tensors: dict[str, TensorType] = field(default_factory=dict)
    values: dict[str, _Value] = field(default_factory=dict)
    views: dict[tuple[str, Shape], str] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)

    @property
    def narrow(self) -> bool:
        return self.model.config.activations.narrow_multiplier

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

    def image(self, value: _Value) -> str:
        """The tensor as an image (h, w, c)."""
        if not value.layout.is_image:
            raise _UnsupportedError(
                f"its input of shape {list(value.layout.shape)} is not channels-last in memory: "
                "remove the reshape or permute before it, or start from another input order"
            )
        return self.shaped(value, layouts.image_shape(value.layout.shape))

    def shaped(self, value: _Value, shape: Shape) -> str:
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
    ) -> _Value:
        """Append the node of a layer."""
        grid = None if layer.grid is None else layer.grid.grid()
        name = layer.origin.name
        self._append(name, op, tuple(inputs), shape, grid, **constants)
        return _Value(tensor=name, shape=shape, layout=layout, grid=grid)

    def emit_image(self, layer: Layer, op: Op[Any], source: str, **constants: Any) -> _Value:
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

    def _input(self, layer: kinds.Input, layout: Layout) -> _Value:
        assert layer.grid is not None
        name, shape, grid = layer.origin.name, layouts.ir_shape(layout), layer.grid.grid()
        self.tensors[name] = TensorType(shape=shape, grid=grid)
        return _Value(tensor=name, shape=shape, layout=layout, grid=grid)

    def _layer(self, layer: Layer) -> _Value:
        inputs = [self.values[name] for name in layer.origin.inputs]
        try:
            return _HANDLERS[type(layer)](self, layer, inputs)
        except _UnsupportedError as reason:
            where = f" [{layer.origin.source}]" if layer.origin.source else ""
            kind = type(layer).__name__.lower()
            self.reasons.append(f'layer "{layer.origin.name}" ({kind}): {reason}{where}')
            # go on as if it had worked, so that all reasons are told at once
            layout = layouts.candidates(layer.origin.shape)[0]
            return replace(inputs[0], layout=layout, shape=layouts.ir_shape(layout))

    def _output(self, name: str, value: _Value) -> str:
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
                    f"axes of {layer.origin.name}": _axes(layout)
                    for layer, layout in zip(self.model.inputs, self.input_layouts, strict=True)
                },
            },
        )
        return graph.with_nodes(_needed(graph))


def _axes(layout: Layout) -> str:
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


def to_graph_inputs(graph: Graph, *inputs: torch.Tensor) -> dict[str, NDArray[np.int8]]:
    """Torch inputs as the int8 arrays that `simulate` and the compiled library take.

    Parameters
    ----------
    graph : Graph
        From `export`.
    inputs : float tensors of shape (batch, ...)
        In the order of the model's arguments.

    Returns
    -------
    dict of str to int8 array of shape (batch, *tensor shape)
    """
    arrays = {}
    for name, x in zip(graph.inputs, inputs, strict=True):
        axes = graph.provenance.get(f"axes of {name}", "")
        kind = graph.tensors[name]
        array = x.detach().cpu().numpy()
        if axes:
            array = array.transpose(0, *(int(n) + 1 for n in axes.split()))
        assert kind.grid is not None
        arrays[name] = kind.grid.quantize(array).reshape(len(array), *kind.shape)
    return arrays


# -- layers with weights --------------------------------------------------------------------------


@exports(kinds.Conv)
def _conv(export: _Export, layer: kinds.Conv, inputs: Sequence[_Value]) -> _Value:
    folded = fold(layer)
    window = _flat(layer.window)
    op: Conv2DOp | DWConv2DOp = Conv2DOp(
        stride=_pair(window.stride),
        dilation=_pair(window.dilation),
        padding=_padding(window),
        groups=layer.groups,
        clamp=_clamp(layer),
        narrow_multiplier=export.narrow,
    )
    if folded.kind == "dwconv2d":
        op = DWConv2DOp(
            stride=op.stride,
            dilation=op.dilation,
            padding=op.padding,
            clamp=op.clamp,
            narrow_multiplier=op.narrow_multiplier,
        )
    source = export.image(inputs[0])
    return export.emit_image(layer, op, source, weights=folded.weights, bias=folded.bias)


@exports(kinds.Linear)
def _linear(export: _Export, layer: kinds.Linear, inputs: Sequence[_Value]) -> _Value:
    (x,) = inputs
    features = x.layout.shape[-1]
    rows = x.layout.order.reshape(-1, features)
    order = rows[0]
    if not (rows == order + features * np.arange(len(rows))[:, None]).all():
        raise _UnsupportedError(
            f"its input of shape {list(x.layout.shape)} does not stand row by row in memory: "
            "flatten it, or use a convolution of size 1"
        )
    folded = fold(layer)
    weights = replace(folded.weights, codes=np.ascontiguousarray(folded.weights.codes[:, order]))
    op = LinearOp(clamp=_clamp(layer), narrow_multiplier=export.narrow)
    shape = layer.origin.shape
    source = export.shaped(x, (*shape[:-1], features))
    return export.emit(
        layer, op, [source], shape, layouts.plain(shape), weights=weights, bias=folded.bias
    )


# -- element by element ---------------------------------------------------------------------------


@exports(kinds.Add, kinds.Mul)
def _binary(export: _Export, layer: kinds.Add | kinds.Mul, inputs: Sequence[_Value]) -> _Value:
    a, b = inputs
    op = (AddOp if isinstance(layer, kinds.Add) else MulOp)(clamp=_clamp(layer))
    if a.layout.same_order(b.layout):
        second = export.shaped(b, a.shape)
        return export.emit(layer, op, [a.tensor, second], a.shape, a.layout)
    per_channel = len(a.layout.shape) > 1 and b.layout.shape == (
        a.layout.shape[0],
        *[1] * (len(a.layout.shape) - 1),
    )
    if per_channel or b.layout.shape == (1,) * len(a.layout.shape):
        sources = [export.image(a), export.image(b)]
        shape = layer.origin.shape
        return export.emit(layer, op, sources, layouts.image_shape(shape), layouts.image(shape))
    raise _UnsupportedError(
        f"operands of shapes {list(a.layout.shape)} and {list(b.layout.shape)} do not stand alike "
        "in memory: the second may have the first's shape, one value per channel, or one value"
    )


@exports(kinds.Unary)
def _unary(export: _Export, layer: kinds.Unary, inputs: Sequence[_Value]) -> _Value:
    (x,) = inputs
    assert x.grid is not None

    def function(values: NDArray[np.float64]) -> NDArray[np.float64]:
        result: NDArray[np.float64] = layer.function(torch.from_numpy(values)).numpy()
        return result

    table = tabulate(function, x.grid, _grid(layer))
    return export.emit(layer, LutOp(), [x.tensor], x.shape, x.layout, table=table)


@exports(kinds.Requantize)
def _requantize(export: _Export, layer: kinds.Requantize, inputs: Sequence[_Value]) -> _Value:
    (x,) = inputs
    return export.emit(layer, RequantizeOp(), [x.tensor], x.shape, x.layout)


@exports(kinds.Softmax)
def _softmax(export: _Export, layer: kinds.Softmax, inputs: Sequence[_Value]) -> _Value:
    (x,) = inputs
    if len(x.layout.shape) == 1:
        source = export.shaped(x, x.layout.shape)
        return export.emit(layer, SoftmaxOp(), [source], x.layout.shape, x.layout)
    return export.emit_image(layer, SoftmaxOp(), _channels(export, layer.axis, x))


@exports(kinds.ArgMax)
def _argmax(export: _Export, layer: kinds.ArgMax, inputs: Sequence[_Value]) -> _Value:
    (x,) = inputs
    shape = layer.origin.shape
    if len(x.layout.shape) == 1:
        if not x.layout.is_plain:
            raise _UnsupportedError(
                "its input was flattened from an image: positions would be permuted"
            )
        source = export.shaped(x, x.layout.shape)
        return export.emit(layer, ArgmaxOp(), [source], (1,), layouts.plain((1,)))
    source = _channels(export, layer.axis, x)
    pixels = shape if len(shape) == 2 else (1, *shape)
    return export.emit(layer, ArgmaxOp(), [source], pixels, layouts.plain(shape))


def _channels(export: _Export, axis: int, value: _Value) -> str:
    if axis != 1:
        raise _UnsupportedError("it must run over the channels (dim=1) of an image or sequence")
    return export.image(value)


# -- pooling and shape ----------------------------------------------------------------------------


@exports(kinds.MaxPool)
def _max_pool(export: _Export, layer: kinds.MaxPool, inputs: Sequence[_Value]) -> _Value:
    window = _flat(layer.window)
    op = MaxPool2DOp(
        kernel=_pair(window.kernel),
        stride=_pair(window.stride),
        dilation=_pair(window.dilation),
        padding=_padding(window),
        clamp=_clamp(layer),
    )
    return export.emit_image(layer, op, export.image(inputs[0]))


@exports(kinds.AvgPool)
def _avg_pool(export: _Export, layer: kinds.AvgPool, inputs: Sequence[_Value]) -> _Value:
    window = _flat(layer.window)
    op = AvgPool2DOp(
        kernel=_pair(window.kernel),
        stride=_pair(window.stride),
        padding=_padding(window),
        clamp=_clamp(layer),
    )
    return export.emit_image(layer, op, export.image(inputs[0]))


@exports(kinds.Mean)
def _mean(export: _Export, layer: kinds.Mean, inputs: Sequence[_Value]) -> _Value:
    op = MeanOp(keep_dims=layer.keep_dims, clamp=_clamp(layer))
    source = export.image(inputs[0])
    if layer.keep_dims:
        return export.emit_image(layer, op, source)
    shape = layer.origin.shape
    return export.emit(layer, op, [source], shape, layouts.plain(shape))


@exports(kinds.Pad)
def _pad(export: _Export, layer: kinds.Pad, inputs: Sequence[_Value]) -> _Value:
    channels, *spatial = layer.padding
    rows, columns = ((0, 0), *spatial)[-2:]
    (before, after) = zip(rows, columns, channels, strict=True)
    value = None
    if layer.value != 0.0:
        value = int(_grid(layer).quantize(np.array([layer.value]))[0])
    op = PadOp(before=before, after=after, value=value)
    return export.emit_image(layer, op, export.image(inputs[0]))


@exports(kinds.Concat)
def _concat(export: _Export, layer: kinds.Concat, inputs: Sequence[_Value]) -> _Value:
    shape = layer.origin.shape
    if len(shape) == 1:
        offsets = np.cumsum([0, *(x.layout.shape[0] for x in inputs)])
        order = np.concatenate([x.layout.order + n for x, n in zip(inputs, offsets, strict=False)])
        sources = [export.shaped(x, x.layout.shape) for x in inputs]
        return export.emit(
            layer, ConcatOp(axis=0), sources, shape, Layout(shape=shape, order=order)
        )
    sources = [export.image(x) for x in inputs]
    # torch's (batch, c, h, w) or (batch, c, length) against the IR's (h, w, c)
    axis = {1: 2, 2: 0, 3: 1}[layer.axis] if len(shape) == 3 else {1: 2, 2: 1}[layer.axis]
    return export.emit(
        layer, ConcatOp(axis=axis), sources, layouts.image_shape(shape), layouts.image(shape)
    )


@exports(kinds.Reshape)
def _reshape(export: _Export, layer: kinds.Reshape, inputs: Sequence[_Value]) -> _Value:
    (x,) = inputs
    return replace(x, layout=x.layout.reshaped(layer.origin.shape), view=layer.origin.name)


@exports(kinds.Permute)
def _permute(export: _Export, layer: kinds.Permute, inputs: Sequence[_Value]) -> _Value:
    (x,) = inputs
    axes = tuple(n - 1 for n in layer.axes[1:])
    return replace(x, layout=x.layout.permuted(axes), view=layer.origin.name)


@exports(kinds.Dropout)
def _dropout(export: _Export, layer: kinds.Dropout, inputs: Sequence[_Value]) -> _Value:
    return inputs[0]


# -- small helpers --------------------------------------------------------------------------------


def _quantizer(layer: Layer) -> ActivationQuantizer:
    assert layer.grid is not None
    return layer.grid


def _grid(layer: Layer) -> Grid:
    return _quantizer(layer).grid()


def _clamp(layer: Layer) -> Pair:
    return _quantizer(layer).clamp(layer.limits)


def _flat(window: Window) -> Window:
    """A window over sequences as one of height 1."""
    if len(window.kernel) == 2:
        return window
    return Window(
        kernel=(1, *window.kernel),
        stride=(1, *window.stride),
        dilation=(1, *window.dilation),
        padding=((0, 0), *window.padding),
    )


def _pair(values: Shape) -> Pair:
    return values[0], values[1]


def _padding(window: Window) -> tuple[int, int, int, int]:
    (top, bottom), (left, right) = window.padding
    return top, bottom, left, right
