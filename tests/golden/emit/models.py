# SPDX-License-Identifier: Apache-2.0
"""The tiny models whose generated C is kept: built from formulas, so from no random numbers."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from codeq_compile import passes
from codeq_compile.emit import emit
from codeq_compile.ir import Graph, Grid, Node, TensorType, Weights, verify
from codeq_compile.numerics import Int8Array
from codeq_compile.ops.add import Add
from codeq_compile.ops.conv2d import Conv2D
from codeq_compile.ops.dwconv2d import DWConv2D
from codeq_compile.ops.linear import Linear
from codeq_compile.ops.maxpool2d import MaxPool2D
from codeq_compile.ops.reshape import Reshape
from codeq_compile.ops.softmax import OUTPUT_GRID, Softmax
from codeq_compile.plan import Streaming, plan
from codeq_compile.target import load

FOLDER = Path(__file__).resolve().parent
TARGETS = {"linear": "microbit", "conv": "mps2_an386", "rows": "mps2_an386"}
"""Target of each model."""
STREAMED = frozenset({"rows"})
"""Models that are compiled with ``--stream auto``."""

_INPUT = Grid(scale=0.0625, zero_point=-3)
_OUTPUT = Grid(scale=0.25, zero_point=5)


def _codes(shape: tuple[int, ...], top: int, zeros: int) -> Int8Array:
    """Codes in -top..top in a fixed order; `zeros` of every ten are 0."""
    steps = np.arange(int(np.prod(shape)))
    codes = steps * 7 % (2 * top + 1) - top
    codes[steps * 3 % 10 < zeros] = 0
    return codes.reshape(shape).astype(np.int8)


def linear() -> Graph:
    """One dense 8-bit layer: the least library there is."""
    weights = Weights(codes=_codes((3, 8), 127, 0), bits=8, scale=np.array([0.0078125], np.float32))
    node = Node(
        name="classifier",
        op=Linear(),
        inputs=("features",),
        output="scores",
        weights=weights,
        bias=np.array([100, -200, 70000], np.int32),
    )
    return verify(
        Graph(
            name="linear",
            tensors={
                "features": TensorType(shape=(8,), grid=_INPUT),
                "scores": TensorType(shape=(3,), grid=_OUTPUT),
            },
            inputs=("features",),
            outputs=("scores",),
            nodes=(node,),
        )
    )


def conv() -> Graph:
    """Sparse 4-bit convolution with a gap, ternary classifier, softmax, a view, labels."""
    stem = Node(
        name="features.0",
        op=Conv2D(padding=(1, 1, 1, 1), stride=(2, 2), clamp=(5, 127), multiplier_bits=13),
        inputs=("image",),
        output="features",
        weights=Weights(
            codes=_codes((4, 3, 3, 2), 7, 6),
            bits=4,
            gap=2,
            scale=np.array([0.01, 0.02, 0.03, 0.04], np.float32),
        ),
        bias=np.array([0, 300, -300, 9], np.int32),
    )
    flatten = Node(
        name="flatten", op=Reshape(shape=(36,)), inputs=("features",), output="features.flat"
    )
    head = Node(
        name="head",
        op=Linear(),
        inputs=("features.flat",),
        output="logits",
        weights=Weights(codes=_codes((2, 36), 1, 3), bits=2, scale=np.array([0.05], np.float32)),
    )
    softmax = Node(name="softmax", op=Softmax(), inputs=("logits",), output="probabilities")
    return verify(
        Graph(
            name="conv",
            tensors={
                "image": TensorType(shape=(5, 6, 2), grid=_INPUT),
                "features": TensorType(shape=(3, 3, 4), grid=_OUTPUT),
                "features.flat": TensorType(shape=(36,), grid=_OUTPUT),
                "logits": TensorType(shape=(2,), grid=_OUTPUT),
                "probabilities": TensorType(shape=(2,), grid=OUTPUT_GRID),
            },
            inputs=("image",),
            outputs=("probabilities",),
            nodes=(stem, flatten, head, softmax),
            labels=("walk", "run"),
        )
    )


def rows() -> Graph:
    """A convolution and a depthwise one row by row, a residual sum, a pool; 8 bits."""
    scale = np.array([0.01], np.float32)
    stem = Node(
        name="stem",
        op=Conv2D(padding=(1, 1, 1, 1)),
        inputs=("image",),
        output="wide",
        weights=Weights(codes=_codes((4, 3, 3, 1), 127, 0), bits=8, scale=scale),
    )
    depthwise = Node(
        name="depthwise",
        op=DWConv2D(padding=(1, 1, 1, 1)),
        inputs=("wide",),
        output="filtered",
        weights=Weights(codes=_codes((4, 3, 3), 127, 0), bits=8, scale=scale),
    )
    add = Node(name="add", op=Add(), inputs=("wide", "filtered"), output="sum")
    pool = Node(
        name="pool", op=MaxPool2D(kernel=(4, 6), stride=(4, 6)), inputs=("sum",), output="pooled"
    )
    return verify(
        Graph(
            name="rows",
            tensors={
                "image": TensorType(shape=(16, 6, 1), grid=_INPUT),
                "wide": TensorType(shape=(16, 6, 4), grid=_OUTPUT),
                "filtered": TensorType(shape=(16, 6, 4), grid=_OUTPUT),
                "sum": TensorType(shape=(16, 6, 4), grid=_OUTPUT),
                "pooled": TensorType(shape=(4, 1, 4), grid=_OUTPUT),
            },
            inputs=("image",),
            outputs=("pooled",),
            nodes=(stem, depthwise, add, pool),
        )
    )


def generated(graph: Graph, folder: Path) -> Mapping[str, str]:
    """Text of every generated C and CMake file, by name; written below `folder` on the way."""
    target = TARGETS[graph.name]
    stream: Streaming = "auto" if graph.name in STREAMED else "off"
    options = f" --stream {stream}" if stream == "auto" else ""
    emit(
        plan(passes.run(graph), load(target), stream=stream),
        folder / graph.name,
        source=graph,
        command=f"codeq compile {graph.name}.cq --target {target}{options}",
    )
    return {
        path.name: path.read_text(encoding="ascii")
        for pattern in ("*.h", "*.c", "CMakeLists.txt")
        for path in sorted((folder / graph.name).glob(pattern))
    }
