# SPDX-License-Identifier: Apache-2.0
"""Pooling, global means and enlargement."""

from collections.abc import Sequence

from codeq_compile.ops.avgpool2d import AvgPool2D as AvgPool2DOp
from codeq_compile.ops.maxpool2d import MaxPool2D as MaxPool2DOp
from codeq_compile.ops.mean import Mean as MeanOp
from codeq_compile.ops.upsample2d import Upsample2D as Upsample2DOp
from codeq_train import layers as kinds
from codeq_train import layout as layouts
from codeq_train.export.geometry import flat, padding_of, pair
from codeq_train.export.state import Export, Value, clamp_of, exports


@exports(kinds.MaxPool)
def _max_pool(export: Export, layer: kinds.MaxPool, inputs: Sequence[Value]) -> Value:
    window = flat(layer.window)
    op = MaxPool2DOp(
        kernel=pair(window.kernel),
        stride=pair(window.stride),
        dilation=pair(window.dilation),
        padding=padding_of(window),
        clamp=clamp_of(layer),
    )
    return export.emit_image(layer, op, export.image(inputs[0]))


@exports(kinds.AvgPool)
def _avg_pool(export: Export, layer: kinds.AvgPool, inputs: Sequence[Value]) -> Value:
    window = flat(layer.window)
    op = AvgPool2DOp(
        kernel=pair(window.kernel),
        stride=pair(window.stride),
        padding=padding_of(window),
        clamp=clamp_of(layer),
    )
    return export.emit_image(layer, op, export.image(inputs[0]))


@exports(kinds.Mean)
def _mean(export: Export, layer: kinds.Mean, inputs: Sequence[Value]) -> Value:
    op = MeanOp(keep_dims=layer.keep_dims, clamp=clamp_of(layer))
    source = export.image(inputs[0])
    if layer.keep_dims:
        return export.emit_image(layer, op, source)
    shape = layer.origin.shape
    return export.emit(layer, op, [source], shape, layouts.plain(shape))


@exports(kinds.Upsample)
def _upsample(export: Export, layer: kinds.Upsample, inputs: Sequence[Value]) -> Value:
    # a sequence is an image of height 1
    factor = pair((1, *layer.factor)[-2:])
    return export.emit_image(layer, Upsample2DOp(factor=factor), export.image(inputs[0]))
