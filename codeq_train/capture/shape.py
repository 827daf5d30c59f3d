# SPDX-License-Identifier: Apache-2.0
"""Padding, joining, reshaping, and what disappears on the way to integers."""

import torch
from torch import fx

from codeq_train import layers as kinds
from codeq_train.capture.nodes import Arguments, rank_of
from codeq_train.capture.state import Capture, UnsupportedError, handles

aten = torch.ops.aten


@handles(aten.pad.default, aten.constant_pad_nd.default)
def _pad(capture: Capture, node: fx.Node, a: Arguments) -> str:
    source = capture.tensor(a["self"])
    if a.get("mode", "constant") != "constant":
        raise UnsupportedError("only constant padding has an integer form")
    flat = [int(n) for n in a["pad"]]
    pairs = [(flat[n], flat[n + 1]) for n in range(0, len(flat), 2)][::-1]
    rank = rank_of(node)
    axes = [(0, 0)] * (rank - len(pairs)) + pairs
    if any(min(pair) < 0 for pair in pairs):
        raise UnsupportedError("negative padding crops: split the layer before it instead")
    if rank not in (3, 4) or axes[0] != (0, 0):
        raise UnsupportedError("padding must be of images or sequences, not of the batch")
    layer = kinds.Pad(
        capture.origin(node, source), padding=tuple(axes[1:]), value=float(a["value"] or 0.0)
    )
    return capture.add(layer)


@handles(aten.cat.default)
def _cat(capture: Capture, node: fx.Node, a: Arguments) -> str:
    sources = [capture.tensor(value) for value in a["tensors"]]
    axis = int(a["dim"]) % rank_of(node)
    if axis == 0:
        raise UnsupportedError("joining along the batch: use dim=1")
    return capture.add(kinds.Concat(capture.origin(node, *sources), axis=axis))


@handles(
    aten.flatten.using_ints,
    aten.view.default,
    aten.reshape.default,
    aten.unflatten.int,
    aten.squeeze.dim,
    aten.squeeze.dims,
    aten.squeeze.default,
    aten.unsqueeze.default,
)
def _reshape(capture: Capture, node: fx.Node, a: Arguments) -> str:
    source = capture.tensor(a.get("self", a.get("input")))
    return capture.add(kinds.Reshape(capture.origin(node, source)))


@handles(aten.permute.default, aten.transpose.int)
def _permute(capture: Capture, node: fx.Node, a: Arguments) -> str:
    source = capture.tensor(a["self"])
    rank = rank_of(node)
    axes = list(range(rank))
    if "dims" in a:
        axes = [int(n) % rank for n in a["dims"]]
    else:
        first, second = int(a["dim0"]) % rank, int(a["dim1"]) % rank
        axes[first], axes[second] = axes[second], axes[first]
    if axes[0] != 0:
        raise UnsupportedError("the batch must stay the first axis")
    return capture.add(kinds.Permute(capture.origin(node, source), axes=tuple(axes)))


@handles(aten.dropout.default, aten.dropout_.default)
def _dropout(capture: Capture, node: fx.Node, a: Arguments) -> str:
    return _drop(capture, node, a, whole_channels=False)


@handles(aten.feature_dropout.default, aten.feature_dropout_.default)
def _feature_dropout(capture: Capture, node: fx.Node, a: Arguments) -> str:
    return _drop(capture, node, a, whole_channels=True)


def _drop(capture: Capture, node: fx.Node, a: Arguments, *, whole_channels: bool) -> str:
    source = capture.tensor(a["input"])
    layer = kinds.Dropout(
        capture.origin(node, source), probability=float(a["p"]), whole_channels=whole_channels
    )
    return capture.add(layer)


@handles(
    aten.contiguous.default,
    aten.clone.default,
    aten.detach.default,
    aten.detach_.default,
    aten.lift_fresh_copy.default,
    aten.alias.default,
    aten.to.dtype,
)
def _same(capture: Capture, node: fx.Node, a: Arguments) -> str:
    value = a["self"]
    if node.meta["val"].dtype != value.meta["val"].dtype:
        raise UnsupportedError(
            "a change of dtype: activations are int8, weights are quantized by codeq"
        )
    result: str = capture.values[value]
    return result
