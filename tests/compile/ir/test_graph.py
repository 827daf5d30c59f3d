# SPDX-License-Identifier: Apache-2.0
"""Questions to a graph."""

import dataclasses

import numpy as np
import pytest

from codeq_compile.ir import Graph, verify
from codeq_compile.ops.mul import Mul
from codeq_compile.ops.requantize import Requantize
from codeq_compile.passes.lower import lower
from tests.graphs import s8
from tests.strategies import GraphBuilder


@pytest.fixture
def graph(rng: np.random.Generator) -> Graph:
    """x0 → a → b, and c reads a."""
    builder = GraphBuilder(rng)
    a = builder.add(Requantize(), builder.input(s8(3)), name="a")
    return builder.graph(*(builder.add(Requantize(), a, name=name) for name in "bc"))


def test_producers_and_consumers_are_found(graph: Graph) -> None:
    """Passes walk the graph with these two."""
    a, b, c = graph.nodes

    assert (a, None) == (graph.producer("a.out"), graph.producer("x0"))
    assert [b, c] == list(graph.consumers("a.out"))
    assert [] == list(graph.consumers("c.out"))


def test_tensors_that_nothing_touches_are_dropped(graph: Graph) -> None:
    """Else every pass would leave its litter in the model file."""
    a, b, c = graph.nodes
    smaller = dataclasses.replace(graph, outputs=("b.out",)).with_nodes((a, b))

    assert {"x0", "a.out", "b.out"} == set(smaller.tensors)
    assert c in graph.nodes


def test_a_graph_cannot_be_changed_in_place(graph: Graph) -> None:
    """Two users of one graph would see each other's changes."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        graph.nodes = ()
    with pytest.raises(dataclasses.FrozenInstanceError):
        graph.nodes[0].name = "other"


def test_a_graph_is_lowered_when_all_nodes_are(graph: Graph) -> None:
    """`simulate` and `plan` refuse any other."""
    lowered = lower(graph)

    assert (False, True) == (graph.is_lowered, lowered.is_lowered)
    assert not graph.with_nodes((lowered.nodes[0], *graph.nodes[1:])).is_lowered


def test_names_go_with_their_tensors() -> None:
    """A table that keeps the old name is lost, and so is the order of an image's axes."""
    builder = GraphBuilder(np.random.default_rng(0))
    product = builder.add(Mul(), builder.input(s8(4)), builder.constant(s8(4)))
    before = builder.graph(product)
    facts = {"axes of x0": "1 2 0", "trainer": "axes of x0"}

    after = dataclasses.replace(before, provenance=facts).renamed({"x0": "image", "c0": "gains"})

    assert (("image",), (product,)) == (after.inputs, after.outputs)
    assert ("image", "gains") == after.nodes[0].inputs
    np.testing.assert_array_equal(before.constants["c0"], after.constants["gains"])
    assert {"axes of image": "1 2 0", "trainer": "axes of x0"} == after.provenance
    assert before.tensors["x0"] == verify(after).tensors["image"]
