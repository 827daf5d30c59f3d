# SPDX-License-Identifier: Apache-2.0
"""Pooling in every spelling, against torch."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from codeq_compile.errors import UnsupportedOp
from codeq_train.capture import capture
from tests.train.nets import Function, images

IMAGE, SEQUENCE = (2, 3, 9, 8), (2, 3, 15)

CASES = [
    (nn.MaxPool2d(2), IMAGE, ["MaxPool"]),
    (nn.MaxPool2d(3, stride=2, padding=1), IMAGE, ["MaxPool"]),
    (nn.MaxPool2d(2, ceil_mode=True), IMAGE, ["MaxPool"]),
    (nn.MaxPool2d((3, 2), stride=1, dilation=2), IMAGE, ["MaxPool"]),
    (nn.MaxPool1d(4, 3, 1), SEQUENCE, ["MaxPool"]),
    (nn.AdaptiveMaxPool2d(1), IMAGE, ["MaxPool"]),
    (lambda x: x.amax((2, 3)), IMAGE, ["MaxPool", "Reshape"]),
    (lambda x: x.amax((2, 3), keepdim=True), IMAGE, ["MaxPool"]),
    (nn.AvgPool2d(2), IMAGE, ["AvgPool"]),
    (nn.AvgPool2d(3, 2, 1, count_include_pad=False), IMAGE, ["AvgPool"]),
    (nn.AvgPool2d(3, 2, 1), IMAGE, ["Pad", "AvgPool"]),
    (nn.AvgPool2d(2, ceil_mode=True, count_include_pad=False), IMAGE, ["AvgPool"]),
    (nn.AvgPool1d(5, 2), SEQUENCE, ["AvgPool"]),
    (nn.AvgPool2d((9, 8)), IMAGE, ["Mean"]),
    (nn.AdaptiveAvgPool2d(1), IMAGE, ["Mean"]),
    (nn.AdaptiveAvgPool2d((3, 4)), IMAGE, ["AvgPool"]),
    (nn.AdaptiveAvgPool1d(1), SEQUENCE, ["Mean"]),
    (lambda x: x.mean((2, 3)), IMAGE, ["Mean"]),
    (lambda x: x.mean((-1, -2), keepdim=True), IMAGE, ["Mean"]),
    (lambda x: torch.mean(x, 2), SEQUENCE, ["Mean"]),
    (nn.Upsample(scale_factor=2), IMAGE, ["Upsample"]),
    (nn.Upsample(size=(9, 24)), IMAGE, ["Upsample"]),
    (lambda x: F.interpolate(x, scale_factor=3.0), SEQUENCE, ["Upsample"]),
]


@pytest.mark.slow
@pytest.mark.parametrize(("function", "shape", "kinds"), CASES)
def test_pooling_computes_what_torch_does(
    function: Callable[[Tensor], Tensor], shape: tuple[int, ...], kinds: list[str]
) -> None:
    """Windows, strides, both kinds of padding and the odd pixel at the end."""
    x = images(*shape)
    layers = capture(Function(function), (x,)).layers[1:]

    result = x
    for layer in layers:
        result = layer(result)

    assert kinds == [type(layer).__name__ for layer in layers]
    assert torch.allclose(function(x), result, atol=1e-6)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: x.mean(1), "over all pixels"),
        (lambda x: x.mean((1, 2, 3)), "over all pixels"),
        (lambda x: x.amax(1), "over all pixels"),
        (lambda x: F.adaptive_avg_pool2d(x, 5), "windows of several sizes"),
        (lambda x: F.avg_pool2d(x, 2, divisor_override=3), "divisor_override"),
        (lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True), "count_include_pad=False"),
        (lambda x: F.interpolate(x, (12, 8)), "whole-number factor"),
        (lambda x: F.interpolate(x, (5, 8)), "whole-number factor"),
    ],
)
def test_pooling_without_an_integer_form_is_refused(
    function: Callable[[Tensor], Tensor], message: str
) -> None:
    """With the spelling that has one."""
    with pytest.raises(UnsupportedOp, match=message):
        capture(Function(function), (images(*IMAGE),))
