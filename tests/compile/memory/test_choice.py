# SPDX-License-Identifier: Apache-2.0
"""Which layers become streams."""

from collections.abc import Mapping
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given

from codeq_compile import passes
from codeq_compile.ir import Graph
from codeq_compile.memory import plan_memory
from codeq_compile.memory.choice import ROWS, WORTH, choose_streams
from codeq_compile.memory.streams import Stream, schedule
from codeq_compile.ops.maxpool2d import MaxPool2D
from tests.graphs import s8
from tests.strategies import GraphBuilder, images

STREAMED = passes.flow_for(streamed=True)
SAME = MaxPool2D(kernel=(3, 3), stride=(1, 1), padding=(1, 1, 1, 1))
HALVE = MaxPool2D(kernel=(2, 2), stride=(2, 2))


def none(stream: Stream) -> Mapping[str, int]:
    """No scratch."""
    return {}


def chosen(graph: Graph) -> tuple[Stream, ...]:
    return choose_streams(graph, {}, none, 4, "arena")


def bytes_with(graph: Graph, *streams: Stream) -> int:
    return plan_memory(graph, {}, 4, "arena", streams).lower_bound


@pytest.fixture
def graph(rng: np.random.Generator) -> Graph:
    """Large images between a small input and a small output."""
    builder = GraphBuilder(rng)
    x = builder.input(s8(16, 16, 1))
    x = builder.add(MaxPool2D(kernel=(1, 1), stride=(1, 1)), x, name="first")
    for name in "ab":
        x = builder.add(SAME, x, name=name)
    for name in ("halve", "again"):
        x = builder.add(HALVE, x, name=name)
    return passes.run(builder.graph(x), STREAMED)


def test_no_other_single_stream_needs_less(graph: Graph) -> None:
    """The user asked for the smallest arena."""
    best = bytes_with(graph, *chosen(graph))

    spans = combinations(range(len(graph.nodes)), 2)
    assert min(bytes_with(graph, schedule(graph, *span, 1)) for span in spans) == best
    assert best <= WORTH * bytes_with(graph)


def test_of_equal_streams_the_one_with_fewest_calls_is_taken(graph: Graph) -> None:
    """Each call decodes its weights again."""
    (stream,) = chosen(graph)
    best = bytes_with(graph, stream)

    assert stream.rows in ROWS
    for rows in ROWS:
        other = schedule(graph, stream.first, stream.last, rows)
        assert bytes_with(graph, other) > best or len(other.calls) >= len(stream.calls)


def test_no_more_is_done_than_is_enough(graph: Graph) -> None:
    """Whoever has the RAM shall not pay for less of it."""
    least, whole = bytes_with(graph, *chosen(graph)), bytes_with(graph)
    calls = []
    for enough in range(least, whole, 16):
        streams = choose_streams(graph, {}, none, 4, "arena", enough)
        assert bytes_with(graph, *streams) <= enough
        calls.append(sum(len(stream.calls) for stream in streams))

    assert calls == sorted(calls, reverse=True)
    assert calls[-1] < calls[0]


def test_layers_stay_whole_where_little_is_saved(rng: np.random.Generator) -> None:
    """A tenth of the arena is what the instructions must be worth."""
    builder = GraphBuilder(rng)
    # the input and the output themselves are most of it
    x = builder.add(SAME, builder.input(s8(12, 4, 1)), name="a")
    graph = passes.run(builder.graph(builder.add(SAME, x, name="b")), STREAMED)

    assert () == chosen(graph)


def test_a_kernel_that_cannot_compute_rows_stays_out(graph: Graph) -> None:
    """Sparse kernels need four pixels: a stream of one row of three would have no kernel."""

    def refuses_a(stream: Stream) -> Mapping[str, int] | None:
        return None if stream.first <= 1 <= stream.last else {}

    for stream in choose_streams(graph, {}, refuses_a, 4, "arena"):
        assert not stream.holds(1)


@pytest.mark.slow
@given(images())
def test_streams_are_disjoint_and_save_what_they_are_for(graph: Graph) -> None:
    """A layer that is executed twice, or for nothing, is time lost."""
    graph = passes.run(graph, STREAMED)

    streams = chosen(graph)

    for before, after in combinations(streams, 2):
        assert before.last < after.first
    if streams:
        assert bytes_with(graph, *streams) <= WORTH * bytes_with(graph)
