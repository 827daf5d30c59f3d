# SPDX-License-Identifier: Apache-2.0
"""The networks of MLPerf Tiny as IR graphs: real shapes, random weights of every width and form.

Tests take them with weights of mixed forms; measurements take `benchmark`, which never changes.
"""

import itertools
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from codeq_compile.ir import Graph, Node, Op, TensorType, Weights, verify
from codeq_compile.ops.add import Add
from codeq_compile.ops.avgpool2d import AvgPool2D
from codeq_compile.ops.conv2d import Conv2D
from codeq_compile.ops.dwconv2d import DWConv2D
from codeq_compile.ops.linear import Linear
from codeq_compile.ops.mean import Mean
from codeq_compile.ops.reshape import Reshape
from codeq_compile.ops.softmax import Softmax
from tests.graphs import fitting_grid, grid, random_bias, random_weights
from tests.strategies import GraphBuilder

SAME = (1, 1, 1, 1)
"""Padding that keeps the size of a 3x3 convolution."""
RELU_ZERO = -128
"""Zero point after a ReLU, which saturation then is: as in trained and in imported models."""
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


Draw = Callable[[np.random.Generator, Op[Any], tuple[int, ...], bool], Weights]
"""Weights of one layer: generator, op, shape, and whether it is the first layer of its network."""


def in_turn(forms: Sequence[Form]) -> Draw:
    """Each layer gets the next form."""
    cycle = itertools.cycle(forms)

    def draw(
        rng: np.random.Generator, op: Op[Any], shape: tuple[int, ...], is_first: bool
    ) -> Weights:
        bits, gap, zeros, levels = next(cycle)
        return random_weights(rng, shape, bits=bits, gap=gap, zeros=zeros, levels=levels)

    return draw


class NetworkBuilder(GraphBuilder):
    """A chain of layers, each with weights of its own form."""

    def __init__(self, rng: np.random.Generator, name: str, forms: Sequence[Form] | Draw) -> None:
        super().__init__(rng, name)
        self._draw = forms if callable(forms) else in_turn(forms)
        self._is_empty = True

    def layer(
        self, op: Op[Any], x: str, shape: tuple[int, ...], name: str, zero_point: int = RELU_ZERO
    ) -> str:
        """A layer with weights and biases, and a ReLU unless the zero point says otherwise."""
        weights = self._draw(self.rng, op, shape, self._is_empty)
        self._is_empty = False
        bias = random_bias(self.rng, weights)
        output = fitting_grid(self.tensors[x], weights, zero_point)
        return self.add(op, x, output=output, weights=weights, bias=bias, name=name)

    def channels(self, x: str) -> int:
        return self.tensors[x].shape[-1]

    def conv(self, x: str, out: int, kernel: int, name: str, **options: Any) -> str:
        shape = (out, kernel, kernel, self.channels(x))
        return self.layer(Conv2D(**options), x, shape, name)

    def separable(self, x: str, out: int, name: str, **options: Any) -> str:
        """A depthwise 3x3 and a pointwise convolution."""
        shape = (self.channels(x), 3, 3)
        x = self.layer(DWConv2D(**options), x, shape, f"{name}/dw")
        return self.conv(x, out, 1, f"{name}/pw", multiplier_bits=13)

    def classifier(self, x: str, classes: int) -> str:
        x = self.add(Reshape(shape=(self.channels(x),)), x, name="flatten")
        x = self.layer(Linear(), x, (classes, self.channels(x)), "classifier", zero_point=5)
        return self.add(Softmax(), x, name="softmax")


def ds_cnn(rng: np.random.Generator, forms: Sequence[Form] | Draw = FORMS) -> Graph:
    """The keyword spotter: 49x10 MFCC, 12 classes."""
    net = NetworkBuilder(rng, "kws", forms)
    x = net.input(TensorType(shape=(49, 10, 1), grid=grid(0.58, 83)))
    stem = Conv2D(stride=(2, 2), padding=(4, 5, 1, 1))
    x = net.layer(stem, x, (64, 10, 4, 1), "features.0")
    for number in range(1, 5):
        x = net.separable(x, 64, f"features.{number}", padding=SAME)
    x = net.add(AvgPool2D(kernel=(25, 5), stride=(25, 5)), x, name="pool")
    words = ("down", "go", "left", "no", "off", "on", "right", "stop", "up", "yes")
    labels = (*words, "silence", "unknown")
    return replace(net.graph(net.classifier(x, len(labels))), labels=labels)


def resnet8(rng: np.random.Generator, forms: Sequence[Form] | Draw = FORMS) -> Graph:
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
        output = grid(1.5 * max(net.tensors[x].scale, net.tensors[y].scale), RELU_ZERO)
        x = net.add(Add(), x, y, output=output, name=f"block{number}.add")
    x = net.add(AvgPool2D(kernel=(8, 8), stride=(8, 8)), x, name="pool")
    return net.graph(net.classifier(x, 10))


def mobilenet_v1_025(rng: np.random.Generator, forms: Sequence[Form] | Draw = FORMS) -> Graph:
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


def autoencoder(rng: np.random.Generator, forms: Sequence[Form] | Draw = FORMS) -> Graph:
    """Anomaly detection: 640 features, ten fully connected layers, 8 in the narrowest."""
    net = NetworkBuilder(rng, "ad", forms)
    x = net.input(TensorType(shape=(640,), grid=grid(0.39, 90)))
    for number, out in enumerate((128, 128, 128, 128, 8, 128, 128, 128, 128), start=1):
        shape = (out, net.channels(x))
        x = net.layer(Linear(), x, shape, f"dense{number}")
    return net.graph(net.layer(Linear(), x, (640, net.channels(x)), "output"))


def _same(stride: int) -> tuple[int, int, int, int]:
    return SAME if stride == 1 else SAME_STRIDED


NETWORKS: dict[str, Callable[[np.random.Generator, Draw], Graph]] = {
    "ic": resnet8,
    "kws": ds_cnn,
    "vww": mobilenet_v1_025,
    "ad": autoencoder,
}
"""By the short names that MLPerf Tiny has for its tasks."""

FULL = (-128, 127)
SEED = 2026
GAP = 0
"""Of all weights of `VARIANTS`."""


def laplacian(
    rng: np.random.Generator, shape: tuple[int, ...], *, bits: int, zeros: float
) -> Weights:
    """Weights as pruning leaves them: an independent mask, and a Laplacian beyond the dead zone.

    There, magnitudes are exponential, whatever the zone's width. An eighth of the largest level as
    their scale gives 2.3 bits of entropy a value in 4 bits and 6.4 in 8, as in trained layers. The
    matrix of a linear layer has one scale, as in the models of MLPerf Tiny. No input and no output
    channel is dead: a weight of one level revives it, and the largest weight of an output is
    positive, lest a ReLU makes a constant of it.
    """
    top = (1 << (bits - 1)) - 1
    magnitude = np.minimum(np.floor(1 + rng.exponential(top / 8, shape)), top)
    codes = (magnitude * rng.choice([-1, 1], shape)).astype(np.int8)
    codes[rng.random(shape) < zeros] = 0
    for rows in (codes.reshape(shape[0], -1), codes.reshape(-1, shape[-1]).T):
        for dead in np.flatnonzero(~rows.any(axis=1)):
            rows[dead, rng.integers(rows.shape[1])] = rng.choice([-1, 1])
    for row in codes.reshape(shape[0], -1):
        row[np.abs(row).argmax()] = np.abs(row).max()
    scale = rng.uniform(0.01, 0.03, shape[0] if len(shape) > 2 else 1).astype(np.float32)
    return Weights(codes=codes, bits=bits, scale=scale, gap=GAP)


def dense8(
    rng: np.random.Generator, op: Op[Any], shape: tuple[int, ...], is_first: bool
) -> Weights:
    """8 bits, no zeros."""
    return laplacian(rng, shape, bits=8, zeros=0.0)


def pruned(bits: int, zeros: float) -> Draw:
    """Few bits and many zeros where pruning pays; first and depthwise convolutions are dense."""

    def draw(
        rng: np.random.Generator, op: Op[Any], shape: tuple[int, ...], is_first: bool
    ) -> Weights:
        if isinstance(op, DWConv2D) or (is_first and isinstance(op, Conv2D)):
            return dense8(rng, op, shape, is_first)
        return laplacian(rng, shape, bits=bits, zeros=zeros)

    return draw


VARIANTS: dict[str, Draw] = {
    "dense8": dense8,
    "sparse4": pruned(4, 0.8),
    "ternary": pruned(2, 0.9),
}
"""The weights of whole-network figures: 8 bits dense; 4 bits, 80 % zeros; ternary, 90 % zeros."""


def benchmark(network: str, variant: str) -> Graph:
    """A graph whose figures are compared from version to version: the same bytes every time.

    As in imported models multipliers are 32 bits wide, and a ReLU is a zero point of -128 that
    needs no limits besides those of int8. Biases are small, so that all channels live: the compiler
    finds nothing to remove.
    """
    seed = zlib.crc32(f"{network}/{variant}".encode())
    graph = NETWORKS[network](np.random.default_rng([SEED, seed]), VARIANTS[variant])
    rectified = {node.output for node in graph.nodes if getattr(node.op, "clamp", FULL) != FULL}
    for node in graph.nodes:
        is_on_its_inputs_grid = node.op.is_view or isinstance(node.op, AvgPool2D)
        if is_on_its_inputs_grid and rectified.intersection(node.inputs):
            rectified.add(node.output)
    tensors = {
        name: replace(kind, grid=replace(kind.grid, zero_point=-128))
        if kind.grid is not None and name in rectified
        else kind
        for name, kind in graph.tensors.items()
    }
    nodes = tuple(map(_as_imported, graph.nodes))
    return verify(replace(graph, name=network, tensors=tensors, nodes=nodes))


def _as_imported(node: Node) -> Node:
    op = node.op
    if isinstance(op, Conv2D):
        op = replace(op, multiplier_bits=31)
    if isinstance(op, Conv2D | DWConv2D | Linear | Add):
        op = replace(op, clamp=FULL)
    bias = None if node.bias is None else np.abs(node.bias) // 16
    return replace(node, op=op, bias=bias)
