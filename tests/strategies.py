# SPDX-License-Identifier: Apache-2.0
"""Hypothesis strategies: grids, weights, and small legal graphs of every op."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from codeq_compile.ir import DType, Graph, Grid, Node, Op, TensorType, Weights, verify
from codeq_compile.ir.op import Array
from codeq_compile.memory.streams import Stream, schedule
from codeq_compile.numerics import Int8Array
from codeq_compile.ops.add import Add
from codeq_compile.ops.argmax import Argmax
from codeq_compile.ops.avgpool2d import AvgPool2D
from codeq_compile.ops.concat import Concat
from codeq_compile.ops.conv2d import Conv2D
from codeq_compile.ops.dwconv2d import DWConv2D
from codeq_compile.ops.linear import Linear
from codeq_compile.ops.lut import Lut
from codeq_compile.ops.maxpool2d import MaxPool2D
from codeq_compile.ops.mean import Mean
from codeq_compile.ops.mul import Mul
from codeq_compile.ops.pad import Pad
from codeq_compile.ops.requantize import Requantize
from codeq_compile.ops.reshape import Reshape
from codeq_compile.ops.softmax import Softmax
from tests.graphs import fitting_grid, grid, random_bias, random_int8, random_weights


class GraphBuilder:
    """Grows a graph node by node; shapes come from the ops' own rules.

    Parameters
    ----------
    rng : numpy.random.Generator
        For weights, biases and tables.
    name : str
    """

    def __init__(self, rng: np.random.Generator, name: str = "net") -> None:
        self.rng = rng
        self.tensors: dict[str, TensorType] = {}
        self._name = name
        self._inputs: list[str] = []
        self._constants: dict[str, Array] = {}
        self._nodes: list[Node] = []

    def input(self, kind: TensorType) -> str:
        """A graph input; returns the tensor's name."""
        name = f"x{len(self._inputs)}"
        self.tensors[name] = kind
        self._inputs.append(name)
        return name

    def constant(self, kind: TensorType) -> str:
        """An operand that is the same for every sample, random; returns the tensor's name."""
        name = f"c{len(self._constants)}"
        self.tensors[name] = kind
        limits = np.iinfo(kind.dtype.numpy)
        values = self.rng.integers(limits.min, limits.max + 1, kind.shape)
        self._constants[name] = values.astype(kind.dtype.numpy)
        return name

    def add(
        self,
        op: Op[Any],
        *inputs: str,
        output: Grid | None = None,
        weights: Weights | None = None,
        bias: Array | None = None,
        table: Int8Array | None = None,
        name: str | None = None,
    ) -> str:
        """A node; returns the name of its output.

        Without `output` the grid is the one the op fixes, a fitting one with weights, or the first
        input's.
        """
        name = name or f"{op.kind}{len(self._nodes)}"
        node = Node(
            name=name,
            op=op,
            inputs=inputs,
            output=f"{name}.out",
            weights=weights,
            bias=bias,
            table=table,
        )
        types = tuple(self.tensors[tensor] for tensor in inputs)
        kind = op.infer(node, types)
        if kind.dtype is DType.S8 and (output is not None or kind.grid is None):
            fallback = types[0].grid if weights is None else fitting_grid(types[0], weights)
            kind = replace(kind, grid=output or fallback)
        self.tensors[node.output] = kind
        self._nodes.append(node)
        return node.output

    def unread(self) -> list[str]:
        """Outputs of nodes that no node reads."""
        read = {name for node in self._nodes for name in node.inputs}
        return [node.output for node in self._nodes if node.output not in read]

    def graph(self, *outputs: str) -> Graph:
        """The verified graph; without arguments every unread tensor is an output."""
        return verify(
            Graph(
                name=self._name,
                tensors=dict(self.tensors),
                inputs=tuple(self._inputs),
                constants=dict(self._constants),
                outputs=outputs or tuple(self.unread()),
                nodes=tuple(self._nodes),
            )
        )


def seeds() -> st.SearchStrategy[int]:
    """Seeds of a generator for contents that need not shrink."""
    return st.integers(0, 2**32 - 1)


def grids() -> st.SearchStrategy[Grid]:
    """Activation grids with float32 scales around 0.05."""
    return st.builds(grid, st.floats(0.01, 0.25), st.integers(-128, 127))


@st.composite
def weights(draw: st.DrawFn, shape: tuple[int, ...] | None = None) -> Weights:
    """Weights of every width: with and without gap, as a table of levels; dense to all zero."""
    if shape is None:
        shape = draw(st.tuples(st.integers(1, 5), st.integers(1, 40)))
    bits = draw(st.integers(1, 8))
    zeros = draw(st.sampled_from([0.0, 0.5, 0.9, 1.0]))
    rng = np.random.default_rng(draw(seeds()))
    levels = None
    gap = 0
    if bits == 1 or (bits < 8 and draw(st.booleans())):
        count = draw(st.integers(1, min(1 << bits, 9)))
        levels = draw(st.lists(st.integers(-128, 127), min_size=count, max_size=count, unique=True))
    elif draw(st.booleans()):
        gap = draw(st.integers(0, 127 - ((1 << (bits - 1)) - 1)))
    return random_weights(
        rng,
        shape,
        bits=bits,
        zeros=zeros,
        gap=gap,
        levels=levels,
        per_channel=draw(st.booleans()),
    )


@st.composite
def graphs(draw: st.DrawFn, max_nodes: int = 6) -> Graph:
    """Small legal graphs: branches, several inputs and outputs, layers that change nothing."""
    builder = GraphBuilder(np.random.default_rng(draw(seeds())))
    size = st.integers(1, 6)
    for _ in range(draw(st.integers(1, 2))):
        builder.input(TensorType(shape=draw(st.tuples(size, size, size)), grid=draw(grids())))
    for _ in range(draw(st.integers(1, max_nodes))):
        source = draw(st.sampled_from(_readable(builder)))
        steps = _ANY_STEPS + (_IMAGE_STEPS if len(builder.tensors[source].shape) == 3 else ())
        draw(st.sampled_from(steps))(draw, builder, source)
    return builder.graph(*_outputs(draw, builder))


def _outputs(draw: st.DrawFn, builder: GraphBuilder) -> list[str]:
    """What nobody reads, and sometimes one more that is also read inside."""
    outputs = builder.unread()
    inner = [name for name in builder.tensors if name.endswith(".out") and name not in outputs]
    if inner and draw(st.booleans()):
        outputs.append(draw(st.sampled_from(inner)))
    return outputs


@st.composite
def chains(draw: st.DrawFn, max_nodes: int = 6) -> Graph:
    """Legal graphs whose layers read the latest tensors, and whose only output is the last one.

    Convolutions stand between layers of every other kind, as in networks; the last one is one too.
    """
    builder = GraphBuilder(np.random.default_rng(draw(seeds())))
    size = st.integers(1, 6)
    x = builder.input(TensorType(shape=draw(st.tuples(size, size, size)), grid=draw(grids())))
    for number in range(draw(st.integers(2, max_nodes))):
        kind = builder.tensors[x]
        if kind.dtype is not DType.S8:
            break
        weighted = (_conv2d, _dwconv2d) if len(kind.shape) == 3 else (_linear,)
        others = _ANY_STEPS + (_IMAGE_STEPS if len(kind.shape) == 3 else ())
        x = draw(st.sampled_from(others if number % 2 else weighted))(draw, builder, x)
    if builder.tensors[x].dtype is DType.S8:
        x = (_conv2d if len(builder.tensors[x].shape) == 3 else _linear)(draw, builder, x)
    return builder.graph(x)


@st.composite
def images(draw: st.DrawFn, max_nodes: int = 6) -> Graph:
    """Graphs of images only, whose layers can all be computed some rows at a time."""
    builder = GraphBuilder(np.random.default_rng(draw(seeds())))
    shape = draw(st.tuples(st.integers(1, 9), st.integers(1, 6), st.integers(1, 5)))
    x = builder.input(TensorType(shape=shape, grid=draw(grids())))
    for _ in range(draw(st.integers(2, max_nodes))):
        x = draw(st.sampled_from([x, draw(st.sampled_from(_readable(builder)))]))
        x = draw(st.sampled_from(_ROW_STEPS))(draw, builder, x)
    return builder.graph(*_outputs(draw, builder))


@st.composite
def streams(draw: st.DrawFn, graph: Graph) -> Stream:
    """Any neighbours of a graph of `images`, any number of rows a call."""
    end = len(graph.nodes) - 1
    first = draw(st.integers(0, end))
    last = end - draw(st.integers(0, end - first))  # small draws are frequent: long streams
    return schedule(graph, first, last, draw(st.sampled_from([1, 2, 3, 4, 8])))


Step = Callable[[st.DrawFn, GraphBuilder, str], str]


def _readable(builder: GraphBuilder) -> list[str]:
    return [name for name, kind in builder.tensors.items() if kind.dtype is DType.S8]


def _clamp(draw: st.DrawFn) -> tuple[int, int]:
    low = draw(st.sampled_from([-128, -128, -20, 0]))
    return low, draw(st.sampled_from([127, 127, 40]))


def _window(draw: st.DrawFn, kind: TensorType) -> tuple[tuple[int, int], tuple[int, int, int, int]]:
    """A kernel and a padding smaller than it that fit an image."""
    h, w, _ = kind.shape
    kernel = (draw(st.integers(1, min(3, h))), draw(st.integers(1, min(3, w))))
    sides = (kernel[0], kernel[0], kernel[1], kernel[1])
    top, bottom, left, right = (draw(st.integers(0, side - 1)) for side in sides)
    return kernel, (top, bottom, left, right)


def _stride(draw: st.DrawFn) -> tuple[int, int]:
    return draw(st.integers(1, 2)), draw(st.integers(1, 2))


def _conv2d(draw: st.DrawFn, builder: GraphBuilder, x: str) -> str:
    kind = builder.tensors[x]
    channels = kind.shape[2]
    kernel, padding = _window(draw, kind)
    groups = draw(st.sampled_from([g for g in range(1, channels + 1) if channels % g == 0]))
    shape = (groups * draw(st.integers(1, 3)), *kernel, channels // groups)
    layer = draw(weights(shape))
    op = Conv2D(
        stride=_stride(draw),
        padding=padding,
        groups=groups,
        clamp=_clamp(draw),
        multiplier_bits=draw(st.sampled_from((5, 13, 16, 31))),
    )
    return builder.add(op, x, weights=layer, bias=_bias(draw, builder, layer))


def _dwconv2d(draw: st.DrawFn, builder: GraphBuilder, x: str) -> str:
    kind = builder.tensors[x]
    kernel, padding = _window(draw, kind)
    layer = draw(weights((kind.shape[2] * draw(st.integers(1, 2)), *kernel)))
    op = DWConv2D(stride=_stride(draw), padding=padding, clamp=_clamp(draw))
    return builder.add(op, x, weights=layer, bias=_bias(draw, builder, layer))


def _dilated_conv2d(draw: st.DrawFn, builder: GraphBuilder, x: str) -> str:
    h, w, channels = builder.tensors[x].shape
    kernel, dilation = draw(st.sampled_from([((2, 1), (2, 1)), ((3, 2), (2, 3)), ((2, 2), (3, 1))]))
    reach = [(k - 1) * d for k, d in zip(kernel, dilation, strict=True)]
    # as high and wide as the window at least, and no window in the padding alone
    padding = [
        (draw(st.integers(max(0, r + 1 - s), r)), 0) for r, s in zip(reach, (h, w), strict=True)
    ]
    layer = draw(weights((draw(st.integers(1, 4)), *kernel, channels)))
    op = Conv2D(
        stride=_stride(draw),
        dilation=dilation,
        padding=(*padding[0], *padding[1]),
        clamp=_clamp(draw),
    )
    return builder.add(op, x, weights=layer, bias=_bias(draw, builder, layer))


def _residual(draw: st.DrawFn, builder: GraphBuilder, x: str) -> str:
    """add or mul of two tensors of one shape."""
    op = draw(st.sampled_from([Add, Mul]))(clamp=_clamp(draw))
    shape = builder.tensors[x].shape
    others = [name for name in _readable(builder) if builder.tensors[name].shape == shape]
    return builder.add(op, x, draw(st.sampled_from(others)), output=draw(grids()))


def _linear(draw: st.DrawFn, builder: GraphBuilder, x: str) -> str:
    layer = draw(weights((draw(st.integers(1, 6)), builder.tensors[x].shape[-1])))
    op = Linear(clamp=_clamp(draw))
    return builder.add(op, x, weights=layer, bias=_bias(draw, builder, layer))


def _bias(draw: st.DrawFn, builder: GraphBuilder, layer: Weights) -> Array | None:
    return random_bias(builder.rng, layer) if draw(st.booleans()) else None


def _maxpool2d(draw: st.DrawFn, builder: GraphBuilder, x: str) -> str:
    kernel, padding = _window(draw, builder.tensors[x])
    op = MaxPool2D(kernel=kernel, stride=_stride(draw), padding=padding, clamp=_clamp(draw))
    return builder.add(op, x)


def _avgpool2d(draw: st.DrawFn, builder: GraphBuilder, x: str) -> str:
    kernel, padding = _window(draw, builder.tensors[x])
    op = AvgPool2D(kernel=kernel, stride=_stride(draw), padding=padding, clamp=_clamp(draw))
    return builder.add(op, x)


def _mean(draw: st.DrawFn, builder: GraphBuilder, x: str) -> str:
    return builder.add(Mean(keep_dims=draw(st.booleans()), clamp=_clamp(draw)), x)


def _pad(draw: st.DrawFn, builder: GraphBuilder, x: str) -> str:
    border = st.integers(0, 2)
    channels = draw(st.sampled_from([0, 0, 0, 1]))
    zero_point = builder.tensors[x].zero_point
    op = Pad(
        before=(draw(border), draw(border), channels),
        after=(draw(border), draw(border), 0),
        value=draw(st.sampled_from([None, zero_point, 7])),
    )
    return builder.add(op, x)


def _padded_conv2d(draw: st.DrawFn, builder: GraphBuilder, x: str) -> str:
    return _conv2d(draw, builder, _pad(draw, builder, x))


def _elementwise(draw: st.DrawFn, builder: GraphBuilder, x: str) -> str:
    """add or mul with a tensor that repeats along `x`: itself, a twin of its shape or its mean."""
    op = draw(st.sampled_from([Add, Mul]))(clamp=_clamp(draw))
    shape = builder.tensors[x].shape
    others = [n for n in _readable(builder) if builder.tensors[n].shape in {shape, shape[-1:]}]
    return builder.add(op, x, draw(st.sampled_from(others)), output=draw(grids()))


def _concat(draw: st.DrawFn, builder: GraphBuilder, x: str) -> str:
    kind = builder.tensors[x]
    others = [
        name
        for name in _readable(builder)
        if (builder.tensors[name].grid, builder.tensors[name].shape[:-1])
        == (kind.grid, kind.shape[:-1])
    ]
    chosen = draw(st.lists(st.sampled_from(others), max_size=2))
    return builder.add(Concat(axis=-1), x, *chosen)


def _reshape(draw: st.DrawFn, builder: GraphBuilder, x: str) -> str:
    kind = builder.tensors[x]
    shapes = [kind.shape, (kind.elements,), (1, 1, kind.elements), (1, kind.elements, 1)]
    return builder.add(Reshape(shape=draw(st.sampled_from(shapes))), x)


def _requantize(draw: st.DrawFn, builder: GraphBuilder, x: str) -> str:
    output = draw(st.sampled_from([builder.tensors[x].grid, None])) or draw(grids())
    return builder.add(Requantize(clamp=_clamp(draw)), x, output=output)


def _lut(draw: st.DrawFn, builder: GraphBuilder, x: str) -> str:
    table = random_int8(builder.rng, (256,))
    if draw(st.booleans()):
        table = np.arange(-128, 128, dtype=np.int8)
    return builder.add(Lut(), x, table=table)


def _softmax(draw: st.DrawFn, builder: GraphBuilder, x: str) -> str:
    return builder.add(Softmax(), x)


def _argmax(draw: st.DrawFn, builder: GraphBuilder, x: str) -> str:
    return builder.add(Argmax(), x)


_IMAGE_STEPS: tuple[Step, ...] = (
    _conv2d,
    _conv2d,
    _dwconv2d,
    _maxpool2d,
    _avgpool2d,
    _mean,
    _pad,
    _padded_conv2d,
)
_ROW_STEPS: tuple[Step, ...] = (
    _conv2d,
    _dilated_conv2d,
    _dwconv2d,
    _maxpool2d,
    _avgpool2d,
    _residual,
    _residual,
    _requantize,
    _lut,
)
_ANY_STEPS: tuple[Step, ...] = (
    _linear,
    _elementwise,
    _elementwise,
    _concat,
    _reshape,
    _requantize,
    _lut,
    _softmax,
    _argmax,
)
