# SPDX-License-Identifier: Apache-2.0
"""Instructions of every kernel and of whole networks on the emulated cores, beside CMSIS-NN's.

    python tests/bench/kernels.py              # measures all, writes figures.json and the pages
    python tests/bench/kernels.py --pages      # the pages only, from the figures that are there
    python tests/bench/kernels.py --on mps2_an386 --network kws --weights dense8   # prints, no more

Networks are those of tests/networks.py (`benchmark`, which states seed, gap and distribution);
kernels run on layers of them.  One random sample each, always the same.  All of it takes a quarter
of an hour.
"""

import argparse
import os
import shlex
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

import codeq_compile
from codeq_compile.build import firmware, tools
from codeq_compile.ir import Graph, Op, TensorType, Weights, serial
from codeq_compile.ops.add import Add
from codeq_compile.ops.argmax import Argmax
from codeq_compile.ops.avgpool2d import AvgPool2D
from codeq_compile.ops.base import SPARSE
from codeq_compile.ops.concat import Concat
from codeq_compile.ops.conv2d import Conv2D
from codeq_compile.ops.dwconv2d import DWConv2D
from codeq_compile.ops.linear import Linear
from codeq_compile.ops.lut import Lut
from codeq_compile.ops.maxpool2d import MaxPool2D
from codeq_compile.ops.mean import Mean
from codeq_compile.ops.mul import Mul
from codeq_compile.ops.pad import Pad
from codeq_compile.ops.requantize import Requantize
from codeq_compile.ops.softmax import Softmax
from codeq_compile.ops.upsample2d import Upsample2D
from codeq_compile.packing import CODECS
from codeq_compile.plan import FAST
from codeq_compile.profile import Profile
from tests.bench import figures, tables
from tests.bench.figures import Figures, KernelFigure, NetworkFigure
from tests.boards import EMULATED
from tests.graphs import grid, random_bias
from tests.networks import NETWORKS, SAME, SEED, VARIANTS, benchmark, laplacian
from tests.strategies import GraphBuilder

COMPILERS = {"gcc": tools.arm_cc, "zig": tools.zig_cc}
BOTH_COMPILERS = ("microbit", "mps2_an386", "mps3_an547")
"""Boards on which both compilers are compared."""

PIXELS = (25, 5, 64)
"""Activations of the keyword spotter."""

SPARSE_ZEROS = 0.8
TERNARY_ZEROS = 0.5


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pages", action="store_true")
    parser.add_argument("--on", choices=EMULATED, action="append")
    parser.add_argument("--network", choices=NETWORKS, action="append")
    parser.add_argument("--weights", choices=VARIANTS, action="append")
    parser.add_argument("--compiler", choices=COMPILERS, default="gcc")
    arguments = parser.parse_args()
    chosen = (arguments.on, arguments.network, arguments.weights)
    if any(chosen):
        boards, networks, variants = (
            names or list(known)
            for names, known in zip(chosen, (EMULATED, NETWORKS, VARIANTS), strict=True)
        )
        with compiled_by(arguments.compiler):
            for each in network_figures(arguments.compiler, boards, networks, variants):
                print(
                    f"{each.board} {each.network} {each.variant}: {each.instructions} instructions,"
                    f" {each.code} bytes of code, {each.kernels} of them kernels,"
                    f" {each.ram} of RAM"
                )
        return
    if not arguments.pages:
        figures.write(measured())
    tables.write_pages()


def measured() -> Figures:
    """Everything, on every board."""
    networks: list[NetworkFigure] = []
    kernels: list[KernelFigure] = []
    with compiled_by("gcc"):
        networks += network_figures("gcc", EMULATED, NETWORKS, VARIANTS)
        for board in EMULATED:
            kernels += kernel_figures(board)
    with compiled_by("zig"):
        networks += network_figures("zig", BOTH_COMPILERS, NETWORKS, VARIANTS)
    emulator = tools.qemu()
    return Figures(
        compilers={name: find().version for name, find in COMPILERS.items()},
        optimization=firmware.OPTIMIZATION,
        emulator=f"{emulator.name} {emulator.version}",
        networks=tuple(networks),
        kernels=tuple(kernels),
    )


@contextmanager
def compiled_by(compiler: str) -> Iterator[None]:
    """Firmware is built by this compiler, whatever else is installed."""
    command = shlex.join(COMPILERS[compiler]().command)
    with mock.patch.dict(os.environ, {"CODEQ_ARM_CC": command}):
        yield


def network_figures(
    compiler: str, boards: Sequence[str], networks: Sequence[str], variants: Sequence[str]
) -> Iterator[NetworkFigure]:
    """One after the other, as they are measured."""
    for board in boards:
        for network in networks:
            for variant in variants:
                yield network_figure(compiler, board, network, variant)


def network_figure(compiler: str, board: str, network: str, variant: str) -> NetworkFigure:
    """A network, compiled for a board as a user would, and run on it once."""
    graph = benchmark(network, variant)
    with profiled(graph, board, packing=FAST) as (compiled, profile):
        flash, ram = compiled.report.flash, compiled.report.ram
        assert flash.code is not None
        assert flash.kernels is not None
        assert flash.total is not None
        cycles = profile.total.estimate
        return NetworkFigure(
            board=board,
            compiler=compiler,
            network=network,
            variant=variant,
            model=serial.digest(graph),
            instructions=profile.total.instructions,
            cycles=(cycles.low, cycles.likely, cycles.high),
            kernels=flash.kernels,
            code=flash.code,
            flash=flash.total,
            ram=ram.total,
            layers={layer.name: layer.part.instructions for layer in profile.layers},
        )


def kernel_figures(board: str) -> Iterator[KernelFigure]:
    """Every kernel that serves a layer of `layers` on this board."""
    for packing in CODECS:
        graph = layers(packing)
        nodes = {node.name: node for node in graph.nodes}
        with profiled(graph, board, packing=packing) as (_, profile):
            for layer in profile.layers:
                node = nodes[layer.name]
                yield KernelFigure(
                    board=board,
                    kernel=layer.kernel,
                    layer=layer.name.partition(" ")[0],
                    packing=packing if node.weights else None,
                    bits=node.weights.bits if node.weights else None,
                    macs=layer.macs or graph.tensors[node.inputs[0]].elements,
                    instructions=layer.part.instructions,
                )


@contextmanager
def profiled(
    graph: Graph, board: str, **options: Any
) -> Iterator[tuple[codeq_compile.Compiled, Profile]]:
    """A graph, compiled with these options of `codeq_compile.compile`, and run once."""
    with tempfile.TemporaryDirectory(prefix="codeq-") as name:
        folder = Path(name) / graph.name
        compiled = codeq_compile.compile(graph, folder, target=board, **options)
        profile = codeq_compile.profile(folder, samples=1)
        assert isinstance(profile, Profile)
        yield compiled, profile


class _Bench(GraphBuilder):
    """Layers side by side: each reads an input of the graph, and is an output of it."""

    def __init__(self, packing: str) -> None:
        super().__init__(np.random.default_rng([SEED, *packing.encode()]), f"kernels_{packing}")
        self._packing = packing

    def weighted(
        self,
        op: Op[Any],
        x: str,
        shape: tuple[int, ...],
        label: str,
        widths: Iterable[int] = range(1, 9),
    ) -> None:
        """The op at those of the widths that the packing holds."""
        if self._packing not in op.packings:
            return
        for bits in {2}.intersection(widths) if self._packing == "ternary" else widths:
            weights = self._weights(shape, bits)
            if CODECS[self._packing].applies(weights):
                bias = random_bias(self.rng, weights)
                self.add(op, x, weights=weights, bias=bias, name=f"{label} {bits} bits")

    def _weights(self, shape: tuple[int, ...], bits: int) -> Weights:
        if self._packing == "ternary":
            return laplacian(self.rng, shape, bits=bits, zeros=TERNARY_ZEROS)
        zeros = SPARSE_ZEROS if self._packing in SPARSE else 0.0
        if bits > 1:
            return laplacian(self.rng, shape, bits=bits, zeros=zeros)
        # one bit has no grid: a table of two levels, one of them 0 where there are zeros
        codes = (self.rng.random(shape) >= (zeros or 0.5)).astype(np.int8)
        scale = np.full(shape[0], 0.02, np.float32)
        return Weights(codes=codes, bits=1, scale=scale, levels=(0, 3) if zeros else (-2, 3))


def layers(packing: str) -> Graph:
    """Layers of MLPerf Tiny's networks at every width that a packing holds; with `dense`, the ops
    that have no weights as well.
    """
    net = _Bench(packing)
    kind = grid(0.05, -128)
    pixels = net.input(TensorType(shape=PIXELS, grid=kind))
    picture = net.input(TensorType(shape=(16, 16, 16), grid=kind))
    features = net.input(TensorType(shape=(128,), grid=kind))
    net.weighted(Conv2D(padding=SAME, clamp=(5, 127)), picture, (16, 3, 3, 16), "conv3x3")
    net.weighted(Conv2D(clamp=(5, 127)), pixels, (64, 1, 1, 64), "conv1x1")
    net.weighted(DWConv2D(padding=SAME, clamp=(5, 127)), pixels, (64, 3, 3), "depthwise3x3")
    net.weighted(Linear(clamp=(5, 127)), features, (128, 128), "linear")
    time = DWConv2D(padding=(4, 4, 0, 0), clamp=(5, 127))
    net.weighted(time, pixels, (64, 9, 1), "depthwise9x1")
    if packing in DWConv2D.packings:
        _first_layers(net)
    if packing == "dense":
        _unweighted(net, pixels, features)
    return net.graph()


def _first_layers(net: _Bench) -> None:
    """Of few channels; dense at 8 bits in all our networks."""
    photo = net.input(TensorType(shape=(32, 32, 3), grid=grid(1.0, -128)))
    mfcc = net.input(TensorType(shape=(49, 10, 1), grid=grid(0.58, 83)))
    stem = Conv2D(stride=(2, 2), padding=(4, 5, 1, 1), clamp=(5, 127))
    net.weighted(Conv2D(padding=SAME, clamp=(5, 127)), photo, (16, 3, 3, 3), "first3x3")
    net.weighted(stem, mfcc, (64, 10, 4, 1), "first10x4", [8])


def _unweighted(net: GraphBuilder, pixels: str, features: str) -> None:
    other = net.input(TensorType(shape=PIXELS, grid=grid(0.04, -20)))
    table = net.rng.integers(-128, 128, 256).astype(np.int8)
    output = grid(0.07, -10)
    pool = {"kernel": (2, 2), "stride": (2, 2)}
    add = net.add
    add(Add(), pixels, other, output=output, name="add")
    add(Mul(), pixels, other, output=output, name="mul")
    add(AvgPool2D(kernel=(25, 5), stride=(25, 5)), pixels, name="avgpool25x5")
    add(MaxPool2D(**pool), pixels, name="maxpool2x2")
    add(Mean(), pixels, output=output, name="mean")
    add(Upsample2D(factor=(2, 2)), pixels, name="upsample2x2")
    add(Pad(before=(1, 1, 0), after=(1, 1, 0)), pixels, name="pad")
    add(Concat(), pixels, pixels, name="concat")
    add(Requantize(), pixels, output=output, name="requantize")
    add(Lut(), pixels, table=table, name="lut")
    add(Softmax(), features, name="softmax")
    add(Argmax(), features, name="argmax")


if __name__ == "__main__":
    main()
