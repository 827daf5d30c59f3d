# SPDX-License-Identifier: Apache-2.0
"""The networks of MLPerf Tiny as IR graphs: real shapes, random weights of every width and form."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from codeq_compile.ir import Graph, Op, TensorType
from codeq_compile.ops.add import Add
from codeq_compile.ops.avgpool2d import AvgPool2D
from codeq_compile.ops.conv2d import Conv2D
from codeq_compile.ops.dwconv2d import DWConv2D
from codeq_compile.ops.linear import Linear
from codeq_compile.ops.mean import Mean
from codeq_compile.ops.reshape import Reshape
from codeq_compile.ops.softmax import Softmax
from tests.graphs import grid, random_bias, random_weights
from tests.strategies import GraphBuilder

SAME = (1, 1, 1, 1)
"""Padding that keeps the size of a 3x3 convolution."""
SAME_STRIDED = (0, 1, 0, 1)
"""TensorFlow's padding of a 3x3 convolution of stride 2 on an even size."""

# (bits, gap, share of zeros, levels)
Form = tuple[int, int, float, tuple[int, ...] | None]
# every width, ternary, gaps, tables, dense and sparse
FORMS: tuple[Form, ...] = (
    (8, 0, 0.0, None),
    (4, 2, 0.6, None),
    (2, 0, 0.5, None),
    (3, 5, 0.8, None),
    (1, 0, 0.0, (-9, 7)),
    (6, 0, 0.3, None),
    (2, 20, 0.9, None),
    (5, 1, 0.7, None),
    (3, 0, 0.4, (-100, -31, 0, 12, 90)),
    (7, 0, 0.1, None),
)
TERNARY: tuple[Form, ...] = ((2, 0, 0.5, None),)
"""What every packing can hold."""


class NetworkBuilder(GraphBuilder):
    """A chain of layers, each with the next form of weights."""

    def __init__(self, rng: np.random.Generator, name: str, forms: Sequence[Form]) -> None:
        super().__init__(rng, name)
        self._forms = itertools.cycle(forms)

    def layer(self, op: Op[Any], x: str, shape: tuple[int, ...], name: str) -> str:
        """A layer with weights and biases; its output has a zero point of -128, as after a ReLU."""
        bits, gap, zeros, levels = next(self._forms)
        weights = random_weights(self.rng, shape, bits=bits, gap=gap, zeros=zeros, levels=levels)
        bias = random_bias(self.rng, weights)
        return self.add(op, x, weights=weights, bias=bias, name=name)

    def channels(self, x: str) -> int:
        return self.tensors[x].shape[-1]

    def conv(self, x: str, out: int, kernel: int, name: str, **options: Any) -> str:
        shape = (out, kernel, kernel, self.channels(x))
        return self.layer(Conv2D(clamp=(5, 127), **options), x, shape, name)

    def separable(self, x: str, out: int, name: str, **options: Any) -> str:
        """A depthwise 3x3 and a pointwise convolution."""
        shape = (self.channels(x), 3, 3)
        x = self.layer(DWConv2D(clamp=(5, 127), **options), x, shape, f"{name}/dw")
        return self.conv(x, out, 1, f"{name}/pw", multiplier_bits=13)

    def classifier(self, x: str, classes: int) -> str:
        x = self.add(Reshape(shape=(self.channels(x),)), x, name="flatten")
        x = self.layer(Linear(), x, (classes, self.channels(x)), "classifier")
        return self.add(Softmax(), x, name="softmax")


def ds_cnn(rng: np.random.Generator, forms: Sequence[Form] = FORMS) -> Graph:
    """The keyword spotter: 49x10 MFCC, 12 classes."""
    net = NetworkBuilder(rng, "kws", forms)
    x = net.input(TensorType(shape=(49, 10, 1), grid=grid(0.58, 83)))
    stem = Conv2D(stride=(2, 2), padding=(4, 5, 1, 1), clamp=(5, 127))
    x = net.layer(stem, x, (64, 10, 4, 1), "features.0")
    for number in range(1, 5):
        x = net.separable(x, 64, f"features.{number}", padding=SAME)
    x = net.add(AvgPool2D(kernel=(25, 5), stride=(25, 5)), x, name="pool")
    words = ("down", "go", "left", "no", "off", "on", "right", "stop", "up", "yes")
    labels = (*words, "silence", "unknown")
    return replace(net.graph(net.classifier(x, len(labels))), labels=labels)


def resnet8(rng: np.random.Generator, forms: Sequence[Form] = FORMS) -> Graph:
    """The image classifier: 32x32x3, 10 classes, three residual blocks."""
    net = NetworkBuilder(rng, "resnet8", forms)
    x = net.input(TensorType(shape=(32, 32, 3), grid=grid(1.0, -128)))
    x = net.conv(x, 16, 3, "stem", padding=SAME)
    for number, (channels, stride) in enumerate(((16, 1), (32, 2), (64, 2)), start=1):
        step = {"stride": (stride, stride)}
        y = net.conv(x, channels, 3, f"block{number}.conv1", padding=_same(stride), **step)
        y = net.conv(y, channels, 3, f"block{number}.conv2", padding=SAME)
        if stride == 2:
            x = net.conv(x, channels, 1, f"block{number}.shortcut", **step)
        output = grid(1.5 * max(net.tensors[x].scale, net.tensors[y].scale), -20)
        x = net.add(Add(clamp=(-20, 127)), x, y, output=output, name=f"block{number}.add")
    x = net.add(AvgPool2D(kernel=(8, 8), stride=(8, 8)), x, name="pool")
    return net.graph(net.classifier(x, 10))


def mobilenet_v1_025(rng: np.random.Generator, forms: Sequence[Form] = FORMS) -> Graph:
    """Visual wake words: 96x96x3, 2 classes, width 0.25."""
    net = NetworkBuilder(rng, "vww", forms)
    x = net.input(TensorType(shape=(96, 96, 3), grid=grid(1 / 255, -128)))
    x = net.conv(x, 8, 3, "conv1", stride=(2, 2), padding=SAME_STRIDED)
    blocks = ((16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2), *[(128, 1)] * 5)
    for number, (out, stride) in enumerate((*blocks, (256, 2), (256, 1)), start=1):
        options = {"stride": (stride, stride), "padding": _same(stride)}
        x = net.separable(x, out, f"blocks.{number}", **options)
    x = net.add(Mean(), x, output=grid(net.tensors[x].scale / 2, -100), name="mean")
    return net.graph(net.classifier(x, 2))


def _same(stride: int) -> tuple[int, int, int, int]:
    return SAME if stride == 1 else SAME_STRIDED
