# SPDX-License-Identifier: Apache-2.0
"""Every decision of one compilation."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeq_compile import kernels, passes, target
from codeq_compile.errors import InputError, NoKernel
from codeq_compile.ir import Graph
from codeq_compile.packing import CODECS
from codeq_compile.plan import plan
from tests.compile.plan.plans import HOST, M4, M55, alone, by_name
from tests.strategies import graphs


def test_layers_are_numbered_without_views(graph: Graph) -> None:
    """`l05` in the C is the fifth call."""
    assert [(1, "conv"), (2, "dw"), (3, "pw"), (4, "fc"), (5, "act")] == [
        (layer.index, layer.node.name) for layer in plan(graph, HOST).layers
    ]


def test_kernels_are_those_of_the_target(graph: Graph) -> None:
    """A DSP instruction on an M3 is a fault."""
    assert "cq_conv2d_s8_w2_ternary_ref" == by_name(plan(graph, HOST))["pw"].kernel.symbol
    assert "cq_conv2d_1x1_s8_w2_ternary_dsp" == by_name(alone(graph, M4))["pw"].kernel.symbol


def test_scratch_of_every_layer_is_in_the_arena(graph: Graph) -> None:
    """A kernel without its scratch writes into its neighbour."""
    result = plan(graph, M4)

    assert {
        layer.node.name: layer.scratch_bytes for layer in result.layers if layer.scratch_bytes
    }.keys() == set(result.memory.scratch)


def test_the_arena_is_aligned_as_the_target_needs_it(graph: Graph) -> None:
    """A vector core gets whole vectors, whatever the sizes of the tensors."""
    memory = plan(graph, M55).memory

    assert M55.alignment == memory.alignment
    assert all(0 == buffer.offset % M55.alignment for buffer in memory.buffers)


def test_a_layer_without_any_kernel_is_named(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row that was deleted must not end in a KeyError."""
    kept = tuple(row for row in kernels.rows() if row.op != "lut")
    monkeypatch.setattr(kernels, "rows", lambda: kept)

    with pytest.raises(NoKernel, match='layer "act": no kernel for op "lut" on host'):
        plan(graph, HOST)


@pytest.mark.slow
@given(graphs(), st.sampled_from(["host", "mps2_an386", "mps3_an547"]), st.data())
def test_every_legal_graph_has_a_plan(graph: Graph, name: str, data: st.DataObject) -> None:
    """On every instruction set and with every packing that can be asked for."""
    graph = passes.run(graph)
    asked = data.draw(st.sampled_from(["auto", "fast", "small", *CODECS]))
    try:
        result = plan(graph, target.load(name), asked)
    except InputError:
        assert asked in {"ternary", "gap", "huffman"}
        return

    assert [n.name for n in graph.nodes if not n.op.is_view] == [x.node.name for x in result.layers]
    for layer in result.layers:
        assert (layer.packed is None) == (layer.node.weights is None)
        assert 0 == layer.scratch_bytes % 4
        assert layer.macs_done <= layer.macs
