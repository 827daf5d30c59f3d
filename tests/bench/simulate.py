# SPDX-License-Identifier: Apache-2.0
"""Time of the simulation beside its bare matrix products: DS-CNN, a batch of 100.

    OMP_NUM_THREADS=1 python tests/bench/simulate.py [batch]

The bare products are what no exact simulation in numpy can leave out: for each layer one product of
ready floats with ready weights, im2col patches for conv2d and linear, and for dwconv2d one small
product a channel. The patches themselves, the depthwise taps' gathering, requantization, and every
conversion count as the simulation's own work.
"""

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
from codeq_compile.ops.products import exact_dtype
from codeq_compile.simulate import simulate
from tests.graphs import (
    fitting_grid,
    lowered,
    random_bias,
    random_inputs,
    random_weights,
    s8,
)

REPETITIONS = 15


def ds_cnn(rng: np.random.Generator) -> Graph:
    """MLPerf Tiny's keyword spotter with random 8-bit weights."""
    nodes: list[Node] = []
    tensors = {"x0": s8(49, 10, 1)}

    def append(name: str, op: Conv2D | DWConv2D | Linear, shape: tuple[int, ...]) -> None:
        source = nodes[-1].output if nodes else "x0"
        weights = random_weights(rng, shape)
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
            dtype = exact_dtype(weights)
            columns = weights.reshape(len(weights), -1).T.astype(dtype)
            rows = np.ones((pixels // len(weights), len(columns)), dtype)
            return lambda: rows @ columns
        case DWConv2DParams(weights=weights):
            dtype = exact_dtype(weights)
            taps = weights.reshape(len(weights), -1, 1).astype(dtype)
            patches = np.ones((len(weights), pixels // len(weights), taps.shape[1]), dtype)
            return lambda: patches @ taps
        case _:
            return None


def best_seconds(call: Callable[[], object]) -> float:
    """The shortest of several runs, in processor time: other programs only ever add to it."""
    times = []
    for _ in range(REPETITIONS):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return min(times)


def main() -> None:
    batch = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    rng = np.random.default_rng(0)
    graph = ds_cnn(rng)
    inputs = random_inputs(rng, graph, batch)
    whole = best_seconds(lambda: simulate(graph, inputs))
    products = {
        node.op.kind: 0.0 for node in graph.nodes if bare_product(graph, node, 1) is not None
    }
    for node in graph.nodes:
        product = bare_product(graph, node, batch)
        if product is not None:
            products[node.op.kind] += best_seconds(product)
    bare = sum(products.values())
    print(f"DS-CNN, batch {batch}")
    print(f"simulation     {1e3 * whole:8.2f} ms   {1e6 * whole / batch:.0f} us a sample")
    print(f"bare products  {1e3 * bare:8.2f} ms   ", end="")
    print(", ".join(f"{kind} {1e3 * seconds:.2f}" for kind, seconds in products.items()))
    print(f"ratio          {whole / bare:8.2f}")


if __name__ == "__main__":
    main()
