# SPDX-License-Identifier: Apache-2.0
"""Layers that return their input."""

import numpy as np
import pytest

from codeq_compile import passes
from codeq_compile.ir import Op
from codeq_compile.ops.concat import Concat
from codeq_compile.ops.lut import Lut
from codeq_compile.ops.maxpool2d import MaxPool2D
from codeq_compile.ops.pad import Pad
from codeq_compile.ops.requantize import Requantize
from codeq_compile.ops.reshape import Reshape
from codeq_compile.passes.remove_identity import remove_identity
from codeq_compile.simulate import simulate
from tests.compile.passes.equality import applied, kinds
from tests.graphs import grid, one_op_graph, s8
from tests.strategies import GraphBuilder

POOL = MaxPool2D(kernel=(2, 2), stride=(1, 1))
IDENTITY = np.arange(-128, 128, dtype=np.int8)


@pytest.fixture
def builder(rng: np.random.Generator) -> GraphBuilder:
    """An input of 4 x 4 x 2 and its pooled `p.out` of 3 x 3 x 2."""
    builder = GraphBuilder(rng)
    builder.add(POOL, builder.input(s8(4, 4, 2)), name="p")
    return builder


@pytest.mark.parametrize(
    ("op", "table"),
    [
        (Reshape(shape=(3, 3, 2)), None),
        (Requantize(), None),
        (Pad(), None),
        (Concat(), None),
        (Lut(), IDENTITY),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_an_identity_is_removed(
    builder: GraphBuilder, op: Op[object], table: np.ndarray | None
) -> None:
    """A kernel call that copies costs time, code and RAM for nothing."""
    y = builder.add(op, "p.out", table=table)
    graph = applied(remove_identity, builder.graph(builder.add(POOL, y)))

    assert ["maxpool2d", "maxpool2d"] == kinds(graph)


@pytest.mark.parametrize(
    ("op", "table"),
    [
        (Reshape(shape=(18,)), None),
        (Requantize(clamp=(-128, 100)), None),
        (Pad(after=(1, 0, 0)), None),
        (Concat(), None),
        (Lut(), IDENTITY[::-1].copy()),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_what_is_almost_an_identity_stays(
    builder: GraphBuilder, op: Op[object], table: np.ndarray | None
) -> None:
    """One different byte is a wrong model."""
    inputs = ("p.out", "p.out") if isinstance(op, Concat) else ("p.out",)
    graph = applied(remove_identity, builder.graph(builder.add(op, *inputs, table=table)))

    assert ["maxpool2d", op.kind] == kinds(graph)


def test_another_grid_is_no_identity(builder: GraphBuilder) -> None:
    """The same bytes on another grid are other values to the next layer."""
    y = builder.add(Lut(), "p.out", table=IDENTITY, output=grid(0.1, 4))
    z = builder.add(Requantize(), "p.out", output=grid(0.1, 4))

    assert 3 == len(applied(remove_identity, builder.graph(y, z)).nodes)


@pytest.mark.parametrize("zero_point", [-128, -3, 0, 127])
@pytest.mark.parametrize("scale", [1e-30, 0.007, 0.05, 1.0, 3e30])
def test_requantizing_onto_the_same_grid_changes_no_value(scale: float, zero_point: int) -> None:
    """All 256 values: what `remove_identity`, `fuse_clamp` and `copy_outputs` rely on. [N4.2]"""
    kind = s8(256, scale=scale, zero_point=zero_point)
    graph = one_op_graph(Requantize(), [kind], output=kind.grid)
    (output,) = simulate(passes.run(graph, "literal"), {"x0": IDENTITY[None]}).values()

    np.testing.assert_array_equal(IDENTITY[None], output)


def test_of_several_reshapes_one_is_left(builder: GraphBuilder) -> None:
    """Exporters write flatten after squeeze after view."""
    a = builder.add(Reshape(shape=(18,)), "p.out")
    b = builder.add(Reshape(shape=(1, 1, 18)), a)
    c = builder.add(Reshape(shape=(2, 9)), b)

    assert ["maxpool2d", "reshape"] == kinds(applied(remove_identity, builder.graph(c)))


def test_reshapes_there_and_back_leave_nothing(builder: GraphBuilder) -> None:
    """The second one has another shape than its input, but not than the first one's."""
    a = builder.add(Reshape(shape=(18,)), "p.out")
    b = builder.add(Reshape(shape=(3, 3, 2)), a)

    assert ["maxpool2d"] * 2 == kinds(applied(remove_identity, builder.graph(builder.add(POOL, b))))


def test_the_callers_name_survives(builder: GraphBuilder) -> None:
    """An output keeps its name in the C interface, whoever writes it now."""
    y = builder.add(Requantize(), "p.out", name="y")
    graph = applied(remove_identity, builder.graph(y, builder.add(POOL, "p.out")))

    assert ["y.out", "maxpool2d2.out"] == [node.output for node in graph.nodes]


def test_an_identity_between_two_of_the_callers_buffers_stays(builder: GraphBuilder) -> None:
    """Somebody has to copy."""
    y = builder.add(Requantize(), "p.out")
    z = builder.add(Requantize(), "x0")

    assert 3 == len(applied(remove_identity, builder.graph("p.out", y, z)).nodes)


def test_a_chain_of_identities_disappears(builder: GraphBuilder) -> None:
    """Each removal renames what the next one reads."""
    source = "p.out"
    for _ in range(4):
        source = builder.add(Requantize(), source)

    assert ["maxpool2d"] == kinds(applied(remove_identity, builder.graph(source)))
