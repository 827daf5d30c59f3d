# SPDX-License-Identifier: Apache-2.0
"""`explain`: of every layer what was chosen, what was not, and why."""

import re

import numpy as np
import pytest

from codeq_compile import passes, target
from codeq_compile.explain import CHOSEN, Explanation, Option, explain
from codeq_compile.ir import Op, Weights
from codeq_compile.ops.add import Add
from codeq_compile.ops.conv2d import MIN_PIXELS, Conv2D
from codeq_compile.ops.dwconv2d import DWConv2D
from codeq_compile.packing import CODECS
from codeq_compile.plan import plan
from tests.graphs import grid, one_op_graph, random_weights, s8
from tests.libraries import rows
from tests.networks import benchmark


def explained(
    op: Op, shape: tuple[int, ...], weights: Weights, board: str, packing: str = "auto"
) -> Explanation:
    graph = passes.run(one_op_graph(op, [s8(*shape)], weights=weights))
    (only,) = explain(plan(graph, target.load(board), packing, weigh_code=False))
    return only


def of(explanation: Explanation, packing: str) -> list[Option]:
    return [option for option in explanation.options if option.packing == packing]


@pytest.mark.parametrize("board", ["microbit", "mps2_an386", "mps3_an547"])
def test_every_layer_has_one_choice_and_a_reason_for_each_other_option(board: str) -> None:
    """Whoever wonders about a layer finds all there is, the choice first."""
    decided = plan(passes.run(benchmark("kws", "sparse4")), target.load(board))
    for layer, found in zip(decided.layers, explain(decided), strict=True):
        first, *others = found.options
        price = decided.price(layer)

        assert (layer.index, layer.node.name) == (found.index, found.name)
        assert first.is_chosen
        assert layer.kernel.symbol == first.kernel
        assert layer.scratch_bytes == first.scratch_bytes
        assert price is not None
        assert price.instructions == first.instructions
        assert all(option.verdict not in ("", CHOSEN) for option in others)
        if layer.node.weights is not None:
            assert {option.packing for option in found.options} == set(CODECS)


def test_a_few_bytes_less_are_no_reason_to_decode(rng: np.random.Generator) -> None:
    """A shorter stream that was not taken needs a reason more than any other."""
    weights = random_weights(rng, (40, 3, 3, 40), bits=8, zeros=0.15)
    found = explained(Conv2D(), (8, 8, 40), weights, "mps2_an386")

    assert "dense" == found.options[0].packing
    assert of(found, "bitmask")[0].verdict.endswith("bytes less, too few to decode bytes for")


def test_another_packing_is_rejected_for_its_bytes(rng: np.random.Generator) -> None:
    """The number of bytes that a user would pay is what decided."""
    weights = random_weights(rng, (16, 3, 3, 16), bits=4, zeros=0.8)
    found = explained(Conv2D(), (8, 8, 16), weights, "mps2_an386")
    chosen, dense = found.options[0], of(found, "dense")[0]
    assert dense.weights_bytes is not None
    assert chosen.weights_bytes is not None

    assert f"{dense.weights_bytes - chosen.weights_bytes} bytes more" == dense.verdict


def test_where_code_is_weighed_each_option_says_what_the_network_would_take(
    rng: np.random.Generator,
) -> None:
    """What decided was not the layer."""
    weights = random_weights(rng, (16, 3, 3, 16), bits=4, zeros=0.8)
    graph = passes.run(one_op_graph(Conv2D(), [s8(8, 8, 16)], weights=weights))
    decided = plan(graph, target.load("mps2_an386"))
    short = plan(graph, target.load("mps2_an386"), weigh_code=False)
    (found,) = explain(decided)
    (left,) = (option for option in found.options if option.kernel == short.layers[0].kernel.symbol)
    now, then = decided.total, short.total
    assert now is not None
    assert then is not None

    assert f"flash +{then.flash - now.flash}, " in left.verdict
    assert f"instructions {then.instructions / now.instructions - 1:+.1%}" in left.verdict


def test_a_limit_of_weights_is_told_where_it_decides() -> None:
    """Dense weights would need less code and time, and are not allowed."""
    graph, board = passes.run(benchmark("kws", "sparse4")), target.load("mps3_an547")
    short = plan(graph, board, weigh_code=False).total
    assert short is not None
    options = [
        option
        for layer in explain(plan(graph, board, weights=short.data))
        for option in layer.options
    ]
    forbidden = [each for each in options if each.verdict.endswith("; above the limit of weights")]

    assert any("flash -" in option.verdict for option in forbidden)
    assert all(option.packing is not None for option in forbidden)


def test_a_limit_of_flash_is_what_ways_are_weighed_by() -> None:
    """Not flash times instructions, which decides where there is none."""
    graph, board = passes.run(benchmark("kws", "sparse4")), target.load("mps2_an386")
    usual = plan(graph, board).total
    assert usual is not None
    within = plan(graph, board, flash=usual.flash + 1500)
    verdicts = {option.verdict for layer in explain(within) for option in layer.options}

    assert within.total is not None
    assert within.total.instructions < usual.instructions
    assert not [told for told in verdicts if "times" in told or "than the shortest" in told]
    assert [told for told in verdicts if told.endswith("; slower")]
    beyond = [int(n) for v in verdicts for n in re.findall(r"flash \+(\d+).*more flash than", v)]
    assert beyond
    assert all(within.total.flash + more > usual.flash + 1500 for more in beyond)
    roomy = explain(plan(graph, board, flash=2 * usual.flash))
    faster = [option.verdict for layer in roomy for option in layer.options]
    assert [told for told in faster if re.search("instructions -.*too little for its flash", told)]


def test_an_explicit_packing_is_the_reason(rng: np.random.Generator) -> None:
    """Not the bytes, of which another one may need fewer."""
    weights = random_weights(rng, (16, 3, 3, 16), bits=4, zeros=0.8)
    found = explained(Conv2D(), (8, 8, 16), weights, "mps2_an386", packing="dense")

    assert "dense" == found.options[0].packing
    assert {"dense was asked for"} == {
        option.verdict for option in of(found, "rle")[:1] + of(found, "bitmask")[:1]
    }


def test_a_rule_that_is_broken_is_quoted(rng: np.random.Generator) -> None:
    """What would have to change for a packing or a kernel to be possible."""
    weights = random_weights(rng, (16, 3, 3, 16), bits=4, zeros=0.8)
    found = explained(Conv2D(), (3, 4, 16), weights, "mps2_an386")
    (ternary,) = of(found, "ternary")
    unfit = [option for option in of(found, "rle") if option.instructions is None]

    assert ternary.kernel is None
    assert "not applicable: needs a 2-bit grid with gap 0" == ternary.verdict
    assert ["cq_conv2d_sparse_s8_w4_rle_dsp"] == [option.kernel for option in unfit]
    assert unfit[0].verdict == (f"not applicable: needs {MIN_PIXELS} pixels of output, here are 2")


def test_lesser_kernels_have_a_price_as_well(rng: np.random.Generator) -> None:
    """Whether an instruction set pays is a question that the numbers answer."""
    weights = random_weights(rng, (16, 3, 3), bits=8)
    found = explained(DWConv2D(padding=(1, 1, 1, 1)), (8, 8, 16), weights, "mps2_an386")
    best, *others = of(found, "dense")
    (portable,) = (option for option in others if option.verdict == "dsp comes before ref")
    assert best.instructions is not None
    assert portable.instructions is not None

    assert best.is_chosen
    assert best.instructions < portable.instructions
    assert "cq_dwconv2d_s8_w8_dense_ref" == portable.kernel


def test_packings_without_kernels_say_so(rng: np.random.Generator) -> None:
    """Depthwise weights are stored dense, whatever their zeros."""
    weights = random_weights(rng, (16, 3, 3), bits=4, zeros=0.9)
    found = explained(DWConv2D(), (8, 8, 16), weights, "mps2_an386")
    (rle,) = of(found, "rle")

    assert "not applicable: no kernel of dwconv2d computes from it" == rle.verdict


def test_layers_without_weights_have_kernels_only() -> None:
    """There is nothing to pack."""
    graph = passes.run(one_op_graph(Add(), [s8(6, 6, 8), s8(6, 6, 8)], output=grid(0.1, 3)))
    (found,) = explain(plan(graph, target.load("mps3_an547")))

    assert ["cq_add_s8_mve", "cq_add_s8_dsp", "cq_add_s8_ref"] == [
        option.kernel for option in found.options
    ]
    assert {None} == {option.packing for option in found.options}
    assert {None} == {option.weights_bytes for option in found.options}


def test_where_nothing_is_known_nothing_is_predicted(rng: np.random.Generator) -> None:
    """This machine is no Cortex-M."""
    weights = random_weights(rng, (16, 3, 3, 16), bits=4, zeros=0.8)
    found = explained(Conv2D(), (8, 8, 16), weights, "host")

    assert {None} == {option.instructions for option in found.options}
    assert {None} == {option.error for option in found.options}


def test_a_layer_of_a_stream_is_explained_as_it_is_called() -> None:
    """Scratch for some rows and instructions of all calls, not those of the whole image."""
    decided = plan(passes.run(rows()), target.load("mps2_an386"), stream="auto")
    assert decided.memory.streams

    for layer, found in zip(decided.layers, explain(decided), strict=True):
        price = decided.price(layer)
        assert price is not None
        chosen = found.options[0]
        assert (layer.scratch_bytes, price.instructions) == (
            chosen.scratch_bytes,
            chosen.instructions,
        )
