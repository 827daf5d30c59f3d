# SPDX-License-Identifier: Apache-2.0
"""Small legal graphs of every op, drawn at random, from the file to the compiled C."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from codeq_compile.arrays import random_inputs, side_by_side
from codeq_compile.build import host, tools
from codeq_compile.check import check
from codeq_compile.ir import Graph
from codeq_compile.memory import Io
from tests.libraries import emitted
from tests.strategies import graphs

# Each example builds a library with a C compiler, and draws a whole network.
SLOW_EXAMPLES = {"suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large]}


def differing_bytes(graph: Graph, target: str, io: Io = "caller") -> int:
    """Emit for `target`, run on this machine, compare every tensor."""
    with tempfile.TemporaryDirectory() as name:
        library = Path(name) / "library"
        emitted(graph, library, target, io)
        return check(library, ["host"], samples=2).bytes_differing


@pytest.mark.slow
@given(graph=graphs())
@settings(max_examples=12, **SLOW_EXAMPLES)
def test_c_equals_the_simulation_on_random_graphs(graph: Graph) -> None:
    """Branches, views, buffers in place, outputs that are also read: all must be planned right."""
    assert 0 == differing_bytes(graph, "host")


@pytest.mark.slow
@given(graph=graphs())
@settings(max_examples=12, **SLOW_EXAMPLES)
def test_inputs_and_outputs_in_the_arena_give_the_same(graph: Graph) -> None:
    """An input that is overwritten too early, or an output, looks like a wrong model."""
    assert 0 == differing_bytes(graph, "host", "arena")


@pytest.mark.slow
@given(graph=graphs(max_nodes=12))
@settings(max_examples=30, **SLOW_EXAMPLES)
def test_c_equals_the_simulation_on_longer_random_graphs(graph: Graph) -> None:
    """Longer lives, more of them at once; the SIMD kernels run through their portable twins."""
    assert 0 == differing_bytes(graph, "mps2_an386")


@pytest.mark.slow
@given(graph=graphs())
@settings(max_examples=8, **SLOW_EXAMPLES)
def test_random_graphs_are_clean_under_sanitizers_and_strict_warnings(graph: Graph) -> None:
    """Generated C that reads past a table or shifts a negative works here and fails on a board."""
    compiler = tools.host_cc()
    with tempfile.TemporaryDirectory() as name:
        library = Path(name) / "library"
        emitted(graph, library)
        samples = random_inputs(graph, 2)
        program = host.build(library, compiler=compiler, sanitize=True, flags=host.STRICT_FLAGS)

        result = program.run(side_by_side(graph, graph.inputs, samples), traced=2)

    assert not result.statuses.any()
