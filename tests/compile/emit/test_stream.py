# SPDX-License-Identifier: Apache-2.0
"""Streams as C: what the loops execute is what was planned."""

import re
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeq_compile.emit import body, stream
from codeq_compile.emit.layers import layer_text
from codeq_compile.emit.names import Names, choose
from codeq_compile.ir import Graph
from codeq_compile.memory.streams import row_bytes
from codeq_compile.passes import flow_for
from codeq_compile.plan import Plan
from codeq_compile.plan.ram import with_streams
from tests.libraries import planned, rows
from tests.strategies import images, streams

LOOP = re.compile(r" +for \(uint32_t i = 0u; i < (\d+)u; i\+\+\) \{")
MOVE = re.compile(r" \+ (\d+)u \* i")


def executed(lines: list[str]) -> Iterator[str]:
    """The statements in the order in which C executes them, with the numbers of each turn."""
    text = re.sub(r"/\*.*?\*/", "", "\n".join(lines), flags=re.DOTALL)
    text = re.sub(r",\n +", ", ", text)
    waiting = iter(text.splitlines())
    for line in waiting:
        if loop := LOOP.fullmatch(line):
            inside = []
            while (line := next(waiting)).strip() != "}":
                inside.append(line)
            for turn in range(int(loop[1])):
                for each in inside:
                    yield MOVE.sub(lambda m, turn=turn: f" + {int(m[1]) * turn}", each).strip()
        elif line.strip():
            yield line.strip()


def expected(plan: Plan, names: Names) -> Iterator[tuple[str, int, int]]:
    """Layer, place of its rows and their bytes for each call of a plan."""
    layers = {layer.node.name: layer for layer in plan.layers}
    (placed,) = plan.memory.streams
    for step in placed.steps:
        layer = layers[step.call.layer]
        size = row_bytes(plan.graph, layer.node.output)
        first, end = step.call.rows
        if step.dropped and step.kept:
            yield "slide", step.dropped * size, step.kept * size
        yield names.layers[layer.node.name], step.target * size, (end - first) * size


def found(lines: list[str]) -> Iterator[tuple[str, int, int]]:
    """The same from C."""
    for line in executed(lines):
        if slide := re.fullmatch(r"cq_slide\(\w+, (\d+), (\d+)\);", line):
            yield "slide", int(slide[1]), int(slide[2])
        if trace := re.fullmatch(r"CQ_TRACE\((\d+), (\w+)((?: \+ \d+)*), (\d+)\);", line):
            offset = sum(map(int, re.findall(r"\d+", trace[3])))
            yield f"l{int(trace[1]):02d}", offset, int(trace[4])


@pytest.mark.slow
@given(images(), st.data())
def test_loops_execute_the_plan(graph: Graph, data: st.DataObject) -> None:
    """A loop with a turn too many, or a step too wide, writes beside its window."""
    plain = planned(graph, flow=flow_for(streamed=True))
    plan = with_streams(plain, [data.draw(streams(plain.graph))])
    names = choose(plan)

    lines = stream.statements(plan, names, plan.memory.streams[0])

    assert list(expected(plan, names)) == list(found(lines))


def test_what_repeats_is_one_loop() -> None:
    """A hundred calls one below the other are no C that people read."""
    plan = planned(rows(), io="arena", stream="auto")
    (placed,) = plan.memory.streams
    names = choose(plan)

    lines = stream.statements(plan, names, placed)

    assert sum(bool(LOOP.fullmatch(line)) for line in lines) == 1
    assert sum("CQ_TRY" in line for line in lines) < len(placed.steps)
    assert max(map(len, lines)) <= 100
    about = [step.comment for step in body.steps(plan, names)]
    assert about == [stream.heading(plan, names, placed)]


def test_a_layer_has_parameters_for_each_shape_of_its_bands() -> None:
    """The first rows see the padding above, the last ones that below; the tables are the same."""
    plan = planned(rows(), io="arena", stream="auto")
    names = choose(plan)

    for layer in plan.layers:
        text = layer_text(plan, layer, names)
        assert set(names.params[layer.node.name].values()) == set(text.params)
        assert len({table.symbol for table in text.tables}) == len(text.tables)
        assert any(line.startswith("stream ") for line in text.banner)
    assert ["l02", "l02_first", "l02_last"] == sorted(
        layer_text(plan, plan.layers[1], names).params
    )


def test_calls_follow_each_other_without_gaps() -> None:
    """The trace is compared as a whole: its pieces must be all rows, from the first to the last."""
    plan = planned(rows(), io="arena", stream="auto")

    for layer in plan.layers:
        bands = [call.rows for call in layer.calls]
        assert bands[0][0] == 0
        assert bands[-1][1] == plan.graph.output_type(layer.node).shape[0]
        assert all(before[1] == after[0] for before, after in pairwise(bands))
