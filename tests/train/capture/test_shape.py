# SPDX-License-Identifier: Apache-2.0
"""Padding, joining and reshaping, against torch."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from codeq_compile.errors import UnsupportedOp
from codeq_train.capture import capture
from codeq_train.layers import Dropout
from tests.train.nets import Function, images

IMAGE = (2, 3, 4, 6)


@pytest.mark.parametrize(
    ("function", "kinds"),
    [
        (nn.ZeroPad2d((1, 2, 3, 4)), ["Pad"]),
        (lambda x: F.pad(x, (1, 0)), ["Pad"]),
        (lambda x: F.pad(x, (0, 0, 0, 0, 1, 2), value=0.5), ["Pad"]),
        (lambda x: x.flatten(1), ["Reshape"]),
        (lambda x: x.reshape(x.shape[0], 6, -1), ["Reshape"]),
        (lambda x: x.view(-1, 12, 6), ["Reshape"]),
        (lambda x: x.unsqueeze(1).squeeze(1), ["Reshape", "Reshape"]),
        (lambda x: x.flatten(1).unflatten(1, (3, 24)), ["Reshape", "Reshape"]),
        (lambda x: x.permute(0, 2, 3, 1), ["Permute"]),
        (lambda x: x.transpose(-1, 1), ["Permute"]),
        (lambda x: x.contiguous().clone().to(torch.float32).relu(), ["Unary"]),
    ],
)
def test_shapes_change_as_in_torch(function: Callable[[Tensor], Tensor], kinds: list[str]) -> None:
    """Copies and casts to the same type vanish."""
    x = images(*IMAGE)
    layers = capture(Function(function), (x,)).layers[1:]

    result = x
    for layer in layers:
        result = layer(result)

    assert kinds == [type(layer).__name__ for layer in layers]
    assert torch.equal(function(x), result)


def test_tensors_are_joined_in_order() -> None:
    """Channel 0 of the first stays channel 0."""
    a, b = images(*IMAGE), images(2, 5, 4, 6, seed=1)
    layer = capture(Function(lambda a, b: torch.cat([b, a], -3)), (a, b)).layers[-1]

    assert torch.equal(torch.cat([b, a], 1), layer.compute(b, a))
    assert (8, 4, 6) == layer.origin.shape


@pytest.mark.parametrize("module", [nn.Dropout(0.3), nn.Dropout2d(0.3)])
def test_dropout_stays_while_training(module: nn.Module) -> None:
    """It was traced in evaluation mode, but it regularizes the prepared model too."""
    x = torch.ones(64, 8, 2, 2)
    (layer,) = capture(module, (x,)).layers[1:]
    assert isinstance(layer, Dropout)

    assert torch.equal(x, layer.eval()(x))
    zeros = float((layer.train()(x) == 0).float().mean())
    assert abs(zeros - 0.3) < 0.1


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: F.pad(x, (1, 1, 1, 1), mode="reflect"), "constant padding"),
        (lambda x: F.pad(x, (-1, 0)), "negative padding"),
        (lambda x: torch.cat([x, x], 0), "batch"),
        (lambda x: x.permute(1, 0, 2, 3), "batch"),
        (lambda x: x.to(torch.float64), "dtype"),
        (lambda x: x[:, :2], "split the layer"),
        (lambda x: torch.stack([x, x], 1), "torch.cat"),
    ],
)
def test_shapes_without_an_integer_form_are_refused(
    function: Callable[[Tensor], Tensor], message: str
) -> None:
    """With what to do."""
    with pytest.raises(UnsupportedOp, match=message):
        capture(Function(function), (images(*IMAGE),))
