# SPDX-License-Identifier: Apache-2.0
"""Pooling, global means and enlargement."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import fx

from codeq_train import layers as kinds
from codeq_train.capture.nodes import Arguments, as_tuple, rank_of, sample_shape
from codeq_train.capture.state import Capture, UnsupportedError, handles
from codeq_train.layers import Layer, Origin, Window

aten = torch.ops.aten


def _pool_window(node: fx.Node, a: Arguments) -> Window:
    """Window of a pooling whose `ceil_mode` becomes padding behind."""
    spatial = rank_of(a["self"]) - 2
    kernel = as_tuple(a["kernel_size"], spatial)
    stride = as_tuple(a["stride"], spatial) if a["stride"] else kernel
    dilation = as_tuple(a.get("dilation", 1), spatial)
    before = as_tuple(a["padding"], spatial)
    padding = []
    size, result = sample_shape(a["self"])[1:], sample_shape(node)[1:]
    for n, out, k, s, d, p in zip(size, result, kernel, stride, dilation, before, strict=True):
        needed = (out - 1) * s + (k - 1) * d + 1
        padding.append((p, max(needed - n - p, 0) if a["ceil_mode"] else p))
    return Window(kernel=kernel, stride=stride, dilation=dilation, padding=tuple(padding))


@handles(
    aten.max_pool1d.default,
    aten.max_pool2d.default,
    aten.max_pool1d_with_indices.default,
    aten.max_pool2d_with_indices.default,
)
def _max_pool(capture: Capture, node: fx.Node, a: Arguments) -> str:
    source = capture.tensor(a["self"])
    layer = kinds.MaxPool(capture.origin(node, source), window=_pool_window(node, a))
    return capture.add(layer)


@handles(aten.avg_pool1d.default, aten.avg_pool2d.default)
def _avg_pool(capture: Capture, node: fx.Node, a: Arguments) -> str:
    source = capture.tensor(a["self"])
    if a.get("divisor_override"):
        raise UnsupportedError(
            "divisor_override: use the plain mean and scale the next layer's weights"
        )
    window = _pool_window(node, a)
    padded = any(n for axis in window.padding for n in axis)
    if padded and a["count_include_pad"]:
        if a["ceil_mode"]:
            raise UnsupportedError("ceil_mode with counted padding: use count_include_pad=False")
        source = capture.add(_border(capture, node, source, a["self"], window.padding))
        window = Window(
            kernel=window.kernel,
            stride=window.stride,
            dilation=window.dilation,
            padding=tuple((0, 0) for _ in window.padding),
        )
    if window.kernel == sample_shape(a["self"])[1:] and not any(
        n for axis in window.padding for n in axis
    ):
        return capture.add(kinds.Mean(capture.origin(node, source), keep_dims=True))
    return capture.add(kinds.AvgPool(capture.origin(node, source), window=window))


@handles(aten.upsample_nearest1d.vec, aten.upsample_nearest2d.vec)
def _upsample(capture: Capture, node: fx.Node, a: Arguments) -> str:
    source = capture.tensor(a["input"])
    size, result = sample_shape(a["input"])[1:], sample_shape(node)[1:]
    if any(out % n for n, out in zip(size, result, strict=True)):
        raise UnsupportedError(
            f"enlarging {list(size)} to {list(result)}: use a whole-number factor"
        )
    factor = tuple(out // n for n, out in zip(size, result, strict=True))
    return capture.add(kinds.Upsample(capture.origin(node, source), factor=factor))


def _border(
    capture: Capture,
    node: fx.Node,
    source: str,
    value: Any,
    padding: tuple[tuple[int, int], ...],
) -> Layer:
    """Zeros around an image that the following pooling counts."""
    channels, *size = sample_shape(value)
    shape = (channels, *(n + sum(p) for n, p in zip(size, padding, strict=True)))
    plain = capture.origin(node, source, suffix=".pad")
    origin = Origin(name=plain.name, inputs=(source,), shape=shape, source=plain.source)
    return kinds.Pad(origin, padding=((0, 0), *padding), value=0.0)


@handles(aten.adaptive_max_pool1d.default, aten.adaptive_max_pool2d.default)
def _adaptive_max_pool(capture: Capture, node: fx.Node, a: Arguments) -> str:
    source = capture.tensor(a["self"])
    window = _adaptive_window(node, a["self"])
    return capture.add(kinds.MaxPool(capture.origin(node, source), window=window))


@handles(aten.adaptive_avg_pool1d.default, aten.adaptive_avg_pool2d.default)
def _adaptive_avg_pool(capture: Capture, node: fx.Node, a: Arguments) -> str:
    source = capture.tensor(a["self"])
    window = _adaptive_window(node, a["self"])
    if window.kernel == sample_shape(a["self"])[1:]:
        return capture.add(kinds.Mean(capture.origin(node, source), keep_dims=True))
    return capture.add(kinds.AvgPool(capture.origin(node, source), window=window))


def _adaptive_window(node: fx.Node, value: Any) -> Window:
    size, result = sample_shape(value)[1:], sample_shape(node)[1:]
    if any(n % out for n, out in zip(size, result, strict=True)):
        raise UnsupportedError(
            f"adaptive pooling from {list(size)} to {list(result)} has windows of several sizes: "
            "use a plain pooling layer"
        )
    kernel = tuple(n // out for n, out in zip(size, result, strict=True))
    ones, zeros = (1,) * len(kernel), ((0, 0),) * len(kernel)
    return Window(kernel=kernel, stride=kernel, dilation=ones, padding=zeros)


@handles(aten.mean.dim)
def _mean(capture: Capture, node: fx.Node, a: Arguments) -> str:
    source = capture.tensor(a["self"])
    if _is_global(a["self"], a["dim"]):
        return capture.add(kinds.Mean(capture.origin(node, source), keep_dims=bool(a["keepdim"])))
    raise UnsupportedError(
        "mean must run over all pixels: mean((2, 3)) of images, mean(2) of sequences"
    )


def _is_global(value: Any, axes: Any) -> bool:
    rank = rank_of(value)
    chosen = sorted(n % rank for n in (axes if isinstance(axes, Iterable) else [axes]))
    return rank in (3, 4) and chosen == list(range(2, rank))


@handles(aten.amax.default)
def _amax(capture: Capture, node: fx.Node, a: Arguments) -> str:
    source = capture.tensor(a["self"])
    if not _is_global(a["self"], a["dim"]):
        raise UnsupportedError("amax must run over all pixels: amax((2, 3)) of images")
    kernel = sample_shape(a["self"])[1:]
    ones, zeros = (1,) * len(kernel), ((0, 0),) * len(kernel)
    window = Window(kernel=kernel, stride=kernel, dilation=ones, padding=zeros)
    origin = capture.origin(node, source)
    channels = sample_shape(a["self"])[0]
    kept = Origin(name=origin.name, inputs=(source,), shape=(channels, *ones), source=origin.source)
    pooled = capture.add(kinds.MaxPool(kept, window=window))
    if a["keepdim"]:
        return pooled
    return capture.add(kinds.Reshape(capture.origin(node, pooled, suffix=".flatten")))
