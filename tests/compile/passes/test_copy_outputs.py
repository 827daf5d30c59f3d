# SPDX-License-Identifier: Apache-2.0
"""Outputs that are views of what the caller has already."""

import numpy as np
import pytest

from codeq_compile.memory import plan_memory
from codeq_compile.ops.maxpool2d import MaxPool2D
from codeq_compile.ops.reshape import Reshape
from codeq_compile.passes.copy_outputs import copy_outputs
from tests.compile.passes.equality import applied, kinds
from tests.graphs import s8
from tests.strategies import GraphBuilder

POOL = MaxPool2D(kernel=(1, 1), stride=(1, 1))
FLAT = Reshape(shape=(8,))


@pytest.fixture
def builder(rng: np.random.Generator) -> GraphBuilder:
    """An input of 2 x 2 x 2 and a layer `p.out` of its size."""
    builder = GraphBuilder(rng)
    builder.add(POOL, builder.input(s8(2, 2, 2)), name="p")
    return builder


def test_a_view_of_an_input_is_copied(builder: GraphBuilder) -> None:
    """The output buffer would stay as it was: nothing writes it."""
    graph = applied(copy_outputs, builder.graph("p.out", builder.add(FLAT, "x0", name="v")))

    assert ["maxpool2d", "reshape", "requantize"] == kinds(graph)
    assert ("v.copy", "v.out") == (graph.nodes[2].name, graph.nodes[2].output)
    plan_memory(graph, {})


def test_a_view_that_changes_nothing_becomes_the_copy(builder: GraphBuilder) -> None:
    """A model that returns its input costs one call, not a view and a call."""
    view = builder.add(Reshape(shape=(2, 2, 2)), "x0", name="v")
    graph = applied(copy_outputs, builder.graph("p.out", view))

    assert ["p", "v"] == [node.name for node in graph.nodes]
    assert ["maxpool2d", "requantize"] == kinds(graph)


def test_a_view_of_another_output_is_copied(builder: GraphBuilder) -> None:
    """Features and flattened features, both returned."""
    view = builder.add(FLAT, "p.out", name="v")
    again = builder.add(Reshape(shape=(2, 4)), view, name="w")
    graph = applied(copy_outputs, builder.graph(again, "p.out", view))

    assert ["v.copy", "w.copy"] == [n.name for n in graph.nodes if n.op.kind == "requantize"]
    plan_memory(graph, {})


def test_a_view_of_a_layer_stays_a_view(builder: GraphBuilder) -> None:
    """A flatten at the end of a model costs nothing: the layer before it writes the output."""
    graph = applied(copy_outputs, builder.graph(builder.add(FLAT, "p.out")))

    assert ["maxpool2d", "reshape"] == kinds(graph)
    assert 0 == plan_memory(graph, {}).arena_bytes


def test_new_names_do_not_collide(builder: GraphBuilder) -> None:
    """A model may call its layers as it likes."""
    builder.add(FLAT, "x0", name="v")
    builder.add(POOL, "x0", name="v.copy")
    graph = copy_outputs(builder.graph("p.out", "v.out", "v.copy.out"))

    assert ["p", "v", "v.copy_", "v.copy"] == [node.name for node in graph.nodes]
