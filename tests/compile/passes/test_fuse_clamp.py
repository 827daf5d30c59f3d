# SPDX-License-Identifier: Apache-2.0
"""Activations that stand alone."""

import numpy as np
import pytest

from codeq_compile.ops.add import Add
from codeq_compile.ops.linear import Linear
from codeq_compile.ops.requantize import Requantize
from codeq_compile.ops.reshape import Reshape
from codeq_compile.passes.fuse_clamp import fuse_clamp
from tests.compile.passes.equality import applied, kinds
from tests.graphs import grid, random_weights, s8
from tests.strategies import GraphBuilder


@pytest.fixture
def builder(rng: np.random.Generator) -> GraphBuilder:
    """A linear layer `fc.out`, limited to -50..60, of an input of 6."""
    builder = GraphBuilder(rng)
    layer = random_weights(rng, (20, 6))
    builder.add(Linear(clamp=(-50, 60)), builder.input(s8(6)), weights=layer, name="fc")
    return builder


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ((-10, 127), (-10, 60)),
        ((-128, 20), (-50, 20)),
        ((70, 90), (70, 70)),
        ((-90, -60), (-60, -60)),
        ((-128, 127), (-50, 60)),
    ],
)
def test_limits_are_limited(
    builder: GraphBuilder, limits: tuple[int, int], expected: tuple[int, int]
) -> None:
    """Also where the two have nothing in common: then the second one's nearer end is all."""
    y = builder.add(Requantize(clamp=limits), "fc.out")
    graph = applied(fuse_clamp, builder.graph(y))

    assert ["linear"] == kinds(graph)
    assert Linear(clamp=expected) == graph.nodes[0].op
    assert (y, "fc") == (graph.nodes[0].output, graph.nodes[0].name)


def test_two_clamps_in_a_row_are_absorbed(builder: GraphBuilder) -> None:
    """hardtanh of relu."""
    y = builder.add(Requantize(clamp=(-20, 127)), "fc.out")

    assert ["linear"] == kinds(
        applied(fuse_clamp, builder.graph(builder.add(Requantize(clamp=(-128, 30)), y)))
    )


def test_a_change_of_grid_is_not_absorbed(builder: GraphBuilder) -> None:
    """Two roundings are not one: the result would differ by one here and there."""
    y = builder.add(Requantize(clamp=(0, 127)), "fc.out", output=grid(0.04, 0))

    assert ["linear", "requantize"] == kinds(applied(fuse_clamp, builder.graph(y)))


def test_a_layer_that_others_read_keeps_its_values(builder: GraphBuilder) -> None:
    """A residual branch reads the values before the activation."""
    y = builder.add(Requantize(clamp=(0, 127)), "fc.out")
    z = builder.add(Add(), "fc.out", y)

    assert ["linear", "requantize", "add"] == kinds(applied(fuse_clamp, builder.graph(z)))


def test_a_layer_that_the_caller_reads_keeps_its_values(builder: GraphBuilder) -> None:
    """Both tensors are outputs."""
    y = builder.add(Requantize(clamp=(0, 127)), "fc.out")

    assert ["linear", "requantize"] == kinds(applied(fuse_clamp, builder.graph("fc.out", y)))


def test_a_layer_without_limits_keeps_the_clamp(builder: GraphBuilder) -> None:
    """A reshape has no kernel that could limit, and an input has no layer."""
    view = builder.add(Reshape(shape=(4, 5)), "fc.out")
    y = builder.add(Requantize(clamp=(0, 127)), view)
    z = builder.add(Requantize(clamp=(0, 127)), "x0")

    assert 4 == len(applied(fuse_clamp, builder.graph(y, z)).nodes)
