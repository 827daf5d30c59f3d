# SPDX-License-Identifier: Apache-2.0
"""BatchNorm as integers: gains, flipped signs, constant channels, arranged codes."""

import numpy as np
import torch
from torch import nn

from codeq_train import LayerConfig, QuantConfig
from codeq_train.fold import fold
from codeq_train.layers import Conv, Weighted
from tests.train.nets import convnet, images, prepared, randomize_batchnorm


def layer_of(model: nn.Module, *shape: int, bits: int = 4) -> Weighted:
    config = QuantConfig(weights=LayerConfig(bits=bits))
    return next(prepared(model, images(*shape), config=config).weighted())


def conv_with_norm(gamma: list[float]) -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, len(gamma), 3), nn.BatchNorm2d(len(gamma)))
    randomize_batchnorm(model)
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor(gamma))
    return model


def test_scale_and_bias_reproduce_the_folded_convolution() -> None:
    """scale · integer weights and step · integer bias are what the device computes with."""
    layer = layer_of(conv_with_norm([1.5, -0.5, 0.25, 2.0]), 8, 3, 6, 6)
    gain, bias = (value.detach().double().numpy() for value in layer.folded())
    weight = layer.quantizer(layer.weight).detach().double().numpy() * gain[:, None, None, None]

    folded = fold(layer)

    real = folded.weights.values * folded.weights.scale.astype(np.float64)[:, None, None, None]
    assert np.allclose(weight.transpose(0, 2, 3, 1), real, rtol=1e-6)
    step = layer.input_grid.grid().scale * folded.weights.scale.astype(np.float64)
    assert (np.abs(folded.bias * step - bias) <= 0.5000001 * step).all()


def test_a_negative_gamma_flips_the_channels_codes() -> None:
    """Multipliers are positive: the sign has to go into the weights."""
    positive = fold(layer_of(conv_with_norm([1.0, 1.0]), 8, 3, 6, 6))
    negative = fold(layer_of(conv_with_norm([1.0, -1.0]), 8, 3, 6, 6))

    assert np.array_equal(positive.weights.codes[0], negative.weights.codes[0])
    assert np.array_equal(positive.weights.codes[1], -negative.weights.codes[1])
    assert (negative.weights.scale > 0).all()


def test_a_gamma_of_zero_makes_a_constant_channel() -> None:
    """Its bias would leave int32; the value is stored at one output step instead."""
    layer = layer_of(conv_with_norm([1.0, 0.0, 1e-30]), 8, 3, 6, 6)
    assert layer.grid is not None
    beta = layer.folded()[1].detach().double().numpy()[1:]
    x_scale, y_scale = layer.input_grid.grid().scale, layer.grid.grid().scale

    folded = fold(layer)

    assert not folded.weights.codes[1:].any()
    value = folded.bias[1:] * x_scale * folded.weights.scale[1:].astype(np.float64)
    assert (np.abs(value - beta) <= 0.51 * y_scale).all()


def test_codes_are_arranged_as_the_ir_wants_them() -> None:
    """Each kind of layer has one order of weights in memory."""
    model = convnet()
    stem, dw, pw, classifier = model.weighted()

    shapes = {fold(layer).kind: fold(layer).weights.codes.shape for layer in (stem, dw, classifier)}

    assert {"conv2d": (8, 3, 3, 2), "dwconv2d": (8, 3, 3), "linear": (3, 12)} == shapes
    assert ("conv2d", (12, 1, 1, 8)) == (fold(pw).kind, fold(pw).weights.codes.shape)


def test_conv1d_has_height_one() -> None:
    """One kernel serves images and sequences."""
    folded = fold(layer_of(nn.Conv1d(3, 4, 5), 2, 3, 20))

    assert (4, 1, 5, 3) == folded.weights.codes.shape


def test_a_single_input_channel_is_an_ordinary_convolution() -> None:
    """groups == in_channels == 1 must not be taken for depthwise."""
    layer = layer_of(nn.Conv2d(1, 4, 3), 2, 1, 5, 5)
    assert isinstance(layer, Conv)

    assert "conv2d" == fold(layer).kind
