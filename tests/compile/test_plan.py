# SPDX-License-Identifier: Apache-2.0
"""Every decision of one compilation."""

from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeq_compile import kernels, passes, target
from codeq_compile.errors import InputError, NoKernel
from codeq_compile.explain import explain
from codeq_compile.ir import Graph, Weights
from codeq_compile.ir.op import c_arrays
from codeq_compile.memory import Io
from codeq_compile.memory.streams import distinct_bands, schedule
from codeq_compile.numerics import Int8Array
from codeq_compile.ops.conv2d import SPARSE_BYTES, Conv2D, Conv2DParams
from codeq_compile.ops.dwconv2d import DWConv2D
from codeq_compile.ops.linear import Linear
from codeq_compile.ops.lut import Lut
from codeq_compile.ops.reshape import Reshape
from codeq_compile.packing import CODECS, entropy_bytes
from codeq_compile.packing.rle import Rle
from codeq_compile.plan import Layer, Plan, plan, scratch_in
from tests.graphs import one_op_graph, random_int8, random_weights, s8
from tests.libraries import planned, rows
from tests.networks import VARIANTS, benchmark
from tests.strategies import GraphBuilder, graphs

HOST, M4, M55 = (target.load(name) for name in ("host", "mps2_an386", "mps3_an547"))


@pytest.fixture
def graph(rng: np.random.Generator) -> Graph:
    """conv 3x3 sparse, depthwise, 1x1 ternary, flatten, linear dense, lut; lowered."""
    builder = GraphBuilder(rng)
    x = builder.input(s8(8, 8, 3))
    sparse = random_weights(rng, (16, 3, 3, 3), bits=4, zeros=0.9)
    x = builder.add(Conv2D(stride=(2, 2)), x, weights=sparse, name="conv")
    filters = random_weights(rng, (16, 3, 3), bits=5, zeros=0.9)
    x = builder.add(DWConv2D(), x, weights=filters, name="dw")
    ternary = random_weights(rng, (16, 1, 1, 16), bits=2, zeros=0.3)
    x = builder.add(Conv2D(), x, weights=ternary, name="pw")
    x = builder.add(Reshape(shape=(16,)), x, name="flatten")
    full = random_weights(rng, (10, 16), bits=8)
    x = builder.add(Linear(), x, weights=full, name="fc")
    x = builder.add(Lut(), x, table=random_int8(rng, (256,)), name="act")
    return passes.run(builder.graph(x), "literal")  # random zeros may kill a channel


def by_name(result: Plan) -> dict[str, Layer]:
    return {layer.node.name: layer for layer in result.layers}


alone = partial(plan, weigh_code=False)
"""Each layer as if its kernel were no code."""


def test_auto_takes_the_smallest_packing_of_each_layer(graph: Graph) -> None:
    """Flash is what small parts have least of."""
    result = plan(graph, HOST)
    chosen = {
        name: layer.packed and layer.packed.packing for name, layer in by_name(result).items()
    }

    assert {"conv": "rle", "dw": "dense", "pw": "ternary", "fc": "dense", "act": None} == chosen
    for layer in result.layers:
        if layer.packed is not None:
            assert min(layer.costs.values()) == layer.packed.bytes
            assert layer.packed.bytes == layer.costs[layer.packed.packing]


def test_what_the_other_packings_would_have_cost_is_kept(graph: Graph) -> None:
    """The report shows what was given up."""
    costs = {name: list(layer.costs) for name, layer in by_name(plan(graph, HOST)).items()}

    assert ["dense", "bitmask", "rle", "gap"] == costs["conv"]
    assert ["dense"] == costs["dw"]
    assert ["dense", "ternary", "bitmask", "rle", "gap"] == costs["pw"]
    assert [] == costs["act"]


def test_equal_sizes_go_to_the_ops_preference(rng: np.random.Generator) -> None:
    """The dense kernel is the faster one when nothing is saved."""
    builder = GraphBuilder(rng)
    layer = random_weights(rng, (1, 1, 1, 1), bits=4)
    y = builder.add(Conv2D(), builder.input(s8(2, 2, 1)), weights=layer)
    (only,) = plan(passes.run(builder.graph(y)), HOST).layers

    assert {"dense": 1, "bitmask": 2, "rle": 1, "gap": 5} == only.costs
    assert only.packed is not None
    assert "dense" == only.packed.packing


def test_layers_are_numbered_without_views(graph: Graph) -> None:
    """`l05` in the C is the fifth call."""
    assert [(1, "conv"), (2, "dw"), (3, "pw"), (4, "fc"), (5, "act")] == [
        (layer.index, layer.node.name) for layer in plan(graph, HOST).layers
    ]


def test_kernels_are_those_of_the_target(graph: Graph) -> None:
    """A DSP instruction on an M3 is a fault."""
    assert "cq_conv2d_s8_w2_ternary_ref" == by_name(plan(graph, HOST))["pw"].kernel.symbol
    assert "cq_conv2d_1x1_s8_w2_ternary_dsp" == by_name(alone(graph, M4))["pw"].kernel.symbol


@pytest.mark.parametrize("board", ["mps2_an386", "mps3_an547", "microbit"])
def test_fast_takes_what_is_predicted_to_be_fastest(rng: np.random.Generator, board: str) -> None:
    """A layer that is four times as slow for a few bytes is not what was asked for."""
    builder = GraphBuilder(rng)
    x = builder.input(s8(200))
    for name, zeros in [("sparse", 0.8), ("sparser", 0.97), ("sparsest", 0.998), ("full", 0.0)]:
        layer = random_weights(rng, (200, 200), bits=4, zeros=zeros)
        x = builder.add(Linear(), x, weights=layer, name=name)
    graph = passes.run(builder.graph(x), "literal")
    fast = plan(graph, target.load(board), "fast")

    for layer in fast.layers:
        assert layer.packed is not None
        prices, least = fast.prices(layer), min(layer.costs.values())
        dear = {
            name: price.instructions * max(1.0, layer.costs[name] / (2 * least))
            for name, price in prices.items()
        }

        # a sixteenth is what bytes must buy
        assert dear[layer.packed.packing] <= min(dear.values()) * 16 / 15, layer.node.name


def test_fast_takes_gaps_where_nothing_is_predicted(rng: np.random.Generator) -> None:
    """A core that nobody has counted on still reads gaps faster than runs."""
    builder = GraphBuilder(rng)
    x = builder.input(s8(200))
    for name, zeros in [("sparse", 0.8), ("sparsest", 0.998), ("full", 0.0)]:
        layer = random_weights(rng, (200, 200), bits=4, zeros=zeros)
        x = builder.add(Linear(), x, weights=layer, name=name)
    graph = passes.run(builder.graph(x), "literal")
    fast = by_name(plan(graph, msgspec.structs.replace(M4, core="cortex-m99"), "fast"))
    taken = {name: layer.packed and layer.packed.packing for name, layer in fast.items()}

    assert {"sparse": "gap", "sparsest": "rle", "full": "dense"} == taken


def test_int8_weights_take_their_shortest_form_unless_a_codec_was_asked_for(
    rng: np.random.Generator,
) -> None:
    """An importer brings 8 bits, whatever the layer needs; the layer's integers stay the same."""
    builder = GraphBuilder(rng)
    x = builder.input(s8(40))
    for name, values in [("narrow", [-7, 3, 7]), ("sign", [-90, 0, 90]), ("few", [-128, 5, 127])]:
        codes = rng.choice(np.array(values, np.int8), (40, 40))
        layer = Weights(codes=codes, bits=8, scale=np.full(1, 0.01, np.float32))
        x = builder.add(Linear(), x, weights=layer, name=name)
    graph = passes.run(builder.graph(x), "literal")
    given_weights = {node.name: node.weights for node in graph.nodes}

    def kept(asked: str) -> dict[str, tuple[int, int, int]]:
        layers = by_name(alone(graph, M4, asked))
        for name, layer in layers.items():
            before, after = given_weights[name], layer.node.weights
            assert before is not None
            assert after is not None
            np.testing.assert_array_equal(before.values, after.values)
        stored = {name: layer.packed for name, layer in layers.items() if layer.packed}
        return {name: (p.bits, p.gap, len(p.levels or ())) for name, p in stored.items()}

    assert {"narrow": (2, 0, 3), "sign": (2, 89, 0), "few": (2, 0, 3)} == kept("auto")
    assert {"narrow": (8, 0, 0), "sign": (8, 0, 0), "few": (8, 0, 0)} == kept("dense")


@pytest.mark.parametrize("packing", ["auto", "fast"])
def test_bytes_are_left_where_they_are_for_a_bit_a_weight(
    rng: np.random.Generator, packing: str
) -> None:
    """Six bits save a quarter and are decoded; five save three eighths."""
    builder = GraphBuilder(rng)
    x = builder.input(s8(40))
    for name, largest in [("six", 31), ("five", 15)]:
        codes = rng.integers(-largest, largest + 1, (40, 40)).astype(np.int8)
        codes[0, 0] = largest
        layer = Weights(codes=codes, bits=8, scale=np.full(1, 0.01, np.float32))
        x = builder.add(Linear(), x, weights=layer, name=name)
    graph = passes.run(builder.graph(x), "literal")

    layers = by_name(alone(graph, M4, packing))
    widths = {name: layer.packed.bits for name, layer in layers.items() if layer.packed}

    assert {"six": 8, "five": 5} == widths


def convolutions(rng: np.random.Generator, *zeros: float) -> Graph:
    """Layers of 64 x 64 weights of 8 bits with so many zeros, on 8 x 8 pixels."""
    builder = GraphBuilder(rng)
    x = builder.input(s8(8, 8, 64))
    for share in zeros:
        layer = random_weights(rng, (64, 1, 1, 64), bits=8, zeros=share)
        x = builder.add(Conv2D(), x, weights=layer, name=f"{share:.0%}")
    return passes.run(builder.graph(x), "literal")


def packings(graph: Graph, packing: str) -> dict[str, str]:
    layers = by_name(alone(graph, M4, packing)).items()
    return {name: layer.packed.packing for name, layer in layers if layer.packed is not None}


def test_auto_decodes_no_weights_for_a_few_bytes(rng: np.random.Generator) -> None:
    """A kernel of kilobytes and three times the instructions must not save a sixth."""
    graph = convolutions(rng, 0.3, 0.6)

    costs = by_name(plan(graph, M4))["30%"].costs

    assert min(costs["bitmask"], costs["rle"]) < costs["dense"]
    assert "dense" == packings(graph, "auto")["30%"] != packings(graph, "small")["30%"]
    assert "dense" != packings(graph, "auto")["60%"]


def test_fast_takes_dense_weights_where_they_are_faster(rng: np.random.Generator) -> None:
    """Who asks for speed must not get the slower kernel of a layer with some zeros."""
    graph = convolutions(rng, 0.5, 0.9)

    assert {"50%": "dense", "90%": packings(graph, "auto")["90%"]} == packings(graph, "fast")
    assert "dense" not in packings(graph, "auto").values()


def test_small_takes_prefix_codes_where_they_are_shorter(rng: np.random.Generator) -> None:
    """Many small weights and few large ones: below their width, and as short as a table allows."""
    builder = GraphBuilder(rng)
    codes = np.clip(np.rint(rng.laplace(0.0, 9.0, (60, 1, 1, 60))), -127, 127).astype(np.int8)
    layer = Weights(codes=codes, bits=8, scale=np.full(1, 0.01, np.float32))
    x = builder.add(Conv2D(), builder.input(s8(5, 5, 60)), weights=layer, name="conv")
    filters = Weights(codes=codes[:, 0, 0, :9].reshape(60, 3, 3), bits=8, scale=layer.scale)
    x = builder.add(DWConv2D(), x, weights=filters, name="dw")
    graph = passes.run(builder.graph(x), "literal")
    auto, small = (by_name(plan(graph, HOST, asked)) for asked in ("auto", "small"))

    assert auto["conv"].packed is not None
    assert small["conv"].packed is not None
    assert "dense" == auto["conv"].packed.packing
    assert "huffman" == small["conv"].packed.packing
    assert "huffman" not in auto["conv"].costs
    assert small["conv"].packed.bytes == min(small["conv"].costs.values())
    assert small["conv"].packed.bytes < 1.04 * entropy_bytes(layer)
    assert "huffman" not in small["dw"].costs  # it has no kernel for them


@pytest.mark.parametrize("name", ["dense", "bitmask", "rle"])
def test_an_explicit_packing_is_taken_everywhere_it_exists(graph: Graph, name: str) -> None:
    """For comparisons; depthwise layers have no sparse kernels and say so."""
    layers = by_name(plan(graph, HOST, name))
    chosen = {key: layers[key].packed.packing for key in ("conv", "pw", "fc", "dw")}

    assert {"conv": name, "pw": name, "fc": name, "dw": "dense"} == chosen
    expected = "" if name == "dense" else f"{name} has no kernel for dwconv2d here: dense instead"
    assert expected == layers["dw"].note
    assert "" == layers["conv"].note


def test_a_packing_that_cannot_hold_some_weights_is_refused_with_all_of_them(graph: Graph) -> None:
    """Silently storing them otherwise would make a measurement lie."""
    with pytest.raises(InputError) as caught:
        plan(graph, HOST, "ternary")
    lines = str(caught.value).splitlines()

    assert "ternary packing cannot hold the weights of 3 layers:" == lines[0]
    assert ['  layer "conv": 4 bits, gap 0', '  layer "dw": 5 bits, gap 0'] == lines[1:3]
    assert '"auto"' in lines[-1]


def test_an_unknown_packing_is_told_with_the_likely_one(graph: Graph) -> None:
    """It comes from a command line."""
    with pytest.raises(InputError, match='no packing "bitmsk": did you mean "bitmask"'):
        plan(graph, HOST, "bitmsk")
    with pytest.raises(
        InputError, match='no packing "x": there are auto, fast, small, dense, ternary, '
    ):
        plan(graph, HOST, "x")


def test_macs_are_counted_with_and_without_zeros(graph: Graph) -> None:
    """Counted weight by weight: what the banner claims is what the kernel does."""
    layers = by_name(plan(graph, HOST))
    conv, pw = layers["conv"], layers["pw"]
    weights = conv.node.weights
    assert weights is not None

    assert 3 * 3 * 16 * 27 == conv.macs
    assert 3 * 3 * int(np.count_nonzero(weights.values)) == conv.macs_done
    assert 16 * 16 == pw.macs == pw.macs_done  # a ternary stream is dense: zeros are multiplied


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


def test_auto_avoids_packings_without_a_kernel(
    graph: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The smallest stream is worth nothing if nobody can read it."""
    kept = tuple(row for row in kernels.rows() if row.packing != "rle")
    monkeypatch.setattr(kernels, "rows", lambda: kept)
    conv = by_name(plan(graph, HOST))["conv"]

    assert "bitmask" == (conv.packed and conv.packed.packing)
    assert ["dense", "bitmask", "gap"] == list(conv.costs)


def test_a_stream_that_does_not_decode_to_its_weights_is_never_emitted(
    graph: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault of a codec stops here, not on the device."""

    right = Rle.unpack
    monkeypatch.setattr(Rle, "unpack", lambda codec, *stream: -right(codec, *stream))

    with pytest.raises(AssertionError, match='"conv": rle does not decode to its weights'):
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


def test_a_plan_prints_decisions_and_no_weights(graph: Graph) -> None:
    """Whoever prints a plan wants to read it: a layer has thousands of numbers."""
    result = plan(graph, M4)

    parts = [result, graph, *graph.nodes, *(layer.node.params for layer in result.layers)]

    assert all("array(" not in repr(part) and "data=" not in repr(part) for part in parts)
    assert all(layer.node.name in repr(result) for layer in result.layers)
    assert all(len(repr(layer)) < 1000 for layer in result.layers)


KWS_IN_PLACE = 10_500
"""Bytes for the keyword network at 8 bits, where its layers take their inputs' place."""
RAM = {"ic": 53_000, "kws": 17_500, "vww": 58_000, "ad": 2_048}
"""Bytes that a network of MLPerf Tiny may need: arena with scratch, inputs and outputs.

The autoencoder's 640 inputs are widened to 16 bits beside their first layer's output [linear-C6].
"""


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("network", RAM)
def test_a_known_network_needs_no_more_ram_than_its_tensors(network: str, variant: str) -> None:
    """Scratch of a new kernel, or a worse plan, and a model misses the part it was made for."""
    result = plan(passes.run(benchmark(network, variant)), M4, io="arena")

    assert result.memory.is_optimal
    assert result.memory.lower_bound == result.arena_bytes == result.ram_bytes
    assert RAM[network] >= result.ram_bytes


def overwrites(layer: Layer) -> tuple[int, ...]:
    return layer.node.op.overwrites(layer.node.params)


@pytest.mark.slow
def test_as_few_layers_as_serve_pay_for_their_inputs_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """The keyword network needs one tensor and not two; no layer is slower for nothing."""
    network = passes.run(benchmark("kws", "dense8"))
    result = plan(network, M4, io="arena")
    paying = [
        layer.node.params.weights
        for layer in result.layers
        if isinstance(layer.node.params, Conv2DParams) and overwrites(layer)
    ]

    assert result.memory.is_optimal
    assert result.arena_bytes <= KWS_IN_PLACE
    assert paying
    for weights in paying:
        with monkeypatch.context() as patch:
            patch.setattr(Conv2D, "overwriting", without(weights))
            assert plan(network, M4, io="arena").arena_bytes > result.arena_bytes


@pytest.mark.slow
def test_no_instructions_are_spent_on_ram_that_is_there() -> None:
    """Who has the RAM, or asks for speed, gets the faster layers."""
    network = passes.run(benchmark("kws", "dense8"))
    plain = plan(network, M4, "fast", io="arena").arena_bytes

    assert plan(network, M4, io="arena").arena_bytes < plain
    assert plan(network, M4, io="arena", ram=plain).arena_bytes == plain
    assert plan(network, M4, io="arena", ram=plain - 1).arena_bytes < plain


def without(weights: Int8Array) -> Callable[[Conv2D, Conv2DParams, str, str], Conv2DParams]:
    """`Conv2D.overwriting` for all layers but one."""
    original = Conv2D.overwriting

    def overwriting(op: Conv2D, params: Conv2DParams, family: str, isa: str) -> Conv2DParams:
        return params if params.weights is weights else original(op, params, family, isa)

    return overwriting


def test_a_small_gain_is_not_worth_instructions(rng: np.random.Generator) -> None:
    """Where another layer needs as much there is nothing to gain."""
    builder = GraphBuilder(rng)
    x = builder.input(s8(8, 8, 16))
    x = builder.add(Conv2D(), x, weights=random_weights(rng, (32, 1, 1, 16)), name="wide")
    kernel = random_weights(rng, (32, 3, 3, 32))
    x = builder.add(Conv2D(padding=(1, 1, 1, 1)), x, weights=kernel, name="kernel")
    x = builder.add(Conv2D(), x, weights=random_weights(rng, (32, 1, 1, 32)), name="square")
    x = builder.add(Conv2D(), x, weights=random_weights(rng, (4, 1, 1, 32)), name="end")

    result = plan(passes.run(builder.graph(x), "literal"), M4)

    assert () == overwrites(by_name(result)["square"])


def test_layers_use_what_the_arena_has_left_and_no_byte_more(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scratch below the peak is free; above it a model would need RAM for speed."""
    builder = GraphBuilder(rng)
    x = builder.input(s8(48, 48, 8))
    x = builder.add(Conv2D(), x, weights=random_weights(rng, (32, 1, 1, 8)))
    x = builder.add(Conv2D(stride=(2, 2)), x, weights=random_weights(rng, (32, 1, 1, 32)))
    pruned = random_weights(rng, (48, 3, 3, 32), bits=4, zeros=0.8)
    x = builder.add(Conv2D(padding=(1, 1, 1, 1)), x, weights=pruned, name="pruned")
    x = builder.add(Conv2D(), x, weights=random_weights(rng, (1, 1, 1, 48)))
    graph = passes.run(builder.graph(x), "literal")

    roomy = plan(graph, M4)
    monkeypatch.setattr(Conv2D, "with_scratch", lambda self, params, limit: params)
    narrow = plan(graph, M4)

    assert by_name(narrow)["pruned"].scratch_bytes <= SPARSE_BYTES
    assert by_name(roomy)["pruned"].scratch_bytes > SPARSE_BYTES
    assert narrow.arena_bytes == roomy.arena_bytes


def test_scratch_of_a_layer_in_a_stream_is_that_of_its_greediest_band() -> None:
    """Less would be written beyond; as much as for the whole image would be for nothing."""
    whole, streamed = (planned(rows(), "mps2_an386", stream=s) for s in ("off", "auto"))

    for before, after in zip(whole.layers, streamed.layers, strict=True):
        node, kernel = after.node, after.kernel
        parts = distinct_bands(streamed.graph, node, after.calls)
        needed = [
            p.node.op.scratch_bytes(
                p.node.params, p.inputs, p.output, after.packed, kernel.family, kernel.isa
            )
            for p in parts
        ]
        assert max(needed) == after.scratch_bytes <= before.scratch_bytes
    assert sum(layer.scratch_bytes for layer in streamed.layers) < sum(
        layer.scratch_bytes for layer in whole.layers
    )


def test_a_kernel_that_needs_more_pixels_than_a_band_has_refuses(
    rng: np.random.Generator,
) -> None:
    """Sparse convolutions need four pixels: with three a row only two rows will do."""
    builder = GraphBuilder(rng)
    x = builder.input(s8(8, 3, 2))
    for name in "ab":
        weights = random_weights(rng, (3, 1, 1, builder.tensors[x].shape[2]), bits=4, zeros=0.5)
        x = builder.add(Conv2D(), x, weights=weights, name=name)
    result = plan(passes.run(builder.graph(x)), M4, packing="bitmask", ram=1 << 20)
    assert all(layer.kernel.family == "conv2d_sparse" for layer in result.layers)

    assert scratch_in(result, schedule(result.graph, 0, 1, 1)) is None
    assert scratch_in(result, schedule(result.graph, 0, 1, 2)) is not None


def test_with_a_budget_rows_are_computed_as_few_times_as_it_allows() -> None:
    """Time is paid for the bytes that are missing, not for all that could be saved."""
    graph = passes.run(rows())
    whole, least = plan(graph, M4), plan(graph, M4, stream="auto")

    budgets = (least.ram_bytes, (least.ram_bytes + whole.ram_bytes) // 2, whole.ram_bytes)
    plans = [plan(graph, M4, stream="auto", ram=ram) for ram in budgets]

    assert all(each.ram_bytes <= ram for each, ram in zip(plans, budgets, strict=True))
    calls = [sum(len(layer.calls) for layer in each.layers) for each in plans]
    assert calls == sorted(calls, reverse=True)
    assert calls[0] > calls[1] > calls[2] == 0
    # what cannot be reached comes as near as it can: the budget then says what is missing
    assert least.ram_bytes >= plan(graph, M4, stream="auto", ram=1).ram_bytes


def test_scratch_is_not_most_of_the_arena_for_a_few_instructions() -> None:
    """As in micro speech: widening 4,000 inputs of a few outputs would take much of the arena."""
    rng = np.random.default_rng(0)
    builder = GraphBuilder(rng)
    first = random_weights(rng, (8, 10, 10, 1), bits=8)
    x = builder.add(Conv2D(stride=(2, 2)), builder.input(s8(58, 48, 1)), weights=first)
    x = builder.add(Reshape(shape=(4000,)), x)
    x = builder.add(Linear(), x, weights=random_weights(rng, (4, 4000), bits=8), name="few")
    graph = passes.run(builder.graph(x))

    lean, fast = alone(graph, M4), plan(graph, M4, "fast")
    least = plan(graph, M4, ram=1)

    assert "ref" == by_name(lean)["few"].kernel.isa != by_name(fast)["few"].kernel.isa
    assert lean.arena_bytes < 0.9 * fast.arena_bytes
    assert lean.instructions is not None
    assert fast.instructions is not None
    assert lean.instructions < 1.125 * fast.instructions
    assert least.arena_bytes <= lean.arena_bytes
    verdicts = {option.verdict for layer in explain(lean) for option in layer.options}
    assert "ref makes the arena smaller" in verdicts


def test_a_budget_of_ram_is_met_by_other_kernels_and_packings() -> None:
    """A network that would fit in another packing is not refused; speed and flash pay for it."""
    graph = passes.run(benchmark("kws", "sparse4"))
    plain = plan(graph, M4)
    assert plain.ram_bytes > 10_500

    fitting, almost = plan(graph, M4, ram=10_500), plan(graph, M4, ram=plain.ram_bytes - 1)

    assert fitting.ram_bytes <= 10_500
    assert almost.ram_bytes < plain.ram_bytes
    changed = [
        sum(a.kernel != b.kernel for a, b in zip(plain.layers, each.layers, strict=True))
        for each in (almost, fitting)
    ]
    assert changed == sorted(changed)
    assert 1 == changed[0] < changed[1]
    asked = plan(graph, M4, "rle", ram=10_500)
    assert {"rle"} == {e.packed.packing for e in asked.layers if e.packed and "rle" in e.costs}


@pytest.mark.parametrize(("bits", "zeros"), [(4, 0.9), (4, 0.7), (2, 0.5)])
def test_a_budget_of_ram_leaves_that_of_weights(bits: int, zeros: float) -> None:
    """What was saved for the one is not spent for the other, where both can be met."""
    rng = np.random.default_rng(0)
    builder = GraphBuilder(rng)
    x = builder.input(s8(8, 8, 12))
    for channels in (12, 24, 16, 3):
        shape = (channels, 1, 1, builder.tensors[x].shape[2])
        x = builder.add(Conv2D(), x, weights=random_weights(rng, shape, bits=bits, zeros=zeros))
    graph = passes.run(builder.graph(x))

    def flash(plan: Plan) -> int:
        return plan.weights_bytes + plan.tables_bytes

    small = plan(graph, M4, "small")
    ram = plan(graph, M4, "small", ram=small.ram_bytes - 1).ram_bytes
    both = plan(graph, M4, ram=ram, weights=flash(small))

    assert ram < small.ram_bytes
    assert flash(both) <= flash(small) >= flash(plan(graph, M4, "small", ram=ram))
    assert both.ram_bytes <= ram


@pytest.mark.parametrize("packing", ["auto", "fast"])
def test_a_budget_of_ram_is_refused_only_below_what_any_option_reaches(
    packing: str, rng: np.random.Generator
) -> None:
    """The figure in the refusal is the least there is, and the slowest way to it is not taken."""
    builder = GraphBuilder(rng)
    x = builder.input(s8(8, 8, 12))
    for channels in (12, 24, 3):
        weights = random_weights(rng, (channels, 1, 1, builder.tensors[x].shape[2]), bits=8)
        x = builder.add(Conv2D(), x, weights=weights)
    graph = passes.run(builder.graph(x))
    codecs = ("dense", "bitmask", "rle")
    plain, least = plan(graph, M4, packing), plan(graph, M4, packing, ram=1)
    each = [plan(graph, M4, codec, ram=1) for codec in codecs]

    assert least.ram_bytes <= min(other.ram_bytes for other in each)
    assert least.ram_bytes < plain.ram_bytes
    almost = [
        plan(graph, M4, name, ram=plain.ram_bytes - 1).instructions for name in (packing, *codecs)
    ]
    costs = [instructions for instructions in almost if instructions is not None]
    assert costs[0] == almost[0] == min(costs)
    for ram in {plan(graph, M4, packing, ram=least.ram_bytes + more).ram_bytes for more in (0, 99)}:
        assert plan(graph, M4, packing, ram=ram).ram_bytes == ram


# -- Code ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("board", ["microbit", "mps2_an385", "mps2_an386", "mps3_an547"])
def test_a_kernel_of_one_layer_must_save_its_code(rng: np.random.Generator, board: str) -> None:
    """Less flash, no more instructions and RAM than where each layer is packed for itself."""
    builder = GraphBuilder(rng)
    x = builder.input(s8(1, 64, 6))
    for name, inputs, outputs, zeros in [
        ("a", 6, 24, 0.0),
        ("b", 24, 32, 0.55),
        ("c", 32, 40, 0.65),
    ]:
        layer = random_weights(rng, (outputs, 1, 5, inputs), bits=4, zeros=zeros)
        x = builder.add(Conv2D(stride=(1, 2)), x, weights=layer, name=name)
    x = builder.add(Reshape(shape=(40 * 5,)), x)
    x = builder.add(Linear(), x, weights=random_weights(rng, (7, 200), bits=5), name="few")
    graph, there = passes.run(builder.graph(x), "literal"), target.load(board)

    before, after = alone(graph, there), plan(graph, there)
    old, new = before.total, after.total
    assert old is not None
    assert new is not None

    assert after.weighed is not None
    assert new.flash < 0.9 * old.flash
    assert new.instructions <= old.instructions
    assert after.ram_bytes <= before.ram_bytes


def test_weights_stay_within_their_limit_where_code_would_be_shorter() -> None:
    """Dense weights need the least code; a limit on weights says that they are what matters."""
    graph = passes.run(benchmark("kws", "sparse4"))
    short = alone(graph, M55).total
    assert short is not None

    free, limited = plan(graph, M55).total, plan(graph, M55, weights=short.data).total

    assert free is not None
    assert limited is not None
    assert free.data > short.data
    assert limited.data <= short.data
    assert free.flash <= limited.flash <= short.flash


def test_bytes_of_the_chosen_packing_are_those_of_the_chosen_form(rng: np.random.Generator) -> None:
    """Weights that stay bytes for their kernel's sake are longer than dense ones of five bits."""
    codes = rng.integers(-15, 16, (40, 40)).astype(np.int8)
    codes[0, 0] = 15
    weights = Weights(codes=codes, bits=8, scale=np.full(1, 0.01, np.float32))
    graph = passes.run(one_op_graph(Linear(), [s8(40)], weights=weights), "literal")
    (short,), (layer,) = alone(graph, M4).layers, plan(graph, M4).layers
    assert short.packed is not None
    assert layer.packed is not None

    assert short.packed.bytes < layer.packed.bytes == layer.costs["dense"]


def test_where_code_is_not_known_each_layer_is_packed_for_itself(graph: Graph) -> None:
    """The host has no table."""
    assert [layer.kernel for layer in alone(graph, HOST).layers] == [
        layer.kernel for layer in plan(graph, HOST).layers
    ]
    assert plan(graph, HOST).weighed is None


@pytest.mark.parametrize("packing", ["fast", "small", "dense"])
def test_code_is_weighed_for_auto_alone(graph: Graph, packing: str) -> None:
    """Who asks for something else gets it."""
    assert plan(graph, M4, packing).weighed is None


@pytest.mark.parametrize("board", ["microbit", "mps2_an386", "mps3_an547"])
@given(graph=graphs(), io=st.sampled_from(["caller", "arena"]), data=st.data())
def test_the_network_is_never_worse_for_weighing_code(
    board: str, graph: Graph, io: Io, data: st.DataObject
) -> None:
    """Flash, instructions and RAM; whole or in rows, and with RAM that is said to be enough."""
    lowered, there = passes.run(graph), target.load(board)
    ask: dict[str, Any] = {"io": io, "stream": data.draw(st.sampled_from(["off", "auto"]))}
    free = alone(lowered, there, **ask)
    ram = data.draw(st.none() | st.integers(free.ram_bytes // 2, 2 * free.ram_bytes))
    before, after = (decide(lowered, there, **ask, ram=ram) for decide in (alone, plan))
    old, new = before.total, after.total

    assert (old is None) == (new is None) == (after.weighed is None)
    if old is not None and new is not None:
        assert new.flash <= old.flash
        assert new.instructions <= old.instructions
    assert after.ram_bytes <= max(before.ram_bytes, ram or 0)
