# SPDX-License-Identifier: Apache-2.0
"""Small networks that several tests train, export or see refused."""

import copy
import functools
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from codeq_train import BudgetConfig, LayerConfig, QuantConfig, QuantizedModel, prepare

FOUR_BITS = QuantConfig(weights=LayerConfig(bits=4))


class Function(nn.Module):
    """A module around a function of its inputs, for operations without weights."""

    def __init__(self, function: Callable[..., object]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> object:
        return self.function(*inputs)


class ConvNet(nn.Module):
    """Convolution, depthwise and pointwise convolution with BatchNorm, mean, linear."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 8, 3, stride=2, padding=1, bias=False)
        self.stem_norm = nn.BatchNorm2d(8)
        self.dw = nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False)
        self.dw_norm = nn.BatchNorm2d(8)
        self.pw = nn.Conv2d(8, 12, 1)
        self.dropout = nn.Dropout(0.1)
        self.classifier = nn.Linear(12, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem_norm(self.stem(x)))
        x = F.relu6(self.dw_norm(self.dw(x)))
        x = F.relu(self.pw(x)).mean((2, 3))
        return self.classifier(self.dropout(x))


class Residual(nn.Module):
    """Two convolutions around which the input goes, with in-place operations."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding="same", bias=False)
        self.norm = nn.BatchNorm2d(6)
        self.second = nn.Conv2d(6, 6, 3, padding=1)
        self.head = nn.Linear(6 * 16, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm(self.first(x)), inplace=True)
        z = self.second(y)
        z += y
        z = F.max_pool2d(F.relu_(z), 2)
        return self.head(z.flatten(1))


class Branches(nn.Module):
    """A residual sum, and two branches that are joined."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 8, 3, padding=1)
        self.middle = nn.Conv2d(8, 24, 3, padding=1)
        self.back = nn.Conv2d(24, 8, 3, padding=1)
        self.left, self.right = nn.Conv2d(8, 3, 1), nn.Conv2d(8, 5, 1)
        self.head = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        x = F.relu(x + self.back(F.relu(self.middle(x))))
        x = torch.cat([self.left(x), self.right(x)], 1)
        return self.head(F.relu(x).mean((2, 3)))


class Rows(nn.Module):
    """A convolution as wide as the image, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(2, 6, (3, 9), stride=(3, 1)), nn.BatchNorm2d(6)
        self.head = nn.Linear(18, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.norm(self.conv(x))).flatten(1))


def bright_thirds() -> tuple[Tensor, Tensor]:
    """180 images (2, 9, 9), and which third of each holds the bright patch."""
    x = 0.3 * images(180, 2, 9, 9)
    y = torch.arange(180) % 3
    for sample, place in enumerate(y.tolist()):
        x[sample, :, 3 * place : 3 * place + 3] += 1.0
    return x, y


def randomize_batchnorm(model: nn.Module, seed: int = 0) -> None:
    """Trained-looking values; every fourth gamma is negative, the first is 0."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            with torch.no_grad():
                channels = module.num_features
                module.weight.copy_(torch.rand(channels, generator=generator) + 0.5)
                module.weight[::4] *= -1
                module.weight[0] = 0.0
                module.bias.copy_(torch.randn(channels, generator=generator))
                module.running_mean.copy_(torch.randn(channels, generator=generator))
                module.running_var.copy_(torch.rand(channels, generator=generator) + 0.5)


@functools.cache
def _convnet() -> QuantizedModel:
    torch.manual_seed(0)
    return prepare(ConvNet(), images(16, 2, 9, 9), FOUR_BITS)


def convnet() -> QuantizedModel:
    """A fresh copy of a prepared `ConvNet` for images (2, 9, 9), in evaluation mode."""
    return copy.deepcopy(_convnet()).eval()


def prepared(
    model: nn.Module | Callable[..., object],
    *inputs: Tensor,
    config: QuantConfig = FOUR_BITS,
) -> QuantizedModel:
    """`prepare` in evaluation mode; a bare function is wrapped."""
    module = model if isinstance(model, nn.Module) else Function(model)
    return prepare(module, inputs, config).eval()


def images(*shape: int, seed: int = 0) -> Tensor:
    """Random inputs of a fixed seed."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def limited(**limits: object) -> QuantizedModel:
    """`ConvNet` with budgets."""
    torch.manual_seed(0)
    config = QuantConfig(budgets=BudgetConfig(rate=0.05, **limits))
    return prepare(ConvNet(), images(16, 2, 9, 9), config)


def branches(
    ram: int | str | None = "3K", weights: int | None = None, **layers: object
) -> QuantizedModel:
    """`Branches`, whose channels may leave for RAM; by default there is less than it needs."""
    torch.manual_seed(0)
    config = QuantConfig(
        weights=LayerConfig(bits=4, structure="channel"),
        layers=layers,
        budgets=BudgetConfig(ram=ram, weights=weights),
    )
    return prepare(Branches(), images(8, 2, 12, 12), config)
