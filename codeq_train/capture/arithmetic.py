# SPDX-License-Identifier: Apache-2.0
"""Sums, products and their constants."""

from functools import partial
from typing import Any

import torch
from torch import Tensor, fx

from codeq_train import layers as kinds
from codeq_train.capture.activations import unary
from codeq_train.capture.nodes import Arguments, sample_shape
from codeq_train.capture.state import Capture, UnsupportedError, handles

aten = torch.ops.aten


def _affine(x: Tensor, factor: float, offset: float) -> Tensor:
    return x * factor + offset


@handles(aten.add.Tensor, aten.add_.Tensor, aten.add.Scalar)
def _add(capture: Capture, node: fx.Node, a: Arguments) -> str:
    return _sum(capture, node, a["self"], a["other"], float(a["alpha"]))


@handles(aten.sub.Tensor, aten.sub_.Tensor, aten.sub.Scalar)
def _sub(capture: Capture, node: fx.Node, a: Arguments) -> str:
    return _sum(capture, node, a["self"], a["other"], -float(a["alpha"]))


@handles(aten.rsub.Scalar)
def _rsub(capture: Capture, node: fx.Node, a: Arguments) -> str:
    if float(a["alpha"]) != 1.0:
        raise UnsupportedError("rsub with a factor: write the product out")
    function = partial(_affine, factor=-1.0, offset=float(a["other"]))
    return unary(capture, node, a["self"], function)


def _sum(capture: Capture, node: fx.Node, left: Any, right: Any, alpha: float) -> str:
    """``left + alpha · right``; constants with one element become a table."""
    if (number := capture.scalar(right)) is not None:
        function = partial(_affine, factor=1.0, offset=alpha * number)
        return unary(capture, node, left, function)
    if (number := capture.scalar(left)) is not None:
        function = partial(_affine, factor=alpha, offset=number)
        return unary(capture, node, right, function)
    first, second = capture.tensor(left), capture.tensor(right)
    if alpha != 1.0:
        scaled = capture.origin(right, second, suffix=".scaled")
        function = partial(_affine, factor=alpha, offset=0.0)
        second = capture.add(kinds.Unary(scaled, function=function))
    first, second = _ordered(node, left, right, first, second)
    return capture.add(kinds.Add(capture.origin(node, first, second)))


@handles(aten.mul.Tensor, aten.mul_.Tensor, aten.mul.Scalar)
def _mul(capture: Capture, node: fx.Node, a: Arguments) -> str:
    left, right = a["self"], a["other"]
    if capture.scalar(left) is not None:
        left, right = right, left
    if (number := capture.scalar(right)) is not None:
        return unary(capture, node, left, partial(_affine, factor=number, offset=0.0))
    first, second = capture.tensor(left), capture.tensor(right)
    first, second = _ordered(node, left, right, first, second)
    return capture.add(kinds.Mul(capture.origin(node, first, second)))


@handles(aten.div.Tensor, aten.div_.Tensor, aten.div.Scalar)
def _div(capture: Capture, node: fx.Node, a: Arguments) -> str:
    number = capture.scalar(a["other"])
    if not number:
        raise UnsupportedError("division by an activation has no integer form; multiply instead")
    return unary(capture, node, a["self"], partial(_affine, factor=1.0 / number, offset=0.0))


def _ordered(node: fx.Node, left: Any, right: Any, first: str, second: str) -> tuple[str, str]:
    """The operand of the result's shape in front, the one that repeats behind it."""
    full = sample_shape(node)
    if sample_shape(left) == full:
        return first, second
    if sample_shape(right) == full:
        return second, first
    raise UnsupportedError("both operands are broadcast: give one of them the full shape")
