# SPDX-License-Identifier: Apache-2.0
"""Time of the simulation beside its bare matrix products: DS-CNN, a batch of 100.

    OMP_NUM_THREADS=1 python tests/bench/simulate.py [batch]

The bare products are what no exact simulation in numpy can leave out: for each layer one product of
ready floats with ready weights, im2col patches for conv2d and linear, and for dwconv2d one small
product a channel. The patches themselves, the depthwise taps' gathering, requantization, and every
conversion count as the simulation's own work.
"""

import math
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from codeq_compile.ir import Graph, Node, verify
from codeq_compile.ir.op import Array
from codeq_compile.ops.conv2d import Conv2D, Conv2DParams
from codeq_compile.ops.dwconv2d import DWConv2D, DWConv2DParams
from codeq_compile.ops.linear import Linear, LinearParams
from codeq_compile.ops.mean import Mean
from codeq_compile.ops.products import blas_dtype
from codeq_compile.simulate import simulate
from tests.graphs import (
    fitting_grid,
    lowered,
    random_bias,
    random_inputs,
    random_weights,
    s8,
)

REPETITIONS = 25


def ds_cnn(rng: np.random.Generator, bits: int) -> Graph:
    """MLPerf Tiny's keyword spotter with random weights of one width."""
    nodes: list[Node] = []
    tensors = {"x0": s8(49, 10, 1)}

    def append(name: str, op: Conv2D | DWConv2D | Linear, shape: tuple[int, ...]) -> None:
        source = nodes[-1].output if nodes else "x0"
        weights = random_weights(rng, shape, bits=bits)
        node = Node(
            name=name,
            op=op,
            inputs=(source,),
            output=f"{name}.out",
            weights=weights,
            bias=random_bias(rng, weights),
        )
        kind = op.infer(node, (tensors[source],))
        grid = fitting_grid(tensors[source], weights, zero_point=op.clamp[0])
        tensors[node.output] = type(kind)(shape=kind.shape, grid=grid)
        nodes.append(node)

    append("conv", Conv2D(stride=(2, 2), padding=(4, 5, 1, 1)), (64, 10, 4, 1))
    for i in range(4):
        append(f"dw{i}", DWConv2D(padding=(1, 1, 1, 1)), (64, 3, 3))
        append(f"pw{i}", Conv2D(), (64, 1, 1, 64))
    tensors["mean"] = s8(64, scale=tensors["pw3.out"].scale / 4)
    nodes.append(Node(name="mean", op=Mean(keep_dims=False), inputs=("pw3.out",), output="mean"))
    append("fc", Linear(), (12, 64))
    return lowered(
        verify(
            Graph(
                name="ds_cnn",
                tensors=tensors,
                inputs=("x0",),
                outputs=("fc.out",),
                nodes=tuple(nodes),
            )
        )
    )


def bare_product(graph: Graph, node: Node, batch: int) -> Callable[[], Array] | None:
    """The layer's matrix product alone, on ready operands; None where it has none."""
    pixels = batch * graph.output_type(node).elements
    match node.params:
        case Conv2DParams(weights=weights) | LinearParams(weights=weights):
            dtype = blas_dtype(weights)
            columns = weights.reshape(len(weights), -1).T.astype(dtype)
            rows = np.ones((pixels // len(weights), len(columns)), dtype)
            return lambda: rows @ columns
        case DWConv2DParams(weights=weights):
            dtype = blas_dtype(weights)
            taps = weights.reshape(len(weights), -1, 1).astype(dtype)
            patches = np.ones((len(weights), pixels // len(weights), taps.shape[1]), dtype)
            return lambda: patches @ taps
        case _:
            return None


def seconds(call: Callable[[], object]) -> float:
    """Processor time of one call."""
    start = time.process_time()
    call()
    return time.process_time() - start


def measure(bits: int, batch: int) -> None:
    """Print the ratio for one weight width; the best of interleaved runs, as noise only adds."""
    rng = np.random.default_rng(0)
    graph = ds_cnn(rng, bits)
    inputs = random_inputs(rng, graph, batch)
    products = {node.name: bare_product(graph, node, batch) for node in graph.nodes}
    best = {"simulation": math.inf} | {name: math.inf for name, call in products.items() if call}
    for _ in range(REPETITIONS):
        best["simulation"] = min(best["simulation"], seconds(lambda: simulate(graph, inputs)))
        for name, call in products.items():
            if call is not None:
                best[name] = min(best[name], seconds(call))
    whole = best.pop("simulation")
    bare = sum(best.values())
    print(
        f"DS-CNN, {bits}-bit weights, batch {batch}: simulation {1e3 * whole:.1f} ms, "
        f"bare products {1e3 * bare:.1f} ms, ratio {whole / bare:.2f}"
    )


if __name__ == "__main__":
    for width in (8, 4):
        measure(width, int(sys.argv[1]) if len(sys.argv) > 1 else 100)
