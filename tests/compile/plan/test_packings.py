# SPDX-License-Identifier: Apache-2.0
"""Which packing a layer gets for itself."""

import msgspec
import numpy as np
import pytest

from codeq_compile import kernels, passes, target
from codeq_compile.errors import InputError
from codeq_compile.ir import Graph, Weights
from codeq_compile.ops.conv2d import Conv2D
from codeq_compile.ops.dwconv2d import DWConv2D
from codeq_compile.ops.linear import Linear
from codeq_compile.packing import entropy_bytes
from codeq_compile.packing.rle import Rle
from codeq_compile.plan import plan
from codeq_compile.plan.packings import prices as prices_of
from tests.compile.plan.plans import HOST, M4, alone, by_name
from tests.graphs import random_weights, s8
from tests.strategies import GraphBuilder


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
        prices, least = prices_of(fast, layer), min(layer.costs.values())
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
