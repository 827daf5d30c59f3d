# SPDX-License-Identifier: Apache-2.0
"""The proof must fail for every way in which a plan can be wrong."""

from dataclasses import replace

import numpy as np
import pytest

from codeq_compile import passes
from codeq_compile.ir import Graph
from codeq_compile.memory import MemoryPlan, Place, plan_memory, prove_no_overlap
from codeq_compile.memory.streams import PlacedStream, Step, schedule
from codeq_compile.ops.add import Add
from codeq_compile.ops.maxpool2d import MaxPool2D
from codeq_compile.ops.reshape import Reshape
from tests.graphs import s8
from tests.strategies import GraphBuilder

POOL = MaxPool2D(kernel=(1, 1), stride=(1, 1))
SCRATCH = {"b": 12}


@pytest.fixture
def graph(rng: np.random.Generator) -> Graph:
    """x0 → a → b → view; a + b → c → y: a residual branch, a view, scratch."""
    builder = GraphBuilder(rng)
    a = builder.add(POOL, builder.input(s8(4, 4, 1)), name="a")
    b = builder.add(POOL, a, name="b")
    view = builder.add(Reshape(shape=(16, 1, 1)), b, name="view")
    c = builder.add(Add(), a, b, name="c")
    return builder.graph(builder.add(POOL, c, name="y"), builder.add(POOL, view, name="z"))


def moved(plan: MemoryPlan, tensor: str, offset: int) -> MemoryPlan:
    place = replace(plan.places[tensor], offset=offset)
    return replace(plan, places={**plan.places, tensor: place})


def test_a_right_plan_is_accepted(graph: Graph) -> None:
    """Else nothing could be compiled."""
    prove_no_overlap(graph, SCRATCH, plan_memory(graph, SCRATCH))


def test_wrong_plans_are_refused(graph: Graph) -> None:
    """Each of them would damage a tensor on the device, silently."""
    plan = plan_memory(graph, SCRATCH)
    a, b = plan.places["a.out"].offset, plan.places["b.out"].offset
    elsewhere = {**plan.places, "z.out": Place(kind="arena", name="z.out", offset=0)}
    cases = [
        (moved(plan, "b.out", a), '"b" overwrites its input'),
        (moved(plan, "view.out", a), 'the view "view" moves its input'),
        (moved(plan, "a.out", plan.arena_bytes - 12), "leave their buffer"),
        (moved(plan, "b.out", b + 2), "not aligned to 4"),
        (replace(plan, scratch={"b": a}), 'the scratch of "b" overlaps its tensors'),
        (replace(plan, scratch={"b": b}), 'the scratch of "b" overlaps its tensors'),
        (replace(plan, places=elsewhere), 'output "z.out" is not in the buffer of the caller'),
    ]
    for wrong, message in cases:
        with pytest.raises(AssertionError, match=message):
            prove_no_overlap(graph, SCRATCH, wrong)


def test_a_value_that_is_overwritten_before_it_is_read_is_noticed(graph: Graph) -> None:
    """The node that damages is not the node that suffers."""
    plan = plan_memory(graph, SCRATCH)
    b = plan.places["b.out"]
    # the sum is allowed to write over its input b, but the view of b is still to be read
    wrong = replace(plan, places={**plan.places, "c.out": b})

    with pytest.raises(AssertionError, match=r'"z" finds "view.out" damaged'):
        prove_no_overlap(graph, SCRATCH, wrong)


def test_an_output_that_is_damaged_later_is_noticed(rng: np.random.Generator) -> None:
    """The caller reads it only at the end."""
    builder = GraphBuilder(rng)
    a = builder.add(POOL, builder.input(s8(4, 4, 1)), name="a")
    b = builder.add(POOL, "x0", name="b")
    graph = builder.graph(a, builder.add(POOL, b, name="c"))
    plan = plan_memory(graph, {})
    wrong = replace(plan, places={**plan.places, b: plan.places[a]})

    with pytest.raises(AssertionError, match=r'output "a.out" is damaged'):
        prove_no_overlap(graph, {}, wrong)


@pytest.fixture
def rows(rng: np.random.Generator) -> Graph:
    """Three windows of three rows and a residual branch."""
    builder = GraphBuilder(rng)
    same = MaxPool2D(kernel=(3, 3), stride=(1, 1), padding=(1, 1, 1, 1))
    a = builder.add(same, builder.input(s8(8, 4, 2)), name="a")
    c = builder.add(same, builder.add(same, a, name="b"), name="c")
    return passes.run(builder.graph(builder.add(Add(), c, a, name="sum")))


def streamed(graph: Graph, scratch: dict[str, int]) -> MemoryPlan:
    return plan_memory(graph, scratch, streams=[schedule(graph, 0, 3, 1)])


def with_steps(plan: MemoryPlan, *steps: Step, **windows: int) -> MemoryPlan:
    """The plan with other steps, or windows of other heights."""
    (placed,) = plan.streams
    changed = PlacedStream(
        stream=placed.stream,
        steps=steps or placed.steps,
        windows={**placed.windows, **{f"{name}.out": rows for name, rows in windows.items()}},
    )
    return replace(plan, streams=(changed,))


def test_every_step_of_a_stream_counts(rows: Graph) -> None:
    """A row at the wrong place, a move too far or left out: each gives wrong integers, silently."""
    plan = streamed(rows, {"b": 12})
    prove_no_overlap(rows, {"b": 12}, plan)
    steps = plan.streams[0].steps
    for index, step in enumerate(steps):
        others = [
            replace(step, target=step.target + 1),
            replace(step, sources=(*step.sources[:-1], step.sources[-1] + 1)),
            replace(step, call=replace(step.call, rows=(step.call.rows[0], step.call.rows[1] + 1))),
        ]
        if step.dropped and step.kept:
            others += [
                replace(step, dropped=0),
                replace(step, dropped=step.dropped + 1),
                replace(step, kept=step.kept - 1),
            ]
        for other in others:
            wrong = with_steps(plan, *steps[:index], other, *steps[index + 1 :])
            with pytest.raises(AssertionError, match="wrong memory plan"):
                prove_no_overlap(rows, {"b": 12}, wrong)


def test_rows_that_are_left_out_or_out_of_order_are_noticed(rows: Graph) -> None:
    """What nobody reads is missing in the trace, and an output may end with garbage."""
    plan = streamed(rows, {})
    steps = plan.streams[0].steps

    for wrong in (steps[:-1], (*steps, steps[-1]), (steps[1], steps[0], *steps[2:])):
        with pytest.raises(AssertionError, match=r"leaves rows out|out of order|damaged"):
            prove_no_overlap(rows, {}, with_steps(plan, *wrong))


def test_windows_must_hold_their_rows_and_lie_apart(rows: Graph) -> None:
    """A window that is too small, and windows or scratch that meet."""
    plan = streamed(rows, {"b": 12})
    a, b = plan.places["a.out"].offset, plan.places["b.out"].offset

    for wrong, message in (
        (with_steps(plan, a=2), "leave their window|keeps more rows"),
        (moved(plan, "b.out", a), "overwrites its input|damaged"),
        (replace(plan, scratch={"b": a}), "overlaps its tensors|damaged"),
        (replace(plan, scratch={"b": b}), "overlaps its tensors|damaged"),
    ):
        with pytest.raises(AssertionError, match=message):
            prove_no_overlap(rows, {"b": 12}, wrong)
