# SPDX-License-Identifier: Apache-2.0
"""The cost model: predictions against counted layers that were not fitted, and what it refuses."""

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

import codeq_compile
from codeq_compile import cost, kernels, passes, target
from codeq_compile.build import firmware, tools
from codeq_compile.ops.linear import Linear
from codeq_compile.packing import CODECS, pack
from codeq_compile.plan import Layer, Plan, packings, plan
from codeq_compile.profile import Profile
from tests.boards import found
from tests.graphs import one_op_graph, random_weights, s8
from tests.networks import benchmark

BOARDS = ("microbit", "mps2_an386", "mps3_an547")
CLOSE = 0.10
"""How far a prediction may be off."""
UNCERTAIN = {"softmax": 1.0}
"""Layers of networks whose instructions depend on the values: of which inputs an exponential is
computed."""
UNPREDICTED = frozenset({"convert", "softmax16", "svdf"})
"""Ops of imported models that have no line in the table."""


def linear(rng: np.random.Generator, zeros: float, bits: int = 4) -> tuple[Plan, Layer]:
    weights = random_weights(rng, (20, 130), bits=bits, zeros=zeros)
    graph = passes.run(one_op_graph(Linear(), [s8(130)], weights=weights))
    decided = plan(graph, target.load("mps2_an386"), "rle")
    return decided, decided.layers[0]


def same_tools() -> None:
    """The test is skipped where another compiler is installed: it gives other code."""
    compiler = found(tools.arm_cc)
    found(tools.qemu)
    if f"{compiler.name} {compiler.version}" != cost.table().compiler:
        pytest.skip(f"the table is of {cost.table().compiler}")


def compare(decided: Plan, counted: dict[str, int], total: int) -> None:
    """Each layer within its bound, the whole within a twentieth."""
    for layer in decided.layers:
        price, count = decided.price(layer), counted[layer.node.name]
        assert price is not None
        error = price.instructions / count - 1
        most = UNCERTAIN.get(layer.node.op.kind, CLOSE)
        assert abs(error) <= most, f"{layer.kernel} {layer.node.name}"
    assert decided.instructions is not None
    assert abs(decided.instructions / total - 1) <= 0.05


@pytest.mark.slow
@pytest.mark.qemu
@pytest.mark.parametrize(
    ("board", "variant"),
    [("microbit", "dense8"), ("mps2_an386", "sparse4"), ("mps3_an547", "ternary")],
)
def test_predictions_are_within_a_tenth_of_the_counter(
    board: str, variant: str, tmp_path: Path
) -> None:
    """What `--explain` says before anything runs is what `codeq profile` counts, for the layers of
    the keyword spotter, none of which was fitted.
    """
    same_tools()
    made = codeq_compile.compile(benchmark("kws", variant), tmp_path / "kws", target=board)
    profile = codeq_compile.profile(tmp_path / "kws", samples=1)
    assert isinstance(profile, Profile)
    counted = {layer.name: layer.part.instructions for layer in profile.layers}

    compare(made.plan, counted, profile.total.instructions)


@pytest.mark.slow
@pytest.mark.qemu
@pytest.mark.parametrize("board", ["microbit", "mps2_an386", "mps3_an547"])
def test_drawn_layers_are_predicted_too(board: str) -> None:
    """Odd channels, borders and remainders in every packing: shapes that no network of ours has,
    newly drawn.
    """
    costs = pytest.importorskip("tests.bench.costs", reason="fitting needs scipy")
    same_tools()
    chosen, drawn, seed = target.load(board), costs.drawn, 20_26
    graphs = (
        *((drawn.layers(packing, 3, seed), packing, 1) for packing in CODECS),
        (drawn.unweighted(3, seed), "dense", 1),
        (drawn.softmaxes(3, seed), "dense", costs.SAMPLES),
    )
    for graph, packing, samples in graphs:
        for each in costs.counted(graph, chosen, packing, samples):
            layer = each.layer
            types = each.inputs, each.output
            predicted = cost.predict(layer.node, *types, layer.packed, layer.kernel, chosen.core)
            assert predicted is not None
            error = abs(predicted / each.instructions - 1)
            assert error <= CLOSE, (layer.kernel, types)


@pytest.mark.parametrize("board", BOARDS)
def test_every_kernel_of_a_core_has_a_prediction(board: str) -> None:
    """A layer without one has no place in a sum, and a budget of instructions refuses its model."""
    chosen = target.load(board)
    able = [row for row in kernels.rows() if row.isa in chosen.isa and row.op not in UNPREDICTED]

    assert not {(k.family, k.isa) for k in able if cost.model(k, chosen.core) is None}


def test_a_price_is_the_prediction(rng: np.random.Generator) -> None:
    """Training takes slopes from it, and its value at the weights must be the compiler's."""
    decided, layer = linear(rng, zeros=0.7)
    price = decided.price(layer)
    assert price is not None
    node = layer.node
    predicted = cost.predict(
        node,
        decided.graph.input_types(node),
        decided.graph.output_type(node),
        layer.packed,
        layer.kernel,
        "cortex-m4",
    )

    assert predicted == price.instructions
    assert node.weights is not None
    assert layer.packed is not None
    assert np.count_nonzero(node.weights.values) == price.nonzeros
    assert len(layer.packed.data) == price.stream_bytes
    assert price.per_nonzero > 0


def test_a_price_foresees_other_weights() -> None:
    """A kernel that skips zeros: what the price of the present weights says of others like them.

    Not of those that would be packed with fields of another width, as some draws are.
    """
    rng = np.random.default_rng(0)
    (before, layer), (after, thinner) = linear(rng, zeros=0.65), linear(rng, zeros=0.7)
    price, expected = before.price(layer), after.price(thinner)
    assert price is not None
    assert expected is not None
    foreseen = replace(price, nonzeros=expected.nonzeros, stream_bytes=expected.stream_bytes)

    assert layer.packed is not None
    assert thinner.packed is not None
    assert layer.packed.run_bits == thinner.packed.run_bits
    # runs without a weight are counted as weights; of them there are other shares then
    assert abs(foreseen.instructions / expected.instructions - 1) < 0.05
    assert expected.instructions < price.instructions


def test_what_is_not_known_is_not_guessed(rng: np.random.Generator) -> None:
    """A core, a family or a loop without a measurement gives no number."""
    decided, layer = linear(rng, zeros=0.7)
    node = layer.node
    types = (decided.graph.input_types(node), decided.graph.output_type(node))
    packed, kernel = layer.packed, layer.kernel
    assert packed is not None

    assert cost.predict(node, *types, packed, kernel, "cortex-m99") is None
    assert cost.predict(node, *types, packed, replace(kernel, isa="sme"), "cortex-m4") is None
    unheard_of = replace(packed, packing="zip")
    assert cost.predict(node, *types, unheard_of, kernel, "cortex-m4") is None
    assert cost.predict(node, *types, packed, kernel, "cortex-m4") is not None


def test_dense_streams_cost_the_same_whatever_they_hold(rng: np.random.Generator) -> None:
    """No kernel of dense weights looks whether one is zero."""
    graph = passes.run(
        one_op_graph(Linear(), [s8(64)], weights=random_weights(rng, (8, 64), zeros=0.5))
    )
    decided = plan(graph, target.load("mps2_an386"), "dense")
    price = packings.prices(decided, decided.layers[0])["dense"]

    assert price.per_nonzero == 0
    assert price.per_byte == 0  # eight bits stand in flash as they are used


def test_the_table_states_its_provenance() -> None:
    """A number without a compiler and a level is not a measurement."""
    table = cost.table()

    assert table.compiler.startswith("arm-none-eabi-gcc")
    assert firmware.OPTIMIZATION == table.optimization
    assert len({(m.core, m.family, m.isa) for m in table.models}) == len(table.models)
    for model in table.models:
        assert model.fitted > model.held_out > 0
        assert 0 <= model.mean <= model.worst
        assert min(model.instructions.values()) >= 0


def test_a_decoder_costs_the_same_in_every_kernel() -> None:
    """It is compiled once: what a weight costs to decode follows from all layers that do so."""
    table = cost.table()
    found: dict[tuple[str, str], set[float]] = {}
    for model in table.models:
        for name, instructions in model.instructions.items():
            if cost.DECODED in name:
                found.setdefault((model.core, name), set()).add(instructions)

    assert {1} == {len(values) for values in found.values()}


def test_the_table_is_stored_one_model_a_line() -> None:
    """A change of one is a change of one line, which a review can read."""
    lines = cost.FILE.read_text(encoding="utf-8").splitlines()[1:-1]

    assert [msgspec.to_builtins(m) for m in cost.table().models] == [
        msgspec.json.decode(line.rstrip(",")) for line in lines
    ]


def test_every_packing_of_a_layer_has_a_price(rng: np.random.Generator) -> None:
    """Training mixes them near a tie, and `--explain` shows them."""
    decided, layer = linear(rng, zeros=0.7)
    weights = layer.node.weights
    assert weights is not None
    prices = packings.prices(decided, layer)

    assert {"dense", "bitmask", "rle"} <= set(prices)
    assert prices["rle"] == decided.price(layer)
    for name, price in prices.items():
        assert len(pack(weights, name).data) == price.stream_bytes
