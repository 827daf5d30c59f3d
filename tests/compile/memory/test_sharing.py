# SPDX-License-Identifier: Apache-2.0
"""Which tensors stand in the same bytes."""

import numpy as np
import pytest

from codeq_compile.errors import ModelError
from codeq_compile.memory import plan_memory
from codeq_compile.memory.sharing import roots_of
from codeq_compile.ops.add import Add
from codeq_compile.ops.concat import Concat
from codeq_compile.ops.lut import Lut
from codeq_compile.ops.maxpool2d import MaxPool2D
from codeq_compile.ops.reshape import Reshape
from tests.graphs import random_int8, s8
from tests.strategies import GraphBuilder

POOL = MaxPool2D(kernel=(1, 1), stride=(1, 1))


@pytest.fixture
def builder(rng: np.random.Generator) -> GraphBuilder:
    """An input `x0` and, behind a pool, a tensor of the arena `t.out` of the same size."""
    builder = GraphBuilder(rng)
    builder.add(POOL, builder.input(s8(4, 4, 2)), name="t")
    return builder


def lut(builder: GraphBuilder, source: str) -> str:
    return builder.add(Lut(), source, table=random_int8(builder.rng, (256,)))


def test_an_elementwise_op_writes_over_its_dying_input(builder: GraphBuilder) -> None:
    """In place is what keeps a chain of activations in one buffer."""
    y = lut(builder, "t.out")
    z = builder.add(POOL, y)
    roots = roots_of(builder.graph(z))

    assert (roots["t.out"], z) == (roots[y], roots[z])


def test_a_sum_of_a_tensor_with_itself_is_in_place(builder: GraphBuilder) -> None:
    """Both reads of element i come before its write."""
    y = builder.add(Add(), "t.out", "t.out")

    assert "t.out" == roots_of(builder.graph(builder.add(POOL, y)))[y]


def test_a_tensor_that_is_read_later_is_kept(builder: GraphBuilder) -> None:
    """Overwriting a residual branch would destroy it."""
    y = lut(builder, "t.out")
    z = builder.add(Add(), y, "t.out")
    roots = roots_of(builder.graph(builder.add(POOL, z)))

    assert roots[y] != roots["t.out"]
    assert roots[z] == roots[y]


def test_a_view_that_is_read_later_keeps_the_bytes(builder: GraphBuilder) -> None:
    """The view and the tensor are one buffer: it lives as long as either."""
    view = builder.add(Reshape(shape=(32,)), "t.out")
    y = lut(builder, "t.out")
    roots = roots_of(builder.graph(y, builder.add(Concat(), view)))

    assert roots["t.out"] == roots[view]
    assert roots[y] != roots["t.out"]


def test_the_callers_input_is_never_written(builder: GraphBuilder) -> None:
    """`const int8_t *` in the C interface is a promise."""
    y = lut(builder, "x0")
    view = builder.add(Reshape(shape=(32,)), "x0")
    z = lut(builder, view)
    roots = roots_of(builder.graph(y, z, "t.out"))

    assert (y, "x0", z) == (roots[y], roots[view], roots[z])


def test_an_output_is_never_overwritten(builder: GraphBuilder) -> None:
    """The caller would find the next layer's values in its buffer."""
    y = lut(builder, "t.out")

    assert y == roots_of(builder.graph("t.out", y))[y]


def test_a_chain_may_end_in_place_in_the_callers_output(builder: GraphBuilder) -> None:
    """The layers before the output then need no arena at all."""
    plan = plan_memory(builder.graph(lut(builder, "t.out")), {})

    assert 0 == plan.arena_bytes
    assert ("output", "lut1.out") == (plan.places["t.out"].kind, plan.places["t.out"].name)


def test_a_smaller_repeated_operand_is_not_written_over(builder: GraphBuilder) -> None:
    """It is shorter than the output: writing there would run over its end."""
    small = builder.add(MaxPool2D(kernel=(4, 4), stride=(1, 1)), "x0")
    y = builder.add(Add(), "t.out", small)
    keep = builder.add(POOL, "t.out")
    roots = roots_of(builder.graph(builder.add(POOL, y), keep))

    assert y == roots[y]


def test_one_buffer_for_two_of_the_callers_is_refused(builder: GraphBuilder) -> None:
    """A view cannot be in two buffers at once: without the copying pass nothing would be."""
    view = builder.add(Reshape(shape=(32,)), "t.out")

    with pytest.raises(ModelError, match=r'"t.out" and "reshape1.out" .* run the pass copy_out'):
        plan_memory(builder.graph("t.out", view), {})
