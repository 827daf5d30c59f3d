# SPDX-License-Identifier: Apache-2.0
"""Graphs that make the emitter sweat, and what tests do with an emitted library."""

import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from codeq_compile import manifest
from codeq_compile.build.host import STRICT_FLAGS
from codeq_compile.build.tools import Tool
from codeq_compile.emit import emit
from codeq_compile.ir import Graph, TensorType, verify
from codeq_compile.manifest import Manifest
from codeq_compile.memory import Io
from codeq_compile.ops.add import Add
from codeq_compile.ops.argmax import Argmax
from codeq_compile.ops.concat import Concat
from codeq_compile.ops.conv2d import Conv2D
from codeq_compile.ops.dwconv2d import DWConv2D
from codeq_compile.ops.linear import Linear
from codeq_compile.ops.lut import Lut
from codeq_compile.ops.maxpool2d import MaxPool2D
from codeq_compile.ops.reshape import Reshape
from codeq_compile.ops.softmax import Softmax
from codeq_compile.passes import flow_for
from codeq_compile.passes import run as lower
from codeq_compile.plan import Plan, Streaming, plan
from codeq_compile.target import load as load_target
from tests.graphs import grid, random_bias, random_weights
from tests.strategies import GraphBuilder

HOSTILE_NAMES = {
    "x0": "register",
    "x1": "*/ int arena; /* ??/",
    "argmax.out": "naïve class",
    "softmax.out": "t01",
}
HOSTILE_LABELS = ('"down"\\', "??/", "語", "*/", "line\\nbreak", "%s" * 60)


def small_conv(name: str = "small", seed: int = 0) -> Graph:
    """A convolution of sparse 4-bit weights and a classifier, with labels."""
    net = GraphBuilder(np.random.default_rng(seed), name)
    x = net.input(TensorType(shape=(6, 5, 3), grid=grid(0.02, 4)))
    weights = random_weights(net.rng, (4, 3, 3, 3), bits=4, gap=2, zeros=0.6)
    bias = random_bias(net.rng, weights)
    x = net.add(Conv2D(padding=(1, 1, 1, 1)), x, weights=weights, bias=bias, name="stem")
    x = net.add(Reshape(shape=(120,)), x, name="flatten")
    x = net.add(Linear(), x, weights=random_weights(net.rng, (3, 120), bits=2), name="head")
    return replace(net.graph(x), labels=("ja", "nein", "vielleicht"))


def hostile(seed: int = 0) -> Graph:
    """Two inputs, outputs of two types, every sort of call; names that mean harm to C."""
    net = GraphBuilder(np.random.default_rng(seed), "hostile")
    image = TensorType(shape=(4, 4, 2), grid=grid(0.05, -3))
    a, b = net.input(image), net.input(image)
    weights = random_weights(net.rng, (2, 1, 1, 2), bits=3, levels=(-7, 0, 5))
    c = net.add(Conv2D(), a, weights=weights, output=image.grid, name="??/ a very */ long " * 9)
    d = net.add(Concat(), c, b, output=image.grid, name="int")
    table = net.rng.integers(-128, 128, 256).astype(np.int8)
    e = net.add(Lut(), d, table=table, name="/* \\n *")
    f = net.add(Add(), e, d, name="\\")
    scores = net.add(Softmax(), f, name="softmax")
    best = net.add(Argmax(), scores, name="argmax")
    return replace(renamed(net.graph(best, scores), HOSTILE_NAMES), labels=HOSTILE_LABELS)


def renamed(graph: Graph, names: dict[str, str]) -> Graph:
    """The graph with other names for its tensors, inputs and outputs included."""
    return verify(graph.renamed(names))


def rows(seed: int = 0) -> Graph:
    """A large image behind a small one, a residual branch, a pool; rows of odd sizes."""
    net = GraphBuilder(np.random.default_rng(seed), "rows")
    x = net.input(TensorType(shape=(17, 9, 1), grid=grid(0.02, 4)))
    weights = random_weights(net.rng, (5, 3, 3, 1), bits=4, zeros=0.5)
    x = net.add(Conv2D(padding=(1, 1, 1, 1)), x, weights=weights, name="stem")
    weights = random_weights(net.rng, (5, 3, 3), bits=8)
    y = net.add(DWConv2D(padding=(1, 1, 1, 1)), x, weights=weights, name="depthwise")
    x = net.add(Add(), x, y, output=grid(0.5, 0), name="sum")
    x = net.add(MaxPool2D(kernel=(3, 3), stride=(3, 3), padding=(1, 0, 0, 0)), x, name="pool")
    return net.graph(x)


def planned(
    graph: Graph,
    target: str = "host",
    io: Io = "caller",
    stream: Streaming = "off",
    flow: str | None = None,
) -> Plan:
    """The plan of a quantized graph, lowered as `codeq compile` would or by another flow."""
    lowered = lower(graph, flow or flow_for(streamed=stream != "off"))
    return plan(lowered, load_target(target), io=io, stream=stream)


def emitted(
    graph: Graph,
    directory: Path,
    target: str = "host",
    io: Io = "caller",
    stream: Streaming = "off",
) -> Manifest:
    """Emit a library as `codeq compile` would."""
    return emit(
        planned(graph, target, io, stream),
        directory,
        source=graph,
        command=f"codeq compile {graph.name}.cq --target {target}",
        flow=flow_for(streamed=stream != "off"),
    )


def c_files(directory: Path) -> list[Path]:
    """What was generated, without the runtime."""
    return sorted([*directory.glob("*.c"), *directory.glob("*.h")])


def build_program(
    compiler: Tool, main: Path, directories: Sequence[Path], program: Path, *flags: str
) -> None:
    """Compile a program with libraries and their self-tests, warnings being errors.

    The runtime's files that several libraries brought are compiled once.
    """
    sources: dict[str, Path] = {}
    includes = []
    for directory in directories:
        library = manifest.read(directory)
        names = (*library.sources, f"{library.name}_selftest.c")
        sources.update({name: directory / name for name in names})
        includes += [f"-I{directory / folder}" for folder in library.include]
    command = [*compiler.command, "-std=c99", "-O1", *STRICT_FLAGS, *flags, *includes]
    subprocess.run(
        [*command, str(main), *map(str, sources.values()), "-o", str(program)], check=True
    )
