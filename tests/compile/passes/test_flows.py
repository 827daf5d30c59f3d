# SPDX-License-Identifier: Apache-2.0
"""Passes in order, on random graphs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeq_compile import passes
from codeq_compile.errors import InputError, ModelError
from codeq_compile.ir import Graph
from codeq_compile.memory import plan_memory
from codeq_compile.ops.requantize import Requantize
from codeq_compile.passes import FLOWS, Pass
from codeq_compile.passes.lower import lower
from tests.compile.passes.equality import applied, assert_same_outputs
from tests.graphs import one_op_graph, s8
from tests.strategies import graphs

REWRITES = tuple(step for step in FLOWS["native"] if step is not lower)


@pytest.mark.slow
@given(graphs(max_nodes=8), st.sampled_from(sorted(FLOWS)))
def test_a_flow_keeps_every_output_bit(graph: Graph, flow: str) -> None:
    """Optimisation must be invisible: the trained integers are the product."""
    result = passes.run(graph, flow)

    assert result.is_lowered
    assert_same_outputs(graph, result)
    plan_memory(result, {})


@pytest.mark.slow
@given(graphs(max_nodes=8))
def test_the_native_flow_leaves_nothing_to_do(graph: Graph) -> None:
    """If a second run still found something, the order of the passes would be wrong."""
    once = passes.run(graph)

    assert len(once.nodes) == len(passes.run(once).nodes)


@pytest.mark.slow
@pytest.mark.parametrize("step", REWRITES[:-1], ids=lambda step: step.__name__)
@given(graph=graphs(max_nodes=6))
def test_each_pass_alone_keeps_every_output_bit(step: Pass, graph: Graph) -> None:
    """A pass may not rely on another one to repair what it did."""
    applied(step, graph)


def test_an_unknown_flow_is_told_with_the_known_ones() -> None:
    """It comes from a command line."""
    with pytest.raises(InputError, match=f'no flow "fast"; there are {", ".join(FLOWS)}'):
        passes.run(_graph(), "fast")


def test_an_illegal_graph_is_refused_before_any_pass() -> None:
    """Passes may rely on `verify`."""
    graph = _graph()
    broken = Graph(
        name="Bad Name",
        tensors=graph.tensors,
        inputs=graph.inputs,
        outputs=graph.outputs,
        nodes=graph.nodes,
    )

    with pytest.raises(ModelError, match="not a lower-case C identifier"):
        passes.run(broken)


def test_a_pass_that_breaks_the_graph_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fault is ours and must not look like the user's."""

    def forget(graph: Graph) -> Graph:
        return graph.with_nodes(())

    monkeypatch.setattr(passes, "FLOWS", {"native": (forget,)})

    with pytest.raises(AssertionError, match=r"pass forget left an illegal graph"):
        passes.run(_graph())


def _graph() -> Graph:
    return one_op_graph(Requantize(), [s8(3)], output=s8(3).grid)
