# SPDX-License-Identifier: Apache-2.0
"""Layers that are computed some rows at a time: the integers stay, the arena shrinks."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import codeq_compile
from codeq_compile.build import tools
from codeq_compile.check import check
from codeq_compile.emit import emit
from codeq_compile.ir import Graph
from codeq_compile.memory import Io
from codeq_compile.passes import flow_for
from codeq_compile.plan import plan
from codeq_compile.plan.ram import scratch_in, with_streams
from codeq_compile.target import load
from tests.boards import each, found
from tests.libraries import emitted, planned, rows
from tests.networks import benchmark
from tests.strategies import images, streams

# Each example builds a library with a C compiler, and draws a whole network.
SLOW_EXAMPLES = {"suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large]}
M4 = "mps2_an386"


@pytest.mark.slow
@pytest.mark.parametrize("target", ["host", M4, "microbit"])
@given(images(), st.sampled_from(["caller", "arena"]), st.data())
@settings(max_examples=10, **SLOW_EXAMPLES)
def test_any_stream_gives_the_integers_of_the_simulation(
    target: str, graph: Graph, io: Io, data: st.DataObject
) -> None:
    """Any layers, any number of rows, kernels of every kind: every row of every layer is right."""
    flow = flow_for(streamed=True)
    plain = planned(graph, target, io, flow=flow)
    stream = data.draw(streams(plain.graph))
    if scratch_in(plain, stream) is None:
        return  # a kernel refuses, and the stream is never chosen
    with tempfile.TemporaryDirectory() as name:
        library = Path(name) / "library"
        streamed = with_streams(plain, [stream])
        emit(streamed, library, source=graph, command="codeq compile", flow=flow)

        assert 0 == check(library, ["host"], samples=2).bytes_differing


@pytest.mark.slow
@pytest.mark.qemu
@pytest.mark.parametrize("board", each(("microbit", M4, "mps3_an547")))
def test_rows_of_odd_sizes_are_computed_on_every_core(board: str, tmp_path: Path) -> None:
    """Rows begin at any address: a core that cannot load words from there faults."""
    found(tools.arm_cc)
    found(tools.qemu)
    library = emitted(rows(), tmp_path, board, stream="auto")

    assert len(library.calls) > len(library.layers)
    assert 0 == codeq_compile.check(tmp_path, [board], samples=2).bytes_differing


@pytest.mark.slow
@pytest.mark.qemu
@pytest.mark.parametrize("network", ["ic", "vww"])
def test_networks_of_mlperf_tiny_keep_their_bytes_row_by_row(network: str, tmp_path: Path) -> None:
    """The networks for which it is made, on the core for which it is made."""
    found(tools.arm_cc)
    found(tools.qemu)
    graph = benchmark(network, "sparse4")
    library = emitted(graph, tmp_path, M4, io="arena", stream="auto")

    assert library.calls
    assert 0 == codeq_compile.check(tmp_path, [M4], samples=1).bytes_differing


@pytest.mark.slow
@pytest.mark.parametrize(("network", "limit"), [("ic", 22_000), ("kws", 10_500)])
def test_ram_of_mlperf_tiny_stays_below_its_goal(network: str, limit: int) -> None:
    """Arena with scratch, input and output: what decides whether a part can run it at all."""
    graph = codeq_compile.passes.run(benchmark(network, "dense8"))

    assert plan(graph, load(M4), io="arena", stream="auto").ram_bytes <= limit


def test_streams_are_taken_only_where_they_are_asked_for() -> None:
    """They cost instructions: whoever compiles as before gets what he got before."""
    assert () == planned(rows(), M4).memory.streams
    assert planned(rows(), M4, stream="auto").memory.streams
