# SPDX-License-Identifier: Apache-2.0
"""The run function: every call at its place, every buffer with its life."""

import re

import numpy as np

from codeq_compile.emit import body, ports
from codeq_compile.emit.names import choose
from codeq_compile.ir import DType
from codeq_compile.memory import Buffer
from codeq_compile.ops.convert import Convert
from tests.graphs import grid, s16
from tests.libraries import hostile, planned, small_conv
from tests.strategies import GraphBuilder


def test_calls_follow_the_graph_and_views_are_told() -> None:
    """A view costs nothing, but a reader of the C must learn that it is there."""
    plan = planned(small_conv())

    steps = body.steps(plan, choose(plan))

    assert ['l01 conv2d "stem"', 'l02 linear "head"'] == [s.comment for s in steps if s.statements]
    assert 'reshape "flatten": t01 is now s8[120], nothing is copied' == steps[1].comment


def test_every_layer_is_traced_with_its_number_and_size() -> None:
    """`codeq check` finds the layer that differs by this."""
    plan = planned(hostile())

    traced = [step.statements[-1] for step in body.steps(plan, choose(plan))]

    expected = [(layer.index, plan.graph.output_type(layer.node).bytes) for layer in plan.layers]
    found = [re.fullmatch(r" +CQ_TRACE\((\d+), \w+, (\d+)\);", line) for line in traced]
    assert expected == [(int(match[1]), int(match[2])) for match in found if match]


def test_lifetimes_are_those_of_the_plan() -> None:
    """The comments are how an embedded engineer finds what fills the RAM."""
    plan = planned(hostile())
    names = choose(plan)

    lines = body.buffers(plan, names)

    def text(buffer: Buffer) -> str:
        first, last = plan.graph.nodes[buffer.first], plan.graph.nodes[buffer.last]
        alive = f"{names.layers[first.name]}..{names.layers[last.name]}"
        return f"{names.buffers[buffer.name]} {buffer.offset} {buffer.bytes} {alive}"

    pattern = r"const (t\d+) = bytes(?: \+ (\d+))?; +/\* (\d+) B, live (\S+) \*/"
    found = [re.search(pattern, line) for line in lines]
    printed = {f"{m[1]} {m[2] or 0} {m[3]} {m[4]}" for m in found if m}
    assert {text(b) for b in plan.memory.buffers if not b.is_scratch} == printed


def test_wide_outputs_are_checked_for_alignment() -> None:
    """An int32 result at an odd address faults on a Cortex-M0."""
    plan = planned(hostile())
    inputs, outputs = ports.ports(plan, choose(plan))

    condition = " ".join(body.argument_checks([*inputs, *outputs], has_state=False))

    assert "((uintptr_t)na_ve_class & 3u) != 0u" in condition
    assert "(uintptr_t)t01_2" not in condition


def test_an_array_of_int16_need_not_stand_at_a_word() -> None:
    """C aligns it to two bytes: half of all firmware would be refused when it runs."""
    builder = GraphBuilder(np.random.default_rng(0))
    x = builder.add(Convert(dtype=DType.S8), builder.input(s16(3)), output=grid(0.1, 0))
    plan = planned(builder.graph(x))

    condition = " ".join(body.argument_checks(ports.ports(plan, choose(plan))[0], has_state=False))

    assert "((uintptr_t)x0 & 1u) != 0u" in condition
