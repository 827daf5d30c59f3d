# SPDX-License-Identifier: Apache-2.0
"""Fewer bits for the weights of a model."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import codeq_compile
from codeq_compile import passes, target
from codeq_compile.coarsen import coarsen, compare
from codeq_compile.errors import DoesNotFit, InputError
from codeq_compile.ir import Graph, Weights
from codeq_compile.ir.op import Array
from codeq_compile.ops.conv2d import Conv2D
from codeq_compile.ops.dwconv2d import DWConv2D
from codeq_compile.ops.linear import Linear
from codeq_compile.ops.reshape import Reshape
from codeq_compile.ops.softmax import Softmax
from codeq_compile.plan import plan
from codeq_compile.simulate import simulate
from tests.graphs import random_bias, random_weights, s8
from tests.strategies import GraphBuilder

HOST = target.load("host")


@pytest.fixture
def rng() -> np.random.Generator:
    """Always the same: that more bytes are closer holds for most networks, not for each."""
    return np.random.default_rng(0)


@pytest.fixture
def graph(rng: np.random.Generator) -> Graph:
    """Convolution, depthwise, pointwise in groups, linear, softmax: int8 as an importer brings."""
    builder = GraphBuilder(rng)
    x = builder.input(s8(8, 8, 4, zero_point=-3))
    layers = [
        (Conv2D(padding=(1, 1, 1, 1), stride=(2, 2)), (16, 3, 3, 4)),
        (DWConv2D(padding=(1, 1, 1, 1)), (16, 3, 3)),
        (Conv2D(groups=2), (24, 1, 1, 8)),
    ]
    for op, shape in layers:
        weights = random_weights(rng, shape)
        bias = random_bias(rng, weights)
        x = builder.add(op, x, weights=weights, bias=bias)
    x = builder.add(Reshape(shape=(4 * 4 * 24,)), x)
    # most weights are small, as in trained layers
    codes = np.clip(np.rint(rng.laplace(0.0, 15.0, (6, 4 * 4 * 24))), -127, 127).astype(np.int8)
    last = Weights(codes=codes, bits=8, scale=np.full(6, 0.01, np.float32))
    x = builder.add(Linear(), x, weights=last, bias=random_bias(rng, last))
    return builder.graph(builder.add(Softmax(), x))


@pytest.fixture
def samples(graph: Graph, rng: np.random.Generator) -> dict[str, Array]:
    """Smooth images: neighbours have to do with each other."""
    (name,) = graph.inputs
    coarse = rng.integers(-128, 128, (48, 4, 4, 4))
    return {name: np.repeat(np.repeat(coarse, 2, axis=1), 2, axis=2).astype(np.int8)}


def size(graph: Graph, packing: str = "auto") -> int:
    decided = plan(passes.run(graph), HOST, packing)
    return decided.weights_bytes + decided.tables_bytes


def test_a_coarser_model_fits_and_is_compiled_as_any_other(
    graph: Graph, samples: dict[str, Array], tmp_path: Path
) -> None:
    """The limit is what the user has; C and simulation must agree on the new model too."""
    limit = size(graph) * 6 // 10

    smaller = coarsen(graph, samples, HOST, weights=limit)

    assert 0.8 * limit < size(smaller) <= limit
    codeq_compile.compile(smaller, tmp_path / "library", target="host", weights=limit)
    assert 0 == codeq_compile.check(tmp_path / "library", inputs=samples).bytes_differing
    bits = {node.name: node.weights.bits for node in smaller.nodes if node.weights is not None}
    told = dict(each.rsplit(":", 1) for each in smaller.provenance["coarsened"].split())
    assert told == {name: str(width) for name, width in bits.items() if width < 8}
    assert {name: kind.grid for name, kind in graph.tensors.items()} == {
        name: kind.grid for name, kind in smaller.tensors.items()
    }


def test_more_bytes_are_closer_to_the_model(graph: Graph, samples: dict[str, Array]) -> None:
    """Who gives more flash wants to see it."""
    whole = size(graph)
    told = [
        compare(graph, coarsen(graph, samples, HOST, weights=whole * share // 100), samples)
        for share in (90, 45)
    ]

    assert told[0].steps < told[1].steps


def test_prefix_codes_leave_more_bits(graph: Graph, samples: dict[str, Array]) -> None:
    """The widths are chosen for the packing that the library will have."""
    limit = size(graph) * 6 // 10
    smaller = coarsen(graph, samples, HOST, weights=limit, packing="small")

    assert size(smaller, "small") <= limit < size(smaller)


def test_a_model_that_fits_stays_as_it_is(graph: Graph, samples: dict[str, Array]) -> None:
    """Nothing is lost without a need."""
    same = coarsen(graph, samples, HOST, weights=size(graph))
    told = compare(graph, same, samples)

    assert "" == same.provenance["coarsened"]
    assert (1.0, 0.0) == (told.same_answer, told.steps)


def test_accuracies_are_those_of_both_models(graph: Graph, samples: dict[str, Array]) -> None:
    """The loss that was asked for is told in what the user cares for."""
    smaller = coarsen(graph, samples, HOST, weights=size(graph) // 2)
    (name,) = graph.outputs
    answers = [
        simulate(passes.run(each), samples)[name].reshape(48, -1).argmax(axis=1)
        for each in (graph, smaller)
    ]

    told = compare(graph, smaller, samples, labels=answers[0])

    assert 1.0 == told.accuracy_before
    assert np.mean(answers[0] == answers[1]) == told.accuracy_after == told.same_answer
    with pytest.raises(InputError, match="48 labels are needed"):
        compare(graph, smaller, samples, labels=answers[0][:5])


def test_what_cannot_be_done_is_told(graph: Graph, samples: dict[str, Array]) -> None:
    """Each message says what would help."""
    with pytest.raises(DoesNotFit, match=r"two bits for every layer are still \d+ bytes too"):
        coarsen(graph, samples, HOST, weights=size(graph) // 9)
    with pytest.raises(InputError, match='for the packing "auto" or "small"'):
        coarsen(graph, samples, HOST, weights=999, packing="rle")
    with pytest.raises(InputError, match="no samples"):
        coarsen(graph, {name: x[:0] for name, x in samples.items()}, HOST, weights=999)


def test_constants_and_layers_without_weights_are_left_alone(
    graph: Graph, samples: dict[str, Array]
) -> None:
    """Only weights become coarser."""
    smaller = coarsen(graph, samples, HOST, weights=size(graph) // 2)
    native = passes.run(graph)

    for before, after in zip(native.nodes, smaller.nodes, strict=True):
        assert (before.name, before.op, before.inputs) == (after.name, after.op, after.inputs)
        if before.weights is None:
            assert replace(before, params=None) is not after
            assert after.weights is None
