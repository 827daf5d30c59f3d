# SPDX-License-Identifier: Apache-2.0
"""The surgery that passes share."""

import numpy as np
import pytest

from codeq_compile.ir import Graph
from codeq_compile.ops.requantize import Requantize
from codeq_compile.passes.base import fused, renamed, sole_reader
from tests.graphs import s8
from tests.strategies import GraphBuilder


@pytest.fixture
def graph(rng: np.random.Generator) -> Graph:
    """x0 → a → b, and c reads b; outputs b and c."""
    builder = GraphBuilder(rng)
    a = builder.add(Requantize(), builder.input(s8(3)), name="a")
    b = builder.add(Requantize(), a, name="b")
    return builder.graph(b, builder.add(Requantize(), b, name="c"))


def test_renaming_reaches_writers_and_readers(graph: Graph) -> None:
    """A reader of a name that nobody writes is an illegal graph."""
    result = renamed(graph, {"a.out": "b.out"})

    assert ["b.out", "b.out", "c.out"] == [node.output for node in result.nodes]
    assert ("b.out",) == result.nodes[1].inputs
    assert "a.out" not in result.tensors


def test_the_caller_counts_as_a_reader(graph: Graph) -> None:
    """Fusing a layer whose result is an output would change that output."""
    assert graph.nodes[1] is sole_reader(graph, "a.out")
    assert sole_reader(graph, "b.out") is None
    assert sole_reader(graph, "c.out") is None


def test_fusing_keeps_the_first_place(graph: Graph) -> None:
    """Execution order is the order of the nodes."""
    a, b, c = graph.nodes
    result = fused(graph, a, b, b)

    assert (b, c) == result.nodes
