# SPDX-License-Identifier: Apache-2.0
"""The recipes' networks: plain torch modules that know nothing of quantization.

DS-CNN, ResNet-8, MobileNetV1-0.25 and the autoencoder are those of MLPerf Tiny (arXiv:2106.07597);
"same" padding puts the odd pixel behind, as there.
"""

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise
from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F


def named(**layers: nn.Module) -> nn.Sequential:
    """Layers one after the other; the names appear in reports and in the emitted C."""
    return nn.Sequential(OrderedDict(layers))


def _conv1d(inputs: int, outputs: int, kernel: int, *, stride: int = 1) -> nn.Sequential:
    conv = nn.Conv1d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return named(conv=conv, norm=nn.BatchNorm1d(outputs), relu=nn.ReLU())


def _conv2d(
    inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    """Convolution, BatchNorm and ReLU with "same" padding."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    layers: dict[str, nn.Module] = {}
    if stride == 2 and kernel == 3:  # even images: one pixel, and that behind
        layers["pad"] = nn.ZeroPad2d((0, 1, 0, 1))
        conv.padding = (0, 0)
    return named(**layers, conv=conv, norm=nn.BatchNorm2d(outputs), relu=nn.ReLU())


def _separable(inputs: int, outputs: int, *, stride: int = 1) -> nn.Sequential:
    return named(
        dw=_conv2d(inputs, inputs, 3, stride=stride, groups=inputs),
        pw=_conv2d(inputs, outputs, 1),
    )


def _strided_stages(inputs: int, widths: Sequence[int]) -> dict[str, nn.Module]:
    """1-D convolutions of stride 2, the first two of them with five taps."""
    kernels = (5, 5, *[3] * (len(widths) - 2))
    sizes = zip(pairwise((inputs, *widths)), kernels, strict=True)
    return {
        f"conv{i}": _conv1d(before, after, kernel, stride=2)
        for i, ((before, after), kernel) in enumerate(sizes, start=1)
    }


def watch_net(
    classes: int, *, widths: Sequence[int] = (24, 32, 40, 48), dropout: float = 0.2
) -> nn.Sequential:
    """Four 1-D convolutions of stride 2 on windows (6, 128), global mean, linear."""
    return named(
        **_strided_stages(6, widths),
        mean=nn.AdaptiveAvgPool1d(1),
        flatten=nn.Flatten(),
        dropout=nn.Dropout(dropout),
        classifier=nn.Linear(widths[-1], classes),
    )


def wand_net(
    classes: int, *, widths: Sequence[int] = (16, 24, 24, 32), dropout: float = 0.2
) -> nn.Sequential:
    """As `watch_net`, on (6, 119); no mean, because the order of movements makes a gesture."""
    return named(
        **_strided_stages(6, widths),
        flatten=nn.Flatten(),
        dropout=nn.Dropout(dropout),
        classifier=nn.Linear(8 * widths[-1], classes),
    )


def bearing_net(
    classes: int, *, widths: Sequence[int] = (16, 32, 32, 48), dropout: float = 0.1
) -> nn.Sequential:
    """Five milliseconds at a time, then three convolutions of stride 2, on vibrations (1, 1024).

    Source of the wide first kernel: W. Zhang et al., Sensors 17(2):425, 2017 (WDCNN).
    """
    stem = named(
        conv=nn.Conv1d(1, widths[0], 64, 8, 28, bias=False),
        norm=nn.BatchNorm1d(widths[0]),
        relu=nn.ReLU(),
    )
    stages = {
        f"conv{i + 2}": _conv1d(inputs, outputs, 3, stride=2)
        for i, (inputs, outputs) in enumerate(pairwise(widths))
    }
    return named(
        stem=stem,
        **stages,
        mean=nn.AdaptiveAvgPool1d(1),
        flatten=nn.Flatten(),
        dropout=nn.Dropout(dropout),
        classifier=nn.Linear(widths[-1], classes),
    )


def lenet(classes: int = 10, *, dropout: float = 0.2) -> nn.Sequential:
    """LeNet-5 on (1, 28, 28), with BatchNorm, ReLU and largest values where it had older ones.

    Source: Y. LeCun et al., Proceedings of the IEEE 86(11), 1998.
    """
    stages = {
        f"stage{i + 1}": named(
            conv=nn.Conv2d(inputs, outputs, 5, 1, padding, bias=False),
            norm=nn.BatchNorm2d(outputs),
            relu=nn.ReLU(),
            pool=nn.MaxPool2d(2),
        )
        for i, (inputs, outputs, padding) in enumerate([(1, 6, 2), (6, 16, 0)])
    }
    hidden = {
        f"hidden{i + 1}": named(
            linear=nn.Linear(inputs, outputs, bias=False),
            norm=nn.BatchNorm1d(outputs),
            relu=nn.ReLU(),
            dropout=nn.Dropout(dropout),
        )
        for i, (inputs, outputs) in enumerate(pairwise([400, 120, 84]))
    }
    return named(**stages, flatten=nn.Flatten(), **hidden, classifier=nn.Linear(84, classes))


def ds_cnn(
    classes: int = 12, *, channels: int = 64, blocks: int = 4, dropout: float = 0.1
) -> nn.Sequential:
    """Keyword spotter on MFCC images (1, 49, 10): one 10x4 convolution, separable blocks."""
    stem = named(
        pad=nn.ZeroPad2d((1, 1, 4, 5)),
        conv=nn.Conv2d(1, channels, (10, 4), 2, bias=False),
        norm=nn.BatchNorm2d(channels),
        relu=nn.ReLU(),
        dropout=nn.Dropout(dropout),
    )
    return named(
        stem=stem,
        **{f"block{i + 1}": _separable(channels, channels) for i in range(blocks)},
        dropout=nn.Dropout(2 * dropout),
        mean=nn.AdaptiveAvgPool2d(1),
        flatten=nn.Flatten(),
        classifier=nn.Linear(channels, classes),
    )


class ResidualBlock(nn.Module):
    """Two layers and a shortcut around them; ReLU after the sum."""

    def __init__(self, first: nn.Module, second: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.first, self.second, self.shortcut = first, second, shortcut

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.second(self.first(x)) + cast(Tensor, self.shortcut(x)))


def _conv_norm(
    inputs: int, outputs: int, kernel: int, *, stride: int = 1, relu: bool = False
) -> nn.Sequential:
    """Convolution with as many pixels before as behind, BatchNorm and perhaps ReLU."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    layers: dict[str, nn.Module] = {"conv": conv, "norm": nn.BatchNorm2d(outputs)}
    if relu:
        layers["relu"] = nn.ReLU()
    return named(**layers)


def _tiny_block(inputs: int, outputs: int, *, stride: int) -> ResidualBlock:
    """MLPerf Tiny's: a 1x1 convolution with bias as shortcut where the shape changes."""
    same = stride == 1 and inputs == outputs
    return ResidualBlock(
        first=_conv2d(inputs, outputs, 3, stride=stride),
        second=_conv_norm(outputs, outputs, 3),
        shortcut=nn.Identity() if same else nn.Conv2d(inputs, outputs, 1, stride),
    )


def _cifar_block(inputs: int, outputs: int, *, stride: int) -> ResidualBlock:
    """He et al.'s, shortcuts of kind B: a 1x1 convolution and BatchNorm where the shape changes."""
    same = stride == 1 and inputs == outputs
    return ResidualBlock(
        first=_conv_norm(inputs, outputs, 3, stride=stride, relu=True),
        second=_conv_norm(outputs, outputs, 3),
        shortcut=nn.Identity() if same else _conv_norm(inputs, outputs, 1, stride=stride),
    )


def resnet8(classes: int = 10) -> nn.Sequential:
    """Image classifier on (3, 32, 32): three residual stages of 16, 32 and 64 channels."""
    return named(
        stem=_conv2d(3, 16, 3),
        stage1=_tiny_block(16, 16, stride=1),
        stage2=_tiny_block(16, 32, stride=2),
        stage3=_tiny_block(32, 64, stride=2),
        mean=nn.AdaptiveAvgPool2d(1),
        flatten=nn.Flatten(),
        classifier=nn.Linear(64, classes),
    )


def resnet20(classes: int = 10, *, blocks: int = 3) -> nn.Sequential:
    """Image classifier on (3, 32, 32): three stages of `blocks` residual blocks, 6n + 2 layers.

    Source: K. He et al., arXiv:1512.03385, section 4.2, with convolutions as shortcuts (kind B)
    where the paper pads with zero channels (kind A): 2,752 of 272,474 parameters.
    """
    channels = 16
    layers: dict[str, nn.Module] = {"stem": _conv_norm(3, channels, 3, relu=True)}
    for stage, outputs in enumerate((16, 32, 64), start=1):
        for block in range(1, blocks + 1):
            stride = 2 if stage > 1 and block == 1 else 1
            layers[f"stage{stage}_{block}"] = _cifar_block(channels, outputs, stride=stride)
            channels = outputs
    return named(
        **layers,
        mean=nn.AdaptiveAvgPool2d(1),
        flatten=nn.Flatten(),
        classifier=nn.Linear(channels, classes),
    )


_MOBILENET = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2))
_MOBILENET_V1 = (*_MOBILENET, *[(512, 1)] * 5, (1024, 2), (1024, 1))


def mobilenet_v1(classes: int = 2, *, width: float = 0.25) -> nn.Sequential:
    """Person detector on (3, 96, 96): thirteen separable blocks, channels times `width`."""
    channels = int(32 * width)
    layers: dict[str, nn.Module] = {"stem": _conv2d(3, channels, 3, stride=2)}
    for i, (full, stride) in enumerate(_MOBILENET_V1):
        outputs = int(full * width)
        layers[f"block{i + 1}"] = _separable(channels, outputs, stride=stride)
        channels = outputs
    return named(
        **layers,
        mean=nn.AdaptiveAvgPool2d(1),
        flatten=nn.Flatten(),
        classifier=nn.Linear(channels, classes),
    )


def autoencoder(features: int = 640) -> nn.Sequential:
    """Machine-sound anomaly detector: nine linear layers with a bottleneck of 8."""
    widths = (128, 128, 128, 128, 8, 128, 128, 128, 128)
    layers: dict[str, nn.Module] = {}
    inputs = features
    for i, width in enumerate(widths):
        layers[f"linear{i + 1}"] = named(
            linear=nn.Linear(inputs, width), norm=nn.BatchNorm1d(width), relu=nn.ReLU()
        )
        inputs = width
    return named(**layers, output=nn.Linear(inputs, features))
