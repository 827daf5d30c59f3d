# SPDX-License-Identifier: Apache-2.0
"""Which rows are computed when, and how many of them a window holds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeq_compile import passes
from codeq_compile.arrays import random_inputs
from codeq_compile.ir import Graph
from codeq_compile.memory.sharing import roots_of
from codeq_compile.memory.streams import (
    Call,
    banded,
    place_stream,
    row_bytes,
    schedule,
    still_read,
)
from codeq_compile.ops.add import Add
from codeq_compile.ops.maxpool2d import MaxPool2D
from codeq_compile.simulate import simulate, trace
from tests.graphs import s8
from tests.strategies import GraphBuilder, images, streams

STREAMED = passes.flow_for(streamed=True)
SAME = MaxPool2D(kernel=(3, 3), stride=(1, 1), padding=(1, 1, 1, 1))


@pytest.fixture
def chain(rng: np.random.Generator) -> Graph:
    """Three windows of three rows, one after the other, over an image of eight."""
    builder = GraphBuilder(rng)
    x = builder.input(s8(8, 4, 2))
    for name in "abc":
        x = builder.add(SAME, x, name=name)
    return builder.graph(x)


@pytest.mark.slow
@given(images(), st.data())
def test_rows_alone_are_the_same_rows_of_the_whole(graph: Graph, data: st.DataObject) -> None:
    """All of it rests on this: the padding that is left, the rows that a window meets."""
    graph = passes.run(graph, STREAMED)
    node = data.draw(st.sampled_from(graph.nodes))
    height = graph.output_type(node).shape[0]
    first = data.draw(st.integers(0, height - 1))
    end = data.draw(st.integers(first + 1, height))
    inputs = random_inputs(graph, 2, 0)
    tensors = {**inputs, **trace(graph, inputs)}

    part = banded(graph, node, (first, end))

    assert part is not None
    read = [
        tensors[name][:, low:high]
        for name, (low, high) in zip(node.inputs, part.reads, strict=True)
    ]
    assert [x.shape[1:] for x in read] == [x.shape for x in part.inputs]
    assert part.node.op.infer(part.node, part.inputs).shape == part.output.shape
    result = part.node.op.simulate(part.node.params, *read)
    assert np.array_equal(tensors[node.output][:, first:end], result)


@given(images(), st.data())
def test_every_row_is_computed_once_and_after_what_it_reads(
    graph: Graph, data: st.DataObject
) -> None:
    """A row too few is garbage, a row too many is time, a row too early reads garbage."""
    graph = passes.run(graph, STREAMED)
    stream = data.draw(streams(graph))
    nodes = {node.name: node for node in graph.nodes[stream.first : stream.last + 1]}
    made = {node.output: 0 for node in nodes.values()}

    for call in stream.calls:
        node = nodes[call.layer]
        assert made[node.output] == call.rows[0] < call.rows[1] <= call.rows[0] + stream.rows
        for name, (_, end) in zip(node.inputs, call.reads, strict=True):
            assert end <= made.get(name, end)
        made[node.output] = call.rows[1]

    assert made == {name: graph.tensors[name].shape[0] for name in made}


def test_a_layer_asks_for_what_it_reads(chain: Graph) -> None:
    """Rows are made as late as possible, so that few are alive."""
    calls = schedule(passes.run(chain, STREAMED), 0, 1, 1).calls

    assert [
        Call(layer="a", rows=(0, 1), reads=((0, 2),)),
        Call(layer="a", rows=(1, 2), reads=((0, 3),)),
        Call(layer="b", rows=(0, 1), reads=((0, 2),)),
        Call(layer="a", rows=(2, 3), reads=((1, 4),)),
        Call(layer="b", rows=(1, 2), reads=((0, 3),)),
    ] == list(calls[:5])


def test_windows_hold_the_rows_that_are_still_read(chain: Graph) -> None:
    """Three rows each, and one or two more where more rows are made at a time."""
    graph = passes.run(chain, STREAMED)
    for rows, expected in ((1, 3), (2, 4), (8, 8)):
        stream = schedule(graph, 0, 2, rows)
        placed = place_stream(graph, stream, roots_of(graph, [stream]))

        assert {"a.out": expected, "b.out": expected} == placed.windows
        assert 8 == row_bytes(graph, "a.out")


def test_rows_slide_only_as_far_as_nobody_reads_them(rng: np.random.Generator) -> None:
    """A residual branch reads later than the layers beside it: its rows must wait."""
    builder = GraphBuilder(rng)
    a = builder.add(SAME, builder.input(s8(9, 4, 2)), name="a")
    c = builder.add(SAME, builder.add(SAME, a, name="b"), name="c")
    graph = passes.run(builder.graph(builder.add(Add(), c, a, name="sum")), STREAMED)
    stream = schedule(graph, 0, 3, 1)
    roots = {name: name for name in graph.tensors}

    placed = place_stream(graph, stream, roots)

    # when row r of the sum is made, row r + 2 of a has been
    assert {"a.out": 3, "b.out": 3, "c.out": 1} == placed.windows
    lowest = [read.get("a.out", 9) for read in still_read(graph, stream)]
    assert lowest == sorted(lowest)


def test_what_is_read_outside_stands_whole(chain: Graph) -> None:
    """A window has lost its first rows when the stream ends."""
    graph = passes.run(chain, STREAMED)
    stream = schedule(graph, 0, 1, 1)

    placed = place_stream(graph, stream, roots_of(graph, [stream]))

    assert {"a.out": 3} == placed.windows
    assert [call.rows[0] for call in stream.calls if call.layer == "b"] == [
        step.target for step in placed.steps if step.call.layer == "b"
    ]


def test_what_needs_the_whole_image_is_not_computed_in_rows(rng: np.random.Generator) -> None:
    """A window in the padding alone meets no row, and nothing can be read for it."""
    builder = GraphBuilder(rng)
    x = builder.input(s8(4, 4, 2))
    builder.add(MaxPool2D(kernel=(1, 1), stride=(1, 1), padding=(1, 0, 0, 0)), x, name="border")
    (node,) = (graph := passes.run(builder.graph(), STREAMED)).nodes

    assert banded(graph, node, (0, 1)) is None
    assert simulate(graph, random_inputs(graph, 1, 0))["border.out"].shape == (1, 5, 4, 2)
