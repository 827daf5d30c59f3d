# SPDX-License-Identifier: Apache-2.0
"""A plan's totals, and how it prints."""

from codeq_compile.ir import Graph
from codeq_compile.ir.op import c_arrays
from codeq_compile.plan import plan
from tests.compile.plan.plans import HOST, M4, by_name


def test_totals_are_the_sums_of_the_layers(graph: Graph) -> None:
    """The summary, the banner and the report must be one number."""
    result = plan(graph, HOST)
    streams = sum(len(layer.packed.data) for layer in result.layers if layer.packed)
    tables = 0
    for layer in result.layers:
        inputs, output = graph.input_types(layer.node), graph.output_type(layer.node)
        params = layer.node.op.c_params(layer.node.params, inputs, output, layer.packed)
        tables += sum(a.bytes for a in c_arrays(params) if a.name != "weights")

    assert (streams, tables) == (result.weights_bytes, result.tables_bytes)
    assert 256 == by_name(result)["act"].tables_bytes
    assert (8 * 8 * 3, 10) == (result.input_bytes, result.output_bytes)
    assert result.memory.arena_bytes + 8 * 8 * 3 + 10 == result.ram_bytes
    assert sum(layer.macs for layer in result.layers) == result.macs
    assert sum(layer.macs_done for layer in result.layers) == result.macs_done


def test_a_plan_prints_decisions_and_no_weights(graph: Graph) -> None:
    """Whoever prints a plan wants to read it: a layer has thousands of numbers."""
    result = plan(graph, M4)

    parts = [result, graph, *graph.nodes, *(layer.node.params for layer in result.layers)]

    assert all("array(" not in repr(part) and "data=" not in repr(part) for part in parts)
    assert all(layer.node.name in repr(result) for layer in result.layers)
    assert all(len(repr(layer)) < 1000 for layer in result.layers)
