# SPDX-License-Identifier: Apache-2.0
"""Sums, products, functions of one value, softmax and argmax."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from codeq_compile.ops.add import Add as AddOp
from codeq_compile.ops.argmax import Argmax as ArgmaxOp
from codeq_compile.ops.lut import Lut as LutOp
from codeq_compile.ops.lut import tabulate
from codeq_compile.ops.mul import Mul as MulOp
from codeq_compile.ops.requantize import Requantize as RequantizeOp
from codeq_compile.ops.softmax import Softmax as SoftmaxOp
from codeq_train import layers as kinds
from codeq_train import layout as layouts
from codeq_train.export.state import Export, UnsupportedError, Value, clamp_of, exports, grid_of


@exports(kinds.Add, kinds.Mul)
def _binary(export: Export, layer: kinds.Add | kinds.Mul, inputs: Sequence[Value]) -> Value:
    a, b = inputs
    op = (AddOp if isinstance(layer, kinds.Add) else MulOp)(clamp=clamp_of(layer))
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
    raise UnsupportedError(
        f"operands of shapes {list(a.layout.shape)} and {list(b.layout.shape)} do not stand alike "
        "in memory: the second may have the first's shape, one value per channel, or one value"
    )


@exports(kinds.Unary)
def _unary(export: Export, layer: kinds.Unary, inputs: Sequence[Value]) -> Value:
    (x,) = inputs
    assert x.grid is not None

    def function(values: NDArray[np.float64]) -> NDArray[np.float64]:
        result: NDArray[np.float64] = layer.function(torch.from_numpy(values)).numpy()
        return result

    table = tabulate(_finite(function), x.grid, grid_of(layer)).clip(*clamp_of(layer))
    return export.emit(layer, LutOp(), [x.tensor], x.shape, x.layout, table=table)


def _finite(
    function: Callable[[NDArray[np.float64]], NDArray[np.float64]],
) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """`function`, refused where it has no value."""

    def checked(values: NDArray[np.float64]) -> NDArray[np.float64]:
        result = function(values)
        if not np.isfinite(result).all():
            at = values[~np.isfinite(result)][0]
            raise UnsupportedError(f"it has no finite value at {at:g}, which its input can take")
        return result

    return checked


@exports(kinds.Requantize)
def _requantize(export: Export, layer: kinds.Requantize, inputs: Sequence[Value]) -> Value:
    (x,) = inputs
    return export.emit(layer, RequantizeOp(clamp=clamp_of(layer)), [x.tensor], x.shape, x.layout)


@exports(kinds.Softmax)
def _softmax(export: Export, layer: kinds.Softmax, inputs: Sequence[Value]) -> Value:
    (x,) = inputs
    if len(x.layout.shape) == 1:
        source = export.shaped(x, x.layout.shape)
        return export.emit(layer, SoftmaxOp(), [source], x.layout.shape, x.layout)
    return export.emit_image(layer, SoftmaxOp(), _channels(export, layer.axis, x))


@exports(kinds.ArgMax)
def _argmax(export: Export, layer: kinds.ArgMax, inputs: Sequence[Value]) -> Value:
    (x,) = inputs
    shape = layer.origin.shape
    if len(x.layout.shape) == 1:
        if not x.layout.is_plain:
            raise UnsupportedError(
                "its input was flattened from an image: positions would be permuted"
            )
        source = export.shaped(x, x.layout.shape)
        return export.emit(layer, ArgmaxOp(), [source], (1,), layouts.plain((1,)))
    source = _channels(export, layer.axis, x)
    pixels = shape if len(shape) == 2 else (1, *shape)
    return export.emit(layer, ArgmaxOp(), [source], pixels, layouts.plain(shape))


def _channels(export: Export, axis: int, value: Value) -> str:
    if axis != 1:
        raise UnsupportedError("it must run over the channels (dim=1) of an image or sequence")
    return export.image(value)
