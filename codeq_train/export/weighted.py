# SPDX-License-Identifier: Apache-2.0
"""Convolutions and linear layers."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from codeq_compile.ops.conv2d import Conv2D as Conv2DOp
from codeq_compile.ops.dwconv2d import DWConv2D as DWConv2DOp
from codeq_compile.ops.linear import Linear as LinearOp
from codeq_train import layers as kinds
from codeq_train import layout as layouts
from codeq_train.export.geometry import flat, padding_of, pair
from codeq_train.export.state import Export, UnsupportedError, Value, clamp_of, exports
from codeq_train.fold import fold


@exports(kinds.Conv, kinds.Scale)
def _conv(export: Export, layer: kinds.Conv, inputs: Sequence[Value]) -> Value:
    folded = fold(layer)
    window = flat(layer.window)
    op: Conv2DOp | DWConv2DOp = Conv2DOp(
        stride=pair(window.stride),
        dilation=pair(window.dilation),
        padding=padding_of(window),
        groups=layer.groups,
        clamp=clamp_of(layer),
        multiplier_bits=export.multiplier_bits,
    )
    if folded.kind == "dwconv2d":
        op = DWConv2DOp(
            stride=op.stride,
            dilation=op.dilation,
            padding=op.padding,
            clamp=op.clamp,
            multiplier_bits=op.multiplier_bits,
        )
    source = export.image(inputs[0])
    return export.emit_image(layer, op, source, weights=folded.weights, bias=folded.bias)


@exports(kinds.Linear)
def _linear(export: Export, layer: kinds.Linear, inputs: Sequence[Value]) -> Value:
    (x,) = inputs
    features = x.layout.shape[-1]
    rows = x.layout.order.reshape(-1, features)
    order = rows[0]
    if not (rows == order + features * np.arange(len(rows))[:, None]).all():
        raise UnsupportedError(
            f"its input of shape {list(x.layout.shape)} does not stand row by row in memory: "
            "flatten it, or use a convolution of size 1"
        )
    folded = fold(layer)
    weights = replace(folded.weights, codes=np.ascontiguousarray(folded.weights.codes[:, order]))
    op = LinearOp(clamp=clamp_of(layer), multiplier_bits=export.multiplier_bits)
    shape = layer.origin.shape
    source = export.shaped(x, (*shape[:-1], features))
    return export.emit(
        layer, op, [source], shape, layouts.plain(shape), weights=weights, bias=folded.bias
    )
