# SPDX-License-Identifier: Apache-2.0
"""Each op of the IR as operators of ONNX: in reals, between a dequantizer and a quantizer."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from codeq_compile.export.onnx.document import Document
from codeq_compile.frontends.onnx.elementwise import FUNCTIONS
from codeq_compile.ir.graph import Graph, Node
from codeq_compile.ir.op import Array
from codeq_compile.ir.types import Float32Array, Grid, Shape, TensorType, Weights
from codeq_compile.ops.base import scale_factors
from codeq_compile.ops.lut import tabulate

_TO_IMAGE = (0, 3, 1, 2)
_FROM_IMAGE = (0, 2, 3, 1)
_INT8 = (-128, 127)


def onnx_shape(shape: Shape) -> Shape:
    """Shape in ONNX, with a batch of 1: images count their channels first."""
    if len(shape) == 3:
        return 1, shape[2], shape[0], shape[1]
    return 1, *shape


def onnx_axis(axis: int, rank: int) -> int:
    """An axis of the IR in ONNX."""
    return (2, 3, 1)[axis] if rank == 3 else axis + 1


@dataclass(slots=True, kw_only=True)
class Export:
    """A graph while it is written.

    Parameters
    ----------
    reals : dict of str to str
        Tensor of the graph → tensor of the file that holds its real values.
    integers : dict of str to str
        Likewise the tensor of its int8.
    multiplier_bits : dict of str to int
        Layers whose factors have less than 31 bits.
    """

    document: Document
    graph: Graph
    reals: dict[str, str] = field(default_factory=dict)
    integers: dict[str, str] = field(default_factory=dict)
    multiplier_bits: dict[str, int] = field(default_factory=dict)

    def begin(self, name: str) -> None:
        """An input of the graph: floats, which are quantized first."""
        real = self.document.name(name)
        self._quantized(name, real, f"{name}.dequantized")

    def write(self, node: Node) -> None:
        """A layer, with what quantizes its output."""
        result = WRITERS[node.op.kind](self, node)
        if result is None:  # it has written its output itself
            return
        if self.graph.tensors[node.output].grid is None:
            self.reals[node.output] = result
            return
        self._quantized(node.output, self.limited(node, result), node.output)

    def _quantized(self, name: str, real: str, wanted: str) -> None:
        q = self.document.add(
            "QuantizeLinear", [real, *self.grid(name)], f"{name}.quantize",
            output=self.document.name(f"{name}.q"),
        )  # fmt: skip
        self.dequantized(name, q, wanted)

    def dequantized(self, name: str, q: str, wanted: str | None = None) -> None:
        """The real values of a tensor whose int8 are there."""
        self.integers[name] = q
        self.reals[name] = self.document.add(
            "DequantizeLinear", [q, *self.grid(name)], f"{name}.dequantize",
            output=self.document.name(wanted or name),
        )  # fmt: skip

    def grid(self, name: str) -> list[str]:
        """Scale and zero point of a tensor."""
        kind = self.graph.tensors[name]
        return [
            self.document.constant(f"{name}.scale", np.float32(kind.scale), "float32"),
            self.document.constant(f"{name}.zero_point", np.int8(kind.zero_point), "int8"),
        ]

    def type(self, name: str) -> TensorType:
        return self.graph.tensors[name]

    def add(self, node: Node, kind: str, *inputs: str, **attributes: Any) -> str:
        """An operator that is called like the layer; its output."""
        name = self.document.name(node.name if kind not in {"Relu", "Clip"} else f"{node.name}.act")
        output = self.document.name(f"{name}.real")
        return self.document.add(kind, inputs, name, output=output, **attributes)

    def constant(self, node: Node, what: str, array: Any, dtype: str) -> str:
        return self.document.constant(f"{node.name}.{what}", array, dtype)

    def limited(self, node: Node, real: str) -> str:
        """The limits of a layer, as a function of real values."""
        low, high = getattr(node.op, "clamp", _INT8)
        grid = self.type(node.output).grid
        if (low, high) == _INT8 or grid is None:
            return real
        if (low, high) == (grid.zero_point, 127):
            return self.add(node, "Relu", real)
        limits = [
            "" if limit == end else self.constant(node, what, _real(grid, limit), "float32")
            for what, limit, end in zip(("min", "max"), (low, high), _INT8, strict=True)
        ]
        return self.add(node, "Clip", real, *limits)

    def reshaped(self, node: Node, name: str, old: Shape, new: Shape) -> str:
        """A tensor of the file in the shape of another tensor of the graph."""
        if onnx_shape(old) == onnx_shape(new) and (len(old) == 3) == (len(new) == 3):
            return name
        if _is_torn(old):
            name = self.add(node, "Transpose", name, perm=_FROM_IMAGE)
        target = (1, *new) if _is_torn(new) else onnx_shape(new)
        shape = self.constant(node, "shape", (0, *target[1:]), "int64")
        name = self.add(node, "Reshape", name, shape)
        if _is_torn(new):
            name = self.add(node, "Transpose", name, perm=_TO_IMAGE)
        return name

    def operand(self, node: Node, position: int, beside: Shape) -> str:
        """The real values of an operand that repeats along another one of more axes."""
        name = node.inputs[position]
        shape = self.type(name).shape
        full = (1,) * (len(beside) - len(shape)) + shape
        if name not in self.graph.constants:
            return self.reshaped(node, self.reals[name], shape, full)
        values = self.graph.constants[name].reshape(full)
        if len(full) == 3:
            values = values.transpose(2, 0, 1)
        stored = self.document.constant(name, values[None], "int8")
        return self.document.add("DequantizeLinear", [stored, *self.grid(name)], f"{name}.real")

    def weights(self, node: Node, values: Array, axis: int) -> list[str]:
        """Names of weights and, where there is one, bias, behind their dequantizers."""
        assert node.weights is not None
        (x,) = node.inputs
        scale = self._weight_scale(node, node.weights)
        per_channel: dict[str, Any] = {"axis": axis} if len(scale) > 1 else {}
        stored = [
            self.constant(node, "weight.q", values, "int8"),
            self.constant(node, "weight.scale", _scalar(scale), "float32"),
        ]
        real = self.document.add("DequantizeLinear", stored, f"{node.name}.weight", **per_channel)
        if node.bias is None:
            return [real]
        unit = self.type(x).scale * scale.astype(np.float64)
        stored = [
            self.constant(node, "bias.q", node.bias, "int32"),
            self.constant(node, "bias.scale", _scalar(unit.astype(np.float32)), "float32"),
        ]
        per_channel = dict.fromkeys(per_channel, 0)
        bias = self.document.add("DequantizeLinear", stored, f"{node.name}.bias", **per_channel)
        return [real, bias]

    def _weight_scale(self, node: Node, weights: Weights) -> Float32Array:
        """The weights' scale; where factors are rounded, the one that makes the rounded factor."""
        op: Any = node.op
        float32_product = getattr(op, "float32_product", False)
        if op.multiplier_bits == 31 and not float32_product:
            return weights.scale
        x, y = self.type(node.inputs[0]).scale, self.type(node.output).scale
        multiplier, exponent = scale_factors(
            weights.scale, x, y, bits=op.multiplier_bits, float32_product=float32_product
        )
        factor = np.ldexp(multiplier.astype(np.float64), exponent.astype(np.int64) - 31)
        scale: Float32Array = (factor * y / x).astype(np.float32)
        if op.multiplier_bits < 31:
            self.multiplier_bits[node.name] = op.multiplier_bits
        return np.where(scale > 0, scale, weights.scale)


def _scalar(scale: Float32Array) -> Array:
    """One scale for a tensor has no axes."""
    return scale if len(scale) > 1 else scale.reshape(())


def _real(grid: Grid, q: int) -> np.float32:
    return np.float32(grid.scale * (q - grid.zero_point))


def _is_torn(shape: Shape) -> bool:
    """An image whose elements have another order in ONNX than in the graph."""
    return len(shape) == 3 and shape[2] > 1 and shape[0] * shape[1] > 1


Writer = Callable[[Export, Node], str | None]
WRITERS: dict[str, Writer] = {}
"""By the kind of the op: each gives the tensor of real values that is still to be quantized."""


def writes(*kinds: str) -> Callable[[Writer], Writer]:
    """Decorator: the function writes these ops."""

    def register(writer: Writer) -> Writer:
        for kind in kinds:
            assert kind not in WRITERS, f"two writers for {kind}"
            WRITERS[kind] = writer
        return writer

    return register


@writes("conv2d", "dwconv2d")
def convolution(export: Export, node: Node) -> str:
    op: Any = node.op
    assert node.weights is not None
    values = node.weights.values
    if op.kind == "dwconv2d":
        groups = export.type(node.inputs[0]).shape[2]
        values = values[:, None]
    else:
        groups = op.groups
        values = values.transpose(0, 3, 1, 2)
    return export.add(
        node,
        "Conv",
        export.reals[node.inputs[0]],
        *export.weights(node, values, axis=0),
        kernel_shape=values.shape[2:],
        strides=op.stride,
        dilations=op.dilation,
        pads=_pads(op.padding),
        group=groups,
    )


def _pads(padding: Sequence[int]) -> tuple[int, ...]:
    """(top, left, bottom, right)."""
    top, bottom, left, right = padding
    return top, left, bottom, right


@writes("linear")
def linear(export: Export, node: Node) -> str:
    assert node.weights is not None
    (x,) = node.inputs
    values, real = node.weights.values, export.reals[x]
    match len(export.type(x).shape):
        case 1:
            return export.add(node, "Gemm", real, *export.weights(node, values, axis=0), transB=1)
        case 3:
            # for each pixel: a convolution of 1x1
            return export.add(
                node, "Conv", real, *export.weights(node, values[:, :, None, None], axis=0)
            )
    matrix, *bias = export.weights(node, values.T, axis=1)
    product = export.add(node, "MatMul", real, matrix)
    return export.add(node, "Add", product, *bias) if bias else product


@writes("add", "sub", "mul", "prelu", "extremum")
def binary(export: Export, node: Node) -> str:
    op: Any = node.op
    kinds = {"add": "Add", "sub": "Sub", "mul": "Mul", "prelu": "PRelu"}
    kind = kinds.get(op.kind) or ("Max" if op.largest else "Min")
    shape = export.type(node.inputs[0]).shape
    return export.add(node, kind, *(export.operand(node, i, shape) for i in (0, 1)))


@writes("avgpool2d", "maxpool2d")
def pool(export: Export, node: Node) -> str:
    op: Any = node.op
    dilation = getattr(op, "dilation", (1, 1))
    return export.add(
        node,
        "AveragePool" if op.kind == "avgpool2d" else "MaxPool",
        export.reals[node.inputs[0]],
        kernel_shape=op.kernel,
        strides=op.stride,
        pads=_pads(op.padding),
        **({} if dilation == (1, 1) else {"dilations": dilation}),
    )


@writes("mean")
def mean(export: Export, node: Node) -> str:
    op: Any = node.op
    real = export.add(node, "GlobalAveragePool", export.reals[node.inputs[0]])
    channels = export.type(node.inputs[0]).shape[2]
    return real if op.keep_dims else export.reshaped(node, real, (1, 1, channels), (channels,))


@writes("pad")
def pad(export: Export, node: Node) -> str:
    op: Any = node.op
    (x,) = node.inputs
    grid = export.type(x).grid
    assert grid is not None
    borders = [0, op.before[2], *op.before[:2], 0, op.after[2], *op.after[:2]]
    value = grid.zero_point if op.value is None else op.value
    return export.add(
        node,
        "Pad",
        export.reals[x],
        export.constant(node, "pads", borders, "int64"),
        export.constant(node, "value", _real(grid, value), "float32"),
    )


@writes("concat")
def concat(export: Export, node: Node) -> str:
    op: Any = node.op
    rank = len(export.type(node.output).shape)
    shape = export.type(node.inputs[0]).shape
    names = [
        export.operand(node, position, export.type(name).shape)
        for position, name in enumerate(node.inputs)
    ]
    return export.add(node, "Concat", *names, axis=onnx_axis(op.axis % len(shape), rank))


@writes("slice")
def slice_(export: Export, node: Node) -> str:
    op: Any = node.op
    (x,) = node.inputs
    shape = export.type(x).shape
    ends = [
        # one before the first position is written as one that no axis has
        end if (end := first + step * count) >= 0 else -n - 1
        for first, step, count, n in zip(op.begin, op.step, op.shape, shape, strict=True)
    ]
    axes = [onnx_axis(axis, len(shape)) for axis in range(len(shape))]
    lists = {"starts": op.begin, "ends": ends, "axes": axes, "steps": op.step}
    names = [export.constant(node, what, each, "int64") for what, each in lists.items()]
    return export.add(node, "Slice", export.reals[x], *names)


@writes("reshape")
def reshape(export: Export, node: Node) -> str:
    (x,) = node.inputs
    return export.reshaped(
        node, export.reals[x], export.type(x).shape, export.type(node.output).shape
    )


@writes("transpose")
def transpose(export: Export, node: Node) -> str:
    op: Any = node.op
    (x,) = node.inputs
    perm = [0, *(axis + 1 for axis in op.axes)]
    if len(op.axes) == 3:
        # from (c, h, w), by the order of (h, w, c), to (c, h, w) again
        perm = [_FROM_IMAGE[perm[axis]] for axis in _TO_IMAGE]
    return export.add(node, "Transpose", export.reals[x], perm=perm)


@writes("upsample2d")
def upsample2d(export: Export, node: Node) -> str:
    op: Any = node.op
    scales = export.constant(node, "scales", (1, 1, *op.factor), "float32")
    return export.add(
        node,
        "Resize",
        export.reals[node.inputs[0]],
        "",
        scales,
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )


@writes("softmax")
def softmax(export: Export, node: Node) -> str:
    op: Any = node.op
    (x,) = node.inputs
    real, rank = export.reals[x], len(export.type(x).shape)
    if op.beta != 1.0:
        real = export.add(node, "Mul", real, export.constant(node, "beta", op.beta, "float32"))
    return export.add(node, "Softmax", real, axis=onnx_axis(rank - 1, rank))


@writes("argmax")
def argmax(export: Export, node: Node) -> str:
    (x,) = node.inputs
    rank = len(export.type(x).shape)
    return export.add(
        node,
        "ArgMax",
        export.reals[x],
        axis=onnx_axis(rank - 1, rank),
        keepdims=int(rank == 1),
    )


@writes("requantize")
def requantize(export: Export, node: Node) -> str:
    return export.reals[node.inputs[0]]


_NAMED = ("Sigmoid", "Tanh", "HardSwish", "Softplus", "Softsign", "Exp", "Abs", "Neg")
"""Functions that a table is compared with."""


@writes("lut")
def lut(export: Export, node: Node) -> str | None:
    """As a function that has a name, if the table is that; else looked up by the integers."""
    (x,) = node.inputs
    name = function_of(node.table, export.type(x), export.type(node.output))
    real = export.reals[x]
    if name == "Silu":
        return export.add(node, "Mul", real, export.add(node, "Sigmoid", real))
    if name is not None:
        return export.add(node, name, real)
    wide = export.add(node, "Cast", export.integers[x], to=6)
    position = export.add(node, "Add", wide, export.constant(node, "first", 128, "int32"))
    table = export.constant(node, "table", node.table, "int8")
    export.dequantized(node.output, export.add(node, "Gather", table, position))
    return None


def function_of(table: Array | None, x: TensorType, y: TensorType) -> str | None:
    """The function whose table this is, made as at export [lut-C3]; None if it is none of them."""
    if x.grid is None or y.grid is None or table is None:
        return None
    sigmoid = FUNCTIONS["Sigmoid"]
    known: Mapping[str, Callable[[Any], Any]] = {
        **{name: FUNCTIONS[name] for name in _NAMED},
        "Silu": lambda v: v * sigmoid(v),
    }
    with np.errstate(all="ignore"):
        return next(
            (
                name
                for name, function in known.items()
                if np.array_equal(tabulate(function, x.grid, y.grid), table)
            ),
            None,
        )
