# SPDX-License-Identifier: Apache-2.0
"""What is done for less RAM, and with RAM that is left."""

from collections.abc import Callable

import numpy as np
import pytest

from codeq_compile import passes
from codeq_compile.explain import explain
from codeq_compile.memory.streams import distinct_bands
from codeq_compile.numerics import Int8Array
from codeq_compile.ops.conv2d import SPARSE_BYTES, Conv2D, Conv2DParams
from codeq_compile.ops.linear import Linear
from codeq_compile.ops.reshape import Reshape
from codeq_compile.plan import Layer, Plan, plan
from tests.compile.plan.plans import M4, alone, by_name
from tests.graphs import random_weights, s8
from tests.libraries import planned, rows
from tests.networks import VARIANTS, benchmark
from tests.strategies import GraphBuilder

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
