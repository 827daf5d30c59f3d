# SPDX-License-Identifier: Apache-2.0
"""The plan of a whole graph."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeq_compile import passes
from codeq_compile.ir import Graph
from codeq_compile.memory import Io, plan_memory
from codeq_compile.ops.concat import Concat
from codeq_compile.ops.maxpool2d import MaxPool2D
from codeq_compile.ops.reshape import Reshape
from tests.graphs import s8
from tests.strategies import GraphBuilder, graphs

POOL = MaxPool2D(kernel=(1, 1), stride=(1, 1))


@pytest.mark.slow
@given(graphs(), st.sampled_from([4, 16]), st.sampled_from(["caller", "arena"]), st.data())
def test_every_tensor_has_a_place(
    graph: Graph, alignment: int, io: Io, data: st.DataObject
) -> None:
    """The emitter asks for all of them; the proof inside `plan_memory` checks each."""
    graph = passes.run(graph)
    scratch = {node.name: data.draw(st.integers(0, 40)) for node in graph.nodes}
    plan = plan_memory(graph, scratch, alignment, io)

    assert list(graph.tensors) == list(plan.places)
    assert {name for name, size in scratch.items() if size} == set(plan.scratch)
    assert plan.lower_bound <= plan.arena_bytes
    assert 0 == plan.arena_bytes % alignment
    for kind, names in (("input", graph.inputs), ("output", graph.outputs)):
        for name in names:
            place = plan.places[name]
            assert (
                place.kind == "arena" if io == "arena" else (kind, name) == (place.kind, place.name)
            )


def test_a_chain_needs_its_largest_pair(rng: np.random.Generator) -> None:
    """Ping-pong: input and output are the caller's, two neighbours in between are alive at once."""
    builder = GraphBuilder(rng)
    source = builder.input(s8(8, 8, 1))
    for index in range(5):
        source = builder.add(POOL, source, name=f"l{index}")
    plan = plan_memory(builder.graph(source), {})

    assert (2 * 64, 2 * 64, True) == (plan.arena_bytes, plan.lower_bound, plan.is_optimal)


def test_an_input_in_the_arena_makes_room_once_it_was_read(rng: np.random.Generator) -> None:
    """96 x 96 pixels in front of small layers need no RAM of their own."""
    builder = GraphBuilder(rng)
    source = builder.input(s8(8, 8, 1))
    for index in range(3):
        source = builder.add(POOL, source, name=f"l{index}")
    graph = builder.graph(source)

    assert 2 * 64 == plan_memory(graph, {}, io="arena").arena_bytes
    assert 4 * 64 == plan_memory(graph, {}).arena_bytes + 2 * 64


def test_inputs_that_nobody_reads_have_a_place_too(rng: np.random.Generator) -> None:
    """The caller writes them all the same."""
    builder = GraphBuilder(rng)
    builder.input(s8(100))
    y = builder.add(POOL, builder.input(s8(8, 8, 1)))
    plan = plan_memory(builder.graph(y), {}, io="arena")

    assert "arena" == plan.places["x0"].kind
    assert 100 + 2 * 64 == plan.arena_bytes


def test_scratch_is_alive_at_its_layer_only(rng: np.random.Generator) -> None:
    """Scratch of two layers shares its bytes, and counts where the arena is fullest."""
    builder = GraphBuilder(rng)
    source = builder.input(s8(8, 8, 1))
    for index in range(4):
        source = builder.add(POOL, source, name=f"l{index}")
    plan = plan_memory(builder.graph(source), {"l0": 90, "l1": 30, "l3": 64})

    assert 64 + 64 + 32 == plan.lower_bound == plan.arena_bytes
    assert 1 == plan.peak
    assert {"l0", "l1", "l3"} == set(plan.scratch)


def test_buffers_of_a_vector_core_are_aligned_to_vectors(rng: np.random.Generator) -> None:
    """Helium loads of 16 bytes are fastest, and on some memories only legal, when aligned."""
    builder = GraphBuilder(rng)
    source = builder.input(s8(3, 3, 1))
    for index in range(4):
        source = builder.add(POOL, source, name=f"l{index}")
    plan = plan_memory(builder.graph(source), {"l1": 5}, alignment=16)

    assert 3 * 16 == plan.arena_bytes
    assert all(0 == buffer.offset % 16 == buffer.bytes % 16 for buffer in plan.buffers)


def test_a_tensor_lives_as_long_as_its_views(rng: np.random.Generator) -> None:
    """The bytes behind a view are in use although nobody names the tensor any more."""
    builder = GraphBuilder(rng)
    a = builder.add(POOL, builder.input(s8(4, 4, 1)), name="a")
    view = builder.add(Reshape(shape=(16,)), a, name="view")
    other = "x0"
    for index in range(3):
        other = builder.add(POOL, other, name=f"l{index}")
    flat = builder.add(Reshape(shape=(16,)), other)
    plan = plan_memory(builder.graph(builder.add(Concat(), view, flat)), {})
    (held,) = (buffer for buffer in plan.buffers if buffer.name == a)

    assert (0, 6, (a, view)) == (held.first, held.last, held.tensors)
    assert 3 * 16 == plan.arena_bytes


@pytest.mark.parametrize("outputs", [("l0.out",), ("l1.out", "l0.out")])
def test_outputs_that_are_read_inside_stay_with_the_caller(
    rng: np.random.Generator, outputs: tuple[str, ...]
) -> None:
    """Later layers read them from the caller's buffer: no copy, no arena."""
    builder = GraphBuilder(rng)
    first = builder.add(POOL, builder.input(s8(8, 8, 1)), name="l0")
    builder.add(POOL, first, name="l1")
    plan = plan_memory(builder.graph(*outputs, *({"l1.out"} - {*outputs})), {})

    assert 0 == plan.arena_bytes
    assert "output" == plan.places["l0.out"].kind
