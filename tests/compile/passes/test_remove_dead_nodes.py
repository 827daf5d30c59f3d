# SPDX-License-Identifier: Apache-2.0
"""Layers that nobody reads."""

import numpy as np

from codeq_compile.ops.requantize import Requantize
from codeq_compile.passes.remove_dead_nodes import remove_dead_nodes
from tests.compile.passes.equality import applied
from tests.graphs import s8
from tests.strategies import GraphBuilder


def test_a_branch_without_a_reader_leaves_with_all_its_layers(rng: np.random.Generator) -> None:
    """Training heads left in a model must not cost flash."""
    builder = GraphBuilder(rng)
    a = builder.add(Requantize(), builder.input(s8(3)), name="a")
    dead = builder.add(Requantize(), a, name="dead")
    builder.add(Requantize(), dead, name="dead_too")
    graph = applied(remove_dead_nodes, builder.graph(builder.add(Requantize(), a, name="y")))

    assert ["a", "y"] == [node.name for node in graph.nodes]
    assert {"x0", "a.out", "y.out"} == set(graph.tensors)


def test_an_output_that_is_read_by_nobody_else_stays(rng: np.random.Generator) -> None:
    """The caller is a reader."""
    builder = GraphBuilder(rng)
    builder.input(s8(3))
    a, b = (builder.add(Requantize(), "x0", name=name) for name in "ab")

    assert 2 == len(applied(remove_dead_nodes, builder.graph(a, b)).nodes)
