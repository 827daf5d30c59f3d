# SPDX-License-Identifier: Apache-2.0
"""From when to when bytes are needed."""

import numpy as np
import pytest

from codeq_compile import passes
from codeq_compile.ir import Graph
from codeq_compile.memory.lifetimes import lifetimes
from codeq_compile.memory.sharing import roots_of
from codeq_compile.memory.streams import place_stream, schedule
from codeq_compile.ops.maxpool2d import MaxPool2D
from tests.graphs import s8
from tests.strategies import GraphBuilder

SAME = MaxPool2D(kernel=(3, 3), stride=(1, 1), padding=(1, 1, 1, 1))


@pytest.fixture
def graph(rng: np.random.Generator) -> Graph:
    """Five windows of three rows, one after the other."""
    builder = GraphBuilder(rng)
    x = builder.input(s8(8, 4, 2))
    for name in "abcde":
        x = builder.add(SAME, x, name=name)
    return passes.run(builder.graph(x))


def test_a_tensor_lives_from_its_writer_to_its_last_reader(graph: Graph) -> None:
    """Longer costs RAM, shorter damages it."""
    buffers = lifetimes(graph, {"b": 6}, roots_of(graph), (), 4, "caller")

    found = {(each.name, each.bytes, each.first, each.last) for each in buffers}
    assert {
        ("a.out", 64, 0, 1),
        ("b.out", 64, 1, 2),
        ("c.out", 64, 2, 3),
        ("d.out", 64, 3, 4),
        ("b", 8, 1, 1),
    } == found


def test_what_a_stream_touches_lives_as_long_as_it(graph: Graph) -> None:
    """Its layers take turns: an input is read, and an output written, until the end."""
    stream = schedule(graph, 1, 3, 1)
    roots = roots_of(graph, [stream])
    placed = place_stream(graph, stream, roots)

    buffers = lifetimes(graph, {"b": 6}, roots, [placed], 4, "caller")

    found = {(each.name, each.bytes, each.first, each.last) for each in buffers}
    # windows of three rows; scratch is each layer's own
    assert {
        ("a.out", 64, 0, 3),
        ("b.out", 24, 1, 3),
        ("c.out", 24, 1, 3),
        ("d.out", 64, 1, 4),
        ("b", 8, 1, 1),
    } == found
