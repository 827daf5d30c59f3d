# SPDX-License-Identifier: Apache-2.0
"""Channels that share a grid have about the same size afterwards."""

import copy

import msgspec
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from codeq_train import (
    BudgetConfig,
    LayerConfig,
    QuantConfig,
    QuantizedModel,
    export,
    set_quantization,
)
from codeq_train.layers import Weighted
from codeq_train.posttraining.equalization import equalize
from tests.train.nets import ConvNet, Function, Residual, images, prepared, randomize_batchnorm

EIGHT_BITS = QuantConfig(weights=LayerConfig(quantizer="lsq", bits=8))


def uneven(channels: int) -> Tensor:
    """Factors of channels from 1/20 to 20."""
    return torch.logspace(-1.3, 1.3, channels)


class Grouped(nn.Module):
    """A convolution in groups and a pool, a linear layer behind; channels of all sizes."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 8, 3, padding=1)
        self.second = nn.Conv2d(8, 6, 1, groups=2)
        self.head = nn.Linear(6, 4)
        with torch.no_grad():
            self.first.weight.mul_(uneven(8).reshape(-1, 1, 1, 1))
            self.second.weight.mul_(uneven(6).reshape(-1, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.second(F.max_pool2d(F.relu(self.first(x)), 2))
        return self.head(F.relu(x).mean((2, 3)))


def floats(model: QuantizedModel, x: Tensor) -> Tensor:
    model = copy.deepcopy(model).eval()
    set_quantization(model, weights=False, activations=False)
    with torch.no_grad():
        result: Tensor = model(x)
    return result


def spread(model: QuantizedModel, name: str, x: Tensor) -> float:
    """Ratio of the largest channel's largest activation to the smallest one's."""
    model = copy.deepcopy(model).eval()
    set_quantization(model, weights=False, activations=False)
    with torch.no_grad():
        for layer, y in model.run(x):
            if layer.origin.name == name:
                largest = y.transpose(0, 1).flatten(1).abs().amax(1)
                return float(largest.max() / largest[largest > 0].min())
    raise AssertionError(name)


def weights_of(model: QuantizedModel) -> dict[str, Tensor]:
    return {layer.origin.name: layer.weight.detach().clone() for layer in model.weighted()}


@pytest.mark.parametrize(("net", "shape"), [(Grouped, (2, 8, 8)), (ConvNet, (2, 9, 9))])
def test_the_float_network_stays_the_same(net: type[nn.Module], shape: tuple[int, ...]) -> None:
    """It is the user's network; nothing but the distribution over its layers may change."""
    module = net()
    randomize_batchnorm(module)
    x = images(40, *shape)
    model = prepared(module.eval(), x, config=EIGHT_BITS)
    before, weights = floats(model, x), weights_of(model)

    equalize(model.eval(), [(x[:20],), (x[20:],)])

    # products and quotients with the factors are rounded to float32
    torch.testing.assert_close(before, floats(model, x), rtol=1e-4, atol=1e-5)
    assert any(not torch.equal(weights[name], now) for name, now in weights_of(model).items())
    assert all(layer.enabled for layer in model.weighted())
    assert export(model.eval()) is not None


def test_channels_come_closer_to_each_other() -> None:
    """The smallest channel of 400 times the largest one has less than a step of their grid."""
    x = images(40, 2, 8, 8)
    model = prepared(Grouped().eval(), x, config=EIGHT_BITS)
    before = spread(model, "second", x)

    equalize(model.eval(), [(x,)])

    assert spread(model, "second", x) < 0.2 * before


def test_narrow_weights_are_not_made_uneven() -> None:
    """At 4 bits they lose more than activations gain, but for depthwise ones, which are free."""
    module = ConvNet()
    randomize_batchnorm(module)
    x = images(40, 2, 9, 9)
    narrow = QuantConfig(weights=LayerConfig(quantizer="lsq", bits=4))
    limited = msgspec.structs.replace(EIGHT_BITS, budgets=BudgetConfig(weights="4K"))
    for config in (narrow, limited):
        model = prepared(module.eval(), x, config=config)
        before = weights_of(model)

        equalize(model.eval(), [(x,)])

        changed = [name for name, now in weights_of(model).items() if not now.equal(before[name])]
        assert ["dw"] == changed


def test_quantizers_follow_the_weights() -> None:
    """Ranges of the old weights would clip the new ones."""
    x = images(40, 2, 8, 8)
    model = prepared(Grouped().eval(), x, config=EIGHT_BITS)

    equalize(model.eval(), [(x,)])

    for layer in model.weighted():
        levels = layer.levels()
        step = levels.scale.reshape(-1, *[1] * (layer.weight.dim() - 1))
        assert ((levels.dequantize() - layer.weight).abs() <= 0.51 * step).all()


@pytest.mark.parametrize(
    "net",
    [
        Residual(),
        nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU6(), nn.Conv2d(6, 4, 1)),
        nn.Sequential(nn.Conv2d(3, 6, 3), nn.Sigmoid(), nn.Conv2d(6, 4, 1)),
        nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(216, 4)),
        nn.Sequential(*[nn.Conv2d(3, 3, 1)] * 2),
        nn.Sequential(nn.Conv2d(3, 6, 3), Function(lambda x: (x, x + 1.0))),
    ],
    ids=["sum", "relu6", "sigmoid", "flatten", "shared", "read twice"],
)
def test_what_would_notice_the_size_of_a_channel_is_left_alone(net: nn.Module) -> None:
    """A limit, a function, a sum or another reader makes it another network."""
    x = images(8, 3, 8, 8)
    model = prepared(copy.deepcopy(net).eval(), x, config=EIGHT_BITS)
    before = weights_of(model)

    equalize(model.eval(), [(x,)])

    assert all(torch.equal(before[name], now) for name, now in weights_of(model).items())


def test_dead_channels_do_no_harm() -> None:
    """A factor of nothing by nothing is no number."""
    net = Grouped()
    with torch.no_grad():
        net.first.weight[3], net.first.bias[3] = 0.0, -1.0
        net.second.weight[:, 1] = 0.0
    x = images(40, 2, 8, 8)
    model = prepared(net.eval(), x, config=EIGHT_BITS)
    before = floats(model, x)

    equalize(model.eval(), [(x,)])

    torch.testing.assert_close(before, floats(model, x), rtol=1e-4, atol=1e-5)
    assert all(isinstance(layer, Weighted) for layer in model.weighted())
