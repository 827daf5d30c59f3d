# SPDX-License-Identifier: Apache-2.0
"""How else layers could be executed."""

import numpy as np

from codeq_compile import passes
from codeq_compile.ir import Graph
from codeq_compile.memory.streams import schedule
from codeq_compile.ops.conv2d import Conv2D
from codeq_compile.plan import plan
from codeq_compile.plan.ram import scratch_in
from codeq_compile.plan.ways import Needed, every_way, replan
from tests.compile.plan.plans import M4
from tests.graphs import random_weights, s8
from tests.strategies import GraphBuilder


def test_a_kernel_that_needs_more_pixels_than_a_band_has_refuses(
    rng: np.random.Generator,
) -> None:
    """Sparse convolutions need four pixels: with three a row only two rows will do."""
    builder = GraphBuilder(rng)
    x = builder.input(s8(8, 3, 2))
    for name in "ab":
        weights = random_weights(rng, (3, 1, 1, builder.tensors[x].shape[2]), bits=4, zeros=0.5)
        x = builder.add(Conv2D(), x, weights=weights, name=name)
    result = plan(passes.run(builder.graph(x)), M4, packing="bitmask", ram=1 << 20)
    assert all(layer.kernel.family == "conv2d_sparse" for layer in result.layers)

    assert scratch_in(result, schedule(result.graph, 0, 1, 1)) is None
    assert scratch_in(result, schedule(result.graph, 0, 1, 2)) is not None


def test_what_is_needed_by_a_way_is_what_is_alive_with_it(graph: Graph) -> None:
    """Otherwise a budget would be refused that a way keeps, or a way taken that breaks it."""
    result = plan(graph, M4)
    needed = Needed(result)

    assert max(map(needed, result.layers)) == result.memory.lower_bound
    for layer in result.layers:
        node = next(each for each in graph.nodes if each.name == layer.node.name)
        for way in every_way(node, result, layer):
            others = (way if e.index == way.index else e for e in result.layers)
            alive = replan(result, others).memory
            assert needed(way) <= alive.lower_bound
            if graph.nodes[alive.peak].name == way.node.name:
                assert needed(way) == alive.lower_bound


def test_ways_have_every_packing_and_kernel_that_computes_the_layer(graph: Graph) -> None:
    """Among them the way that a plan has; prefix codes only where they were asked for."""
    result = plan(graph, M4)
    nodes = {node.name: node for node in graph.nodes}
    for layer in result.layers:
        ways = list(every_way(nodes[layer.node.name], result, layer))
        packings = {way.packed.packing for way in ways if way.packed}

        assert layer.kernel in {way.kernel for way in ways}
        assert packings == set(layer.costs)
        assert {way.kernel.isa for way in ways} >= {layer.kernel.isa, "ref"}
