# SPDX-License-Identifier: Apache-2.0
"""Activation functions: fused clamps where possible, else functions of one value."""

import functools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from codeq_train.capture import capture
from codeq_train.layers import Layer, Unary
from tests.train.nets import Function, images

INFINITY = float("inf")


def layers(function: Callable[[Tensor], Tensor] | nn.Module) -> list[Layer]:
    module = function if isinstance(function, nn.Module) else Function(function)
    return capture(module, (images(4, 5),)).layers


@pytest.mark.slow
@pytest.mark.parametrize(
    ("clamp", "limits"),
    [
        (torch.relu, (0.0, INFINITY)),
        (F.relu6, (0.0, 6.0)),
        (F.hardtanh, (-1.0, 1.0)),
        (nn.Hardtanh(-2.0, 3.0), (-2.0, 3.0)),
        (functools.partial(torch.clamp, max=2.0), (-INFINITY, 2.0)),
        (functools.partial(torch.clamp_min, min=-0.5), (-0.5, INFINITY)),
        (functools.partial(F.relu, inplace=True), (0.0, INFINITY)),
        (lambda x: F.relu6(torch.clamp(x, -1.0, 4.0)), (0.0, 4.0)),
    ],
)
def test_clamps_become_limits_of_the_layer_before(
    clamp: Callable[[Tensor], Tensor], limits: tuple[float, float]
) -> None:
    """On the device they are two comparisons that requantization does anyway."""
    linear = nn.Linear(5, 5)
    (layer,) = layers(lambda x: clamp(F.linear(x, linear.weight.detach()) + x))[-1:]

    assert "Add" == type(layer).__name__ or "Linear" == type(layer).__name__
    assert limits == layer.limits


FUNCTIONS = [
    torch.sigmoid,
    torch.tanh,
    F.hardswish,
    functools.partial(F.hardswish, inplace=True),
    F.hardsigmoid,
    F.silu,
    nn.SiLU(inplace=True),
    torch.sigmoid_,
    F.gelu,
    functools.partial(F.gelu, approximate="tanh"),
    F.leaky_relu,
    functools.partial(F.leaky_relu, negative_slope=0.3, inplace=True),
    F.elu,
    functools.partial(F.elu, alpha=0.5),
    F.softplus,
    F.mish,
    torch.abs,
    torch.exp,
    torch.neg,
    torch.square,
    F.selu,
    F.logsigmoid,
    torch.erf,
    torch.sin,
    torch.cos,
    functools.partial(torch.pow, exponent=3),
    functools.partial(torch.clamp, min=-0.3, max=0.6),
    torch.relu,
]


@pytest.mark.slow
@pytest.mark.parametrize("function", FUNCTIONS)
def test_functions_of_one_value_are_kept_with_their_range(
    function: Callable[[Tensor], Tensor],
) -> None:
    """The table on the device is computed from the very function; its range gives the grid."""
    x = images(50, 5)

    (layer,) = layers(lambda x: function(x.clone()))[1:]

    assert isinstance(layer, Unary)
    assert torch.equal(function(x.clone()), layer.compute(x))
    assert layer.compute(x).min() >= layer.low - 1e-6
    # float64, as the table is computed
    assert torch.float64 == layer.compute(x.double()).dtype


@pytest.mark.parametrize(
    ("function", "grid"),
    [
        (torch.sigmoid, (1 / 256, -128)),
        (F.hardsigmoid, (1 / 256, -128)),
        (torch.tanh, (1 / 128, 0)),
        (F.silu, None),
    ],
)
def test_functions_into_a_unit_interval_have_its_grid(
    function: Callable[[Tensor], Tensor], grid: tuple[float, int] | None
) -> None:
    """The grids of TFLite, whatever the calibration data were."""
    (layer,) = layers(function)[1:]

    assert isinstance(layer, Unary)
    assert grid == layer.fixed


def test_softmax_and_argmax_keep_their_axis() -> None:
    """-1 and 1 are the same axis of a vector."""
    softmax, argmax = layers(lambda x: torch.argmax(torch.softmax(x, -1), 1))[1:]

    assert (1, 1) == (softmax.axis, argmax.axis)
