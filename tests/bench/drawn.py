# SPDX-License-Identifier: Apache-2.0
"""Layers drawn at random, side by side in one graph: what the cost model is fitted to."""

import math
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np

from codeq_compile.ir import Graph, Op, TensorType, Weights
from codeq_compile.ops.add import Add
from codeq_compile.ops.argmax import Argmax
from codeq_compile.ops.avgpool2d import AvgPool2D
from codeq_compile.ops.base import SPARSE
from codeq_compile.ops.concat import Concat
from codeq_compile.ops.conv2d import Conv2D
from codeq_compile.ops.dwconv2d import DWConv2D
from codeq_compile.ops.extremum import Extremum
from codeq_compile.ops.linear import Linear
from codeq_compile.ops.lut import Lut
from codeq_compile.ops.maxpool2d import MaxPool2D
from codeq_compile.ops.mean import Mean
from codeq_compile.ops.mul import Mul
from codeq_compile.ops.pad import Pad
from codeq_compile.ops.prelu import PReLU
from codeq_compile.ops.requantize import Requantize
from codeq_compile.ops.slice import Slice
from codeq_compile.ops.softmax import Softmax
from codeq_compile.ops.sub import Sub
from codeq_compile.ops.transpose import Transpose
from codeq_compile.ops.upsample2d import Upsample2D
from tests.graphs import fitting_grid, grid, random_bias, random_weights
from tests.strategies import GraphBuilder

CHANNELS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 20, 24, 32, 40, 48, 64)
EXTENTS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 16, 20)
FEATURES = (3, 5, 8, 12, 16, 20, 30, 37, 48, 64, 80, 100, 128, 190, 256, 300, 400)
MACS = (2_000, 250_000)
"""Of a layer: with fewer a call costs more than its work, with more the emulator takes long."""
LEAST_WEIGHTS, MOST_WEIGHTS = 500, 8_000
RELU = -128
"""Zero point of an output that a ReLU limits: two of three layers of real networks."""

T = TypeVar("T")


class Drawn(GraphBuilder):
    """Each layer reads an input of the graph, and is an output of it.

    Parameters
    ----------
    packing : str
        One that all weights can be stored in.
    seed : int
    """

    def __init__(self, packing: str, seed: int) -> None:
        super().__init__(np.random.default_rng([seed, *packing.encode()]), f"drawn_{packing}")
        self._packing = packing
        self._known: dict[tuple[tuple[int, ...], int], str] = {}

    def pick(self, values: Sequence[T]) -> T:
        return values[int(self.rng.integers(len(values)))]

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def image(self, *shape: int) -> str:
        """An input of this shape, the same for all layers that want one."""
        zero_point = RELU if self.chance(0.7) else 3
        if (shape, zero_point) not in self._known:
            kind = TensorType(shape=shape, grid=grid(0.05, zero_point))
            self._known[shape, zero_point] = self.input(kind)
        return self._known[shape, zero_point]

    def weighted(
        self, op: Op[Any], x: str, shape: tuple[int, ...], *, bits: int | None = None
    ) -> None:
        weights = self.weights(shape, bits)
        bias = random_bias(self.rng, weights)
        zero_point = RELU if self.chance(0.65) else self.pick((-20, 5))
        output = fitting_grid(self.tensors[x], weights, zero_point)
        self.add(op, x, output=output, weights=weights, bias=bias)

    def weights(self, shape: tuple[int, ...], bits: int | None) -> Weights:
        """Of a width that the packing holds, any unless it is given, and nothing to decode where
        that is possible; zeros where the packing is for zeros.
        """
        zeros = self.pick((0.4, 0.6, 0.75, 0.85, 0.95)) if self._packing in SPARSE else 0.05
        per_channel = self.chance(0.8)
        if self._packing == "ternary":
            return random_weights(self.rng, shape, bits=2, zeros=0.5, per_channel=per_channel)
        if self._packing in {"gap", "csr"}:
            width = self.pick((2, 3, 4, 4, 5, 6) if self._packing == "gap" else (2, 2, 4, 8))
            gap = self.pick((0, 0, 3)) if width == 2 else 0
            per_channel = self.chance(0.5)
            return random_weights(
                self.rng, shape, bits=width, zeros=zeros, gap=gap, per_channel=per_channel
            )
        widths = (8, 8, 8, 8, 7, 6, 5, 4, 4, 3, 2, 2, 1)
        if bits is None:
            bits = self.pick(widths[: -1 if self._packing == "huffman" else None])
        if bits == 1 or (bits == 3 and self.chance(0.4)):
            levels = (0, 3) if bits == 1 else (-30, -11, 0, 12, 41)
            return random_weights(self.rng, shape, bits=bits, zeros=zeros, levels=levels)
        gap = self.pick((1, 3)) if bits < 6 and self.chance(0.35) else 0
        drawn = random_weights(
            self.rng, shape, bits=bits, zeros=zeros, gap=gap, per_channel=per_channel
        )
        return drawn if bits == 2 or not self.chance(0.5) else _laplacian(self.rng, drawn)

    def limits(self) -> dict[str, Any]:
        """A fused activation that leaves a part of int8, and the width of factors."""
        options: dict[str, Any] = {"clamp": (5, 127)} if self.chance(0.2) else {}
        return options | ({"multiplier_bits": 13} if self.chance(0.4) else {})

    def conv(self) -> None:
        while True:
            kernel = self.pick(((1, 1), (1, 1), (1, 1), (3, 3), (3, 3), (3, 3), (5, 5), (1, 3)))
            if self.chance(0.1):
                kernel = (self.pick(range(1, 11)), self.pick(range(1, 5)))
            size = self.pick(EXTENTS), self.pick(EXTENTS)
            channels, out = self.pick(CHANNELS), self.pick(CHANNELS)
            groups = self.pick((2, 4)) if self.chance(0.2) else 1
            stride = self.pick(((1, 1), (1, 1), (2, 2), (2, 1)))
            dilation = (2, 2) if kernel != (1, 1) and self.chance(0.12) else (1, 1)
            op = Conv2D(
                stride=stride,
                dilation=dilation,
                padding=self.padding(kernel, dilation),
                groups=groups,
                **self.limits(),
            )
            shape = (out * groups, *kernel, channels)
            if self.fits(size, kernel, op, math.prod(shape)):
                self.weighted(op, self.image(*size, channels * groups), shape)
                return

    def stem(self) -> None:
        """A first layer: few channels of an image that is larger than those behind it."""
        while True:
            kernel = self.pick(((3, 3), (3, 3), (5, 5), (7, 7), (10, 4), (1, 5), (4, 1)))
            size = self.pick((12, 16, 24, 32, 49)), self.pick((10, 16, 20, 32, 40))
            channels, out = self.pick((1, 1, 2, 3, 3, 4, 5, 6, 12)), self.pick(CHANNELS[3:])
            op = Conv2D(
                stride=self.pick(((1, 1), (2, 2), (2, 1), (3, 2))),
                padding=self.padding(kernel, (1, 1)),
                **self.limits(),
            )
            shape = (out, *kernel, channels)
            if self.fits(size, kernel, op, math.prod(shape)):
                self.weighted(op, self.image(*size, channels), shape)
                return

    def pointwise(self) -> None:
        """A matrix product: most multiply-accumulates of most networks."""
        while True:
            size = self.pick(EXTENTS), self.pick(EXTENTS)
            channels, out = self.pick(CHANNELS), self.pick(CHANNELS)
            op = Conv2D(**self.limits())
            if self.fits(size, (1, 1), op, out * channels):
                bits = 8 if self.chance(0.3) else None
                x = self.image(*size, channels)
                self.weighted(op, x, (out, 1, 1, channels), bits=bits)
                return

    def depthwise(self, *, is_3x3: bool) -> None:
        """Windows of 3x3 have kernels of their own, where each channel has one filter."""
        while True:
            kernel = (3, 3) if is_3x3 else (self.pick(range(1, 7)), self.pick((1, 2, 3, 5, 9)))
            size = self.pick(EXTENTS), self.pick(EXTENTS)
            channels, multiplier = self.pick(CHANNELS), 2 if self.chance(0.2) and not is_3x3 else 1
            dilation = (2, 2) if self.chance(0.2) and not is_3x3 else (1, 1)
            op = DWConv2D(
                stride=self.pick(((1, 1), (1, 1), (2, 2), (1, 2))),
                dilation=dilation,
                padding=self.padding(kernel, dilation),
                **self.limits(),
            )
            shape = (channels * multiplier, *kernel)
            if self.fits(size, kernel, op, math.prod(shape)):
                self.weighted(op, self.image(*size, channels), shape)
                return

    def linear(self, bits: int | None = None) -> None:
        while True:
            features, out = self.pick(FEATURES), self.pick((*CHANNELS, 96, 130))
            rows = 1 if self.chance(0.7) else self.pick((2, 3, 5, 8, 13))
            macs = rows * features * out
            if LEAST_WEIGHTS <= features * out <= MOST_WEIGHTS and macs <= MACS[1]:
                shape = (features,) if rows == 1 else (rows, features)
                op, x = Linear(**self.limits()), self.image(*shape)
                self.weighted(op, x, (out, features), bits=bits)
                return

    def padding(self, kernel: tuple[int, int], dilation: tuple[int, int]) -> tuple[int, ...]:
        if self.chance(0.4):
            return (0, 0, 0, 0)
        top, left = ((k - 1) * d // 2 for k, d in zip(kernel, dilation, strict=True))
        return (top, top, left, left)

    def fits(self, size: tuple[int, int], kernel: tuple[int, int], op: Any, weights: int) -> bool:
        """A layer of a reasonable number of weights and multiply-accumulates."""
        pads = (op.padding[0] + op.padding[1], op.padding[2] + op.padding[3])
        extents = [
            (n + pad - (k - 1) * d - 1) // s + 1
            for n, pad, k, d, s in zip(size, pads, kernel, op.dilation, op.stride, strict=True)
        ]
        macs = math.prod(extents) * weights
        return min(extents) > 0 and weights <= MOST_WEIGHTS and MACS[0] <= macs <= MACS[1]

    def picture(self, channels: Sequence[int] = CHANNELS) -> str:
        """An input image of a few thousand values."""
        while True:
            shape = (self.pick(EXTENTS), self.pick(EXTENTS), self.pick(channels))
            if 150 <= math.prod(shape) <= 6_000:
                return self.image(*shape)

    def unweighted(self) -> None:
        """One layer of every op without weights."""
        other = grid(0.04, -20)
        wide = grid(0.07, self.pick((-10, RELU)))
        for op in (Add(), Add(clamp=(5, 127)), Mul(), Sub()):
            x = self.picture()
            h, w, c = self.tensors[x].shape
            self.add(op, x, self.input(TensorType(shape=(h, w, c), grid=other)), output=wide)
            for shape in ((c,), (1,)):
                x = self.picture(channels=(c,))
                self.add(op, x, self.constant(TensorType(shape=shape, grid=other)), output=wide)
        for op in (Extremum(largest=True), Extremum(largest=False)):
            x = self.picture()
            kind = self.tensors[x]
            self.add(op, x, self.input(TensorType(shape=kind.shape, grid=kind.grid)))
        x = self.picture()
        channels = self.tensors[x].shape[2]
        slope = self.constant(TensorType(shape=(channels,), grid=grid(0.01, 3)))
        self.add(PReLU(), x, slope, output=wide)
        for pool in (AvgPool2D, MaxPool2D):
            self.pooled(pool, self.picture())
            self.pooled(pool, self.picture())
            self.pooled(pool, self.picture(channels=(1, 2, 3)))
        for channels in (CHANNELS, (1, 2, 3, 5, 6, 7)):
            self.add(Mean(), self.picture(channels), output=wide)
        self.add(Upsample2D(factor=(self.pick((1, 2, 3)), self.pick((1, 2, 3)))), self.picture())
        self.add(Pad(before=(1, self.pick((0, 1, 2)), 0), after=(1, 1, 0)), self.picture())
        self.add(Pad(before=(0, 0, 2), after=(0, 0, self.pick((0, 1, 4)))), self.picture())
        x = self.picture()
        h, w, c = self.tensors[x].shape
        axis = self.pick((0, 1, 2))
        self.add(Concat(axis=axis), *([x] * self.pick((2, 3))))
        self.add(Requantize(), x, output=wide)
        self.add(Lut(), x, table=self.rng.integers(-128, 128, 256).astype(np.int8))
        for step in (1, 2):
            # rows in one piece, then element by element
            x = self.picture()
            h, w, c = self.tensors[x].shape
            axes = (1, 0, 2) if step == 1 else self.pick(((2, 0, 1), (2, 1, 0), (0, 2, 1)))
            self.add(Transpose(axes=axes), x)
            shape = (max(1, h // 2), w, max(1, c // 2))
            self.add(Slice(begin=(0, 0, 0), step=(1, 1, step), shape=shape), x)
        self.add(Argmax(), self.image(self.pick((1, 4)), self.pick(FEATURES)))

    def softmax(self) -> None:
        depth, rows = self.pick((2, 3, 5, 10, 12, 35, 100)), self.pick((1, 1, 4))
        logits = grid(self.pick((0.05, 0.1, 0.3, 2)), 3)
        self.add(Softmax(), self.input(TensorType(shape=(rows, depth), grid=logits)))

    def pooled(self, pool: type[AvgPool2D] | type[MaxPool2D], x: str) -> None:
        """Windows side by side, or overlapping, or reaching over the border."""
        h, w, _ = self.tensors[x].shape
        kernel = (min(h, self.pick((2, 3, 5, 20))), min(w, self.pick((2, 3, 5, 20))))
        options: dict[str, Any] = {"stride": kernel}
        if self.chance(0.5):
            options = {"stride": self.pick(((1, 1), (1, 2), (2, 2)))}
            if self.chance(0.5):
                options["padding"] = tuple(k // 2 for k in kernel for _ in range(2))
        if self.chance(0.3):
            options["clamp"] = (5, 127)
        self.add(pool(kernel=kernel, **options), x)


def _laplacian(rng: np.random.Generator, drawn: Weights) -> Weights:
    """The same places with small magnitudes more often: as trained weights are."""
    top = int(np.abs(drawn.codes).max())
    if drawn.levels is not None or top < 2:
        return drawn
    magnitude = np.minimum(1 + rng.exponential(top / 4, drawn.codes.shape).astype(np.int64), top)
    codes = (np.sign(drawn.codes) * magnitude).astype(np.int8)
    return Weights(codes=codes, bits=drawn.bits, scale=drawn.scale, gap=drawn.gap)


def layers(packing: str, count: int, seed: int) -> Graph:
    """`count` layers of each op that has such a packing."""
    net = Drawn(packing, seed)
    for number in range(count):
        net.linear()
        if packing == "dense":
            # straight from the stream: a loop of its own for every width
            for bits in (8, *(1 + (number + more) % 7 for more in (0, 2, 4, 5))):
                net.linear(bits)
        if packing in {"ternary", "gap", "csr"}:
            net.linear()
            net.linear()
        if packing in Conv2D.packings:
            net.conv()
            net.pointwise()
        if packing in DWConv2D.packings:
            net.stem()
            for _ in range(2):
                net.depthwise(is_3x3=True)
                net.depthwise(is_3x3=False)
    return net.graph()


def convolutions(packing: str, count: int, seed: int) -> Graph:
    """`count` further convolutions: of those in `layers` few are left for each of their kernels."""
    net = Drawn(packing, seed)
    for _ in range(count):
        net.conv()
    return net.graph()


def unweighted(count: int, seed: int) -> Graph:
    """`count` layers of each op that has no weights, but for softmax."""
    net = Drawn("unweighted", seed)
    for _ in range(count):
        net.unweighted()
    return net.graph()


def softmaxes(count: int, seed: int) -> Graph:
    """`count` softmax layers: what they execute depends on their inputs."""
    net = Drawn("softmax", seed)
    for _ in range(count):
        net.softmax()
    return net.graph()
