# SPDX-License-Identifier: Apache-2.0
"""Int8 functions in a row."""

import numpy as np
import pytest

from codeq_compile.errors import SpecViolation
from codeq_compile.ops.lut import Lut
from codeq_compile.ops.requantize import Requantize
from codeq_compile.passes.fuse_tables import fuse_tables
from tests.compile.passes.equality import applied, kinds
from tests.graphs import grid, random_int8, s8
from tests.strategies import GraphBuilder


@pytest.fixture
def builder(rng: np.random.Generator) -> GraphBuilder:
    """An input that holds every int8 value often."""
    builder = GraphBuilder(rng)
    builder.input(s8(50, 50, 1))
    return builder


def lut(builder: GraphBuilder, source: str) -> str:
    return builder.add(Lut(), source, table=random_int8(builder.rng, (256,)))


def requantize(builder: GraphBuilder, source: str) -> str:
    return builder.add(Requantize(clamp=(-90, 100)), source, output=grid(0.031, 9))


def test_a_function_of_a_function_is_one_table(builder: GraphBuilder) -> None:
    """One kernel call and 256 bytes instead of two or three."""
    for steps in ([lut, lut], [lut, requantize], [requantize, lut], [requantize, lut, requantize]):
        builder = GraphBuilder(builder.rng)
        source = builder.input(s8(50, 50, 1))
        for step in steps:
            source = step(builder, source)
        graph = applied(fuse_tables, builder.graph(source))

        assert ["lut"] == kinds(graph)
        assert source == graph.nodes[0].output


def test_two_changes_of_grid_are_not_made_a_table(builder: GraphBuilder) -> None:
    """They need no table: 256 bytes of flash would be lost."""
    y = requantize(builder, requantize(builder, "x0"))

    assert ["requantize"] * 2 == kinds(applied(fuse_tables, builder.graph(y)))


def test_a_function_with_other_readers_stays(builder: GraphBuilder) -> None:
    """Its values are needed as they are."""
    y = lut(builder, "x0")

    assert ["lut"] * 2 == kinds(applied(fuse_tables, builder.graph(y, lut(builder, y))))
    z = lut(builder, y)
    assert ["lut"] * 4 == kinds(applied(fuse_tables, builder.graph(lut(builder, y), z, "lut1.out")))


def test_grids_that_no_integers_can_hold_are_told_with_the_layer(builder: GraphBuilder) -> None:
    """The pass computes with the grids before `lower` does."""
    y = builder.add(Requantize(), "x0", output=grid(1e-12, 0), name="tiny")

    with pytest.raises(SpecViolation, match=r'N2\.2: .*layer "tiny"'):
        fuse_tables(builder.graph(lut(builder, y)))
