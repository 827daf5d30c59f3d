# SPDX-License-Identifier: Apache-2.0
"""Packings and kernels of the whole network, its code included."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeq_compile import footprint, load, passes, target
from codeq_compile.ir import Graph
from codeq_compile.memory import Io
from codeq_compile.ops.conv2d import Conv2D
from codeq_compile.ops.linear import Linear
from codeq_compile.ops.reshape import Reshape
from codeq_compile.plan import Layer, plan
from codeq_compile.plan.ways import Needed, every_way
from tests.compile.plan.plans import HOST, M4, M55, alone
from tests.graphs import random_weights, s8
from tests.networks import benchmark
from tests.strategies import GraphBuilder, graphs

KWS = Path(__file__).parents[2] / "golden/models/kws.cq"
PLAIN = {"dense", "ternary"}


@pytest.mark.parametrize("board", ["microbit", "mps2_an385", "mps2_an386", "mps3_an547"])
def test_a_kernel_of_one_layer_must_save_its_code(rng: np.random.Generator, board: str) -> None:
    """Less flash, no more instructions and RAM than where each layer is packed for itself."""
    builder = GraphBuilder(rng)
    x = builder.input(s8(1, 64, 6))
    for name, inputs, outputs, zeros in [
        ("a", 6, 24, 0.0),
        ("b", 24, 32, 0.55),
        ("c", 32, 40, 0.65),
    ]:
        layer = random_weights(rng, (outputs, 1, 5, inputs), bits=4, zeros=zeros)
        x = builder.add(Conv2D(stride=(1, 2)), x, weights=layer, name=name)
    x = builder.add(Reshape(shape=(40 * 5,)), x)
    x = builder.add(Linear(), x, weights=random_weights(rng, (7, 200), bits=5), name="few")
    graph, there = passes.run(builder.graph(x), "literal"), target.load(board)

    before, after = alone(graph, there), plan(graph, there)
    old, new = before.total, after.total
    assert old is not None
    assert new is not None

    assert after.weighed is not None
    assert new.flash < 0.9 * old.flash
    assert new.instructions <= old.instructions
    assert after.ram_bytes <= before.ram_bytes


def test_weights_stay_within_their_limit_where_code_would_be_shorter() -> None:
    """Dense weights need the least code; a limit on weights says that they are what matters."""
    graph = passes.run(benchmark("kws", "sparse4"))
    short = alone(graph, M55).total
    assert short is not None

    free, limited = plan(graph, M55).total, plan(graph, M55, weights=short.data).total

    assert free is not None
    assert limited is not None
    assert free.data > short.data
    assert limited.data <= short.data
    assert free.flash <= limited.flash <= short.flash


def test_where_code_is_not_known_each_layer_is_packed_for_itself(graph: Graph) -> None:
    """The host has no table."""
    assert [layer.kernel for layer in alone(graph, HOST).layers] == [
        layer.kernel for layer in plan(graph, HOST).layers
    ]
    assert plan(graph, HOST).weighed is None


@pytest.mark.parametrize("packing", ["fast", "small", "dense"])
def test_code_is_weighed_for_auto_alone(graph: Graph, packing: str) -> None:
    """Who asks for something else gets it."""
    assert plan(graph, M4, packing).weighed is None


@pytest.mark.parametrize("board", ["microbit", "mps2_an386", "mps3_an547"])
@given(graph=graphs(), io=st.sampled_from(["caller", "arena"]), data=st.data())
def test_the_network_is_never_worse_for_weighing_code(
    board: str, graph: Graph, io: Io, data: st.DataObject
) -> None:
    """Flash, instructions and RAM; whole or in rows, and with RAM that is said to be enough."""
    lowered, there = passes.run(graph), target.load(board)
    ask: dict[str, Any] = {"io": io, "stream": data.draw(st.sampled_from(["off", "auto"]))}
    free = alone(lowered, there, **ask)
    ram = data.draw(st.none() | st.integers(free.ram_bytes // 2, 2 * free.ram_bytes))
    before, after = (decide(lowered, there, **ask, ram=ram) for decide in (alone, plan))
    old, new = before.total, after.total

    assert (old is None) == (new is None) == (after.weighed is None)
    if old is not None and new is not None:
        assert new.flash <= old.flash
        assert new.instructions <= old.instructions
    assert after.ram_bytes <= max(before.ram_bytes, ram or 0)


@pytest.mark.parametrize("board", ["microbit", "mps2_an386"])
def test_more_flash_makes_a_network_no_slower(board: str) -> None:
    """A limit is what may be used: within it time counts, and without one the two together."""
    graph, there = passes.run(load(KWS)), target.load(board)
    usual, least = plan(graph, there).total, plan(graph, there, flash=0).total
    assert usual is not None
    assert least is not None

    limits = [*range(least.flash, usual.flash, 500), *range(usual.flash, 2 * usual.flash, 2000)]
    totals = [plan(graph, there, flash=limit).total for limit in limits]
    within = [total for total in totals if total is not None]
    counts = [total.instructions for total in within]

    assert all(own.flash <= limit for own, limit in zip(within, limits, strict=True))
    assert all(own.flash >= least.flash for own in within)
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] < usual.instructions < counts[0]
    for own, limit in zip(within, limits, strict=True):
        assert own.instructions <= usual.instructions or usual.flash > limit


def test_the_least_flash_needs_no_step_through_more() -> None:
    """Ternary and dense weights instead of runs: three kinds change, and two of them are longer."""
    graph, there = passes.run(load(KWS)), target.load("microbit")
    result = plan(graph, there, flash=0)
    nodes, needed = {node.name: node for node in graph.nodes}, Needed(result)

    def portable(layer: Layer) -> Layer:
        ways = every_way(nodes[layer.node.name], result, layer)
        fitting = [way for way in ways if needed(way) <= result.arena_bytes]
        plain = [way for way in fitting if not way.packed or way.packed.packing in PLAIN]
        return min(plain, key=lambda way: (way.kernel.isa != "ref", way.data_bytes))

    others = list(map(portable, result.layers))
    code = footprint.predict((way.kernel for way in others), there.core)

    assert result.total is not None
    assert code is not None
    assert result.total.flash <= sum(way.data_bytes for way in others) + code


def test_with_flash_enough_each_layer_goes_its_fastest_way() -> None:
    """What is not there for code that is shared must not be saved."""
    graph = passes.run(benchmark("kws", "sparse4"))
    result = plan(graph, M4, flash=1 << 40)
    nodes, needed = {node.name: node for node in graph.nodes}, Needed(result)

    def least(layer: Layer) -> int:
        ways = every_way(nodes[layer.node.name], result, layer)
        prices = (result.price(way) for way in ways if needed(way) <= result.arena_bytes)
        return min(price.instructions for price in prices if price is not None)

    assert result.instructions is not None
    assert result.instructions <= sum(map(least, result.layers))
