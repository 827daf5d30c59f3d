# SPDX-License-Identifier: Apache-2.0
"""What follows from a layer's kernel and packing."""

import numpy as np

from codeq_compile import passes
from codeq_compile.ir import Graph, Weights
from codeq_compile.ops.linear import Linear
from codeq_compile.plan import plan
from tests.compile.plan.plans import HOST, M4, alone, by_name
from tests.graphs import one_op_graph, s8


def test_macs_are_counted_with_and_without_zeros(graph: Graph) -> None:
    """Counted weight by weight: what the banner claims is what the kernel does."""
    layers = by_name(plan(graph, HOST))
    conv, pw = layers["conv"], layers["pw"]
    weights = conv.node.weights
    assert weights is not None

    assert 3 * 3 * 16 * 27 == conv.macs
    assert 3 * 3 * int(np.count_nonzero(weights.values)) == conv.macs_done
    assert 16 * 16 == pw.macs == pw.macs_done  # a ternary stream is dense: zeros are multiplied


def test_bytes_of_the_chosen_packing_are_those_of_the_chosen_form(rng: np.random.Generator) -> None:
    """Weights that stay bytes for their kernel's sake are longer than dense ones of five bits."""
    codes = rng.integers(-15, 16, (40, 40)).astype(np.int8)
    codes[0, 0] = 15
    weights = Weights(codes=codes, bits=8, scale=np.full(1, 0.01, np.float32))
    graph = passes.run(one_op_graph(Linear(), [s8(40)], weights=weights), "literal")
    (short,), (layer,) = alone(graph, M4).layers, plan(graph, M4).layers
    assert short.packed is not None
    assert layer.packed is not None

    assert short.packed.bytes < layer.packed.bytes == layer.costs["dense"]
