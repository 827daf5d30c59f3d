# SPDX-License-Identifier: Apache-2.0
"""Activation functions, softmax and argmax."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx
from torch.nn import functional as F

from codeq_train import layers as kinds
from codeq_train.capture.nodes import Arguments, operation, rank_of
from codeq_train.capture.state import Capture, UnsupportedError, handles

aten = torch.ops.aten


def _clamp(capture: Capture, node: fx.Node, value: Any, low: float, high: float) -> str:
    source = capture.tensor(value)
    layer = capture.sole_producer(node, value)
    if layer is not None and layer.fuses_limits:
        before = layer.limits
        layer.limits = (max(before[0], low), max(min(before[1], high), low))
        return source
    function = partial(torch.clamp, min=low, max=high)
    return capture.add(kinds.Unary(capture.origin(node, source), function=function, low=low))


@handles(aten.relu.default, aten.relu_.default)
def _relu(capture: Capture, node: fx.Node, a: Arguments) -> str:
    return _clamp(capture, node, a["self"], 0.0, math.inf)


@handles(aten.relu6.default, aten.relu6_.default)
def _relu6(capture: Capture, node: fx.Node, a: Arguments) -> str:
    return _clamp(capture, node, a["self"], 0.0, 6.0)


@handles(aten.hardtanh.default, aten.hardtanh_.default)
def _hardtanh(capture: Capture, node: fx.Node, a: Arguments) -> str:
    return _clamp(capture, node, a["self"], float(a["min_val"]), float(a["max_val"]))


@handles(aten.clamp.default, aten.clamp_.default, aten.clamp_min.default, aten.clamp_max.default)
def _clamps(capture: Capture, node: fx.Node, a: Arguments) -> str:
    low, high = a.get("min"), a.get("max")
    return _clamp(
        capture,
        node,
        a["self"],
        -math.inf if low is None else float(low),
        math.inf if high is None else float(high),
    )


def unary(
    capture: Capture,
    node: fx.Node,
    value: Any,
    function: Callable[[Tensor], Tensor],
    low: float = -math.inf,
    fixed: tuple[float, int] | None = None,
) -> str:
    source = capture.tensor(value)
    layer = kinds.Unary(capture.origin(node, source), function=function, low=low, fixed=fixed)
    return capture.add(layer)


_UNIT = (1.0 / 256, -128)
"""Grid of functions into [0, 1]."""

_FUNCTIONS: dict[Any, tuple[Callable[..., Tensor], float, tuple[float, int] | None]] = {
    aten.sigmoid: (torch.sigmoid, 0.0, _UNIT),
    aten.tanh: (torch.tanh, -1.0, (1.0 / 128, 0)),
    aten.hardsigmoid: (F.hardsigmoid, 0.0, _UNIT),
    aten.hardswish: (F.hardswish, -0.375, None),
    aten.silu: (F.silu, -0.28, None),
    aten.mish: (F.mish, -0.31, None),
    aten.abs: (torch.abs, 0.0, None),
    aten.exp: (torch.exp, 0.0, None),
    aten.square: (torch.square, 0.0, None),
    aten.neg: (torch.neg, -math.inf, None),
    aten.selu: (F.selu, -1.7581, None),
    aten.log_sigmoid: (F.logsigmoid, -math.inf, None),
    aten.erf: (torch.erf, -1.0, (1.0 / 128, 0)),
    aten.sin: (torch.sin, -1.0, (1.0 / 128, 0)),
    aten.cos: (torch.cos, -1.0, (1.0 / 128, 0)),
}


def _overloads(operation: Any) -> list[Any]:
    """An operation and its in-place twin, if there is one."""
    name = operation._qualified_op_name.partition("::")[2]
    in_place = getattr(aten, f"{name}_", None)
    return [operation.default, *([in_place.default] if in_place is not None else [])]


@handles(*(overload for operation in _FUNCTIONS for overload in _overloads(operation)))
def _plain_function(capture: Capture, node: fx.Node, a: Arguments) -> str:
    base = getattr(aten, operation(node))
    function, low, fixed = _FUNCTIONS[base]
    return unary(capture, node, a["self"], function, low, fixed)


@handles(aten.gelu.default)
def _gelu(capture: Capture, node: fx.Node, a: Arguments) -> str:
    function = partial(F.gelu, approximate=str(a["approximate"]))
    return unary(capture, node, a["self"], function, -0.17)


@handles(aten.leaky_relu.default, aten.leaky_relu_.default)
def _leaky_relu(capture: Capture, node: fx.Node, a: Arguments) -> str:
    function = partial(F.leaky_relu, negative_slope=float(a["negative_slope"]))
    return unary(capture, node, a["self"], function)


@handles(aten.elu.default, aten.elu_.default)
def _elu(capture: Capture, node: fx.Node, a: Arguments) -> str:
    if (a["scale"], a["input_scale"]) != (1, 1):
        raise UnsupportedError("a scaled ELU: use ELU")
    return unary(capture, node, a["self"], partial(F.elu, alpha=float(a["alpha"])))


@handles(aten.softplus.default)
def _softplus(capture: Capture, node: fx.Node, a: Arguments) -> str:
    function = partial(F.softplus, beta=float(a["beta"]), threshold=float(a["threshold"]))
    return unary(capture, node, a["self"], function, 0.0)


@handles(aten.pow.Tensor_Scalar)
def _pow(capture: Capture, node: fx.Node, a: Arguments) -> str:
    even = float(a["exponent"]) % 2 == 0
    function = partial(torch.pow, exponent=a["exponent"])
    return unary(capture, node, a["self"], function, 0.0 if even else -math.inf)


@handles(aten.softmax.int)
def _softmax(capture: Capture, node: fx.Node, a: Arguments) -> str:
    source = capture.tensor(a["self"])
    axis = int(a["dim"]) % rank_of(node)
    if axis == 0:
        raise UnsupportedError("softmax over the batch: use dim=1")
    return capture.add(kinds.Softmax(capture.origin(node, source), axis=axis))


@handles(aten.argmax.default)
def _argmax(capture: Capture, node: fx.Node, a: Arguments) -> str:
    source = capture.tensor(a["self"])
    if a["dim"] is None or a["keepdim"]:
        raise UnsupportedError("use argmax(dim=1) without keepdim")
    axis = int(a["dim"]) % rank_of(a["self"])
    if axis == 0:
        raise UnsupportedError("argmax over the batch: use dim=1")
    return capture.add(kinds.ArgMax(capture.origin(node, source), axis=axis))
