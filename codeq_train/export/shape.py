# SPDX-License-Identifier: Apache-2.0
"""Padding, joining, and what changes no byte: reshapes, permutations, dropout."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from codeq_compile.ops.concat import Concat as ConcatOp
from codeq_compile.ops.pad import Pad as PadOp
from codeq_train import layers as kinds
from codeq_train import layout as layouts
from codeq_train.export.state import Export, Value, clamp_of, exports, grid_of
from codeq_train.layout import Layout


@exports(kinds.Pad)
def _pad(export: Export, layer: kinds.Pad, inputs: Sequence[Value]) -> Value:
    channels, *spatial = layer.padding
    rows, columns = ((0, 0), *spatial)[-2:]
    (before, after) = zip(rows, columns, channels, strict=True)
    value = None
    if layer.value != 0.0:
        value = int(grid_of(layer).quantize(np.array([layer.value])).clip(*clamp_of(layer))[0])
    op = PadOp(before=before, after=after, value=value)
    return export.emit_image(layer, op, export.image(inputs[0]))


@exports(kinds.Concat)
def _concat(export: Export, layer: kinds.Concat, inputs: Sequence[Value]) -> Value:
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
def _reshape(export: Export, layer: kinds.Reshape, inputs: Sequence[Value]) -> Value:
    (x,) = inputs
    return replace(x, layout=x.layout.reshaped(layer.origin.shape), view=layer.origin.name)


@exports(kinds.Permute)
def _permute(export: Export, layer: kinds.Permute, inputs: Sequence[Value]) -> Value:
    (x,) = inputs
    axes = tuple(n - 1 for n in layer.axes[1:])
    return replace(x, layout=x.layout.permuted(axes), view=layer.origin.name)


@exports(kinds.Dropout)
def _dropout(export: Export, layer: kinds.Dropout, inputs: Sequence[Value]) -> Value:
    return inputs[0]
