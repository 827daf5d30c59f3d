# SPDX-License-Identifier: Apache-2.0
"""The proof must fail for every way in which a plan can be wrong."""

from dataclasses import replace

import numpy as np
import pytest

from codeq_compile.ir import Graph
from codeq_compile.memory import MemoryPlan, Place, plan_memory, prove_no_overlap
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
