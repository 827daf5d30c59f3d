# SPDX-License-Identifier: Apache-2.0
"""Where things are, as C."""

from codeq_compile.emit.names import choose
from codeq_compile.emit.pointers import at, place, scratch
from tests.libraries import hostile, planned, small_conv


def test_the_beginning_of_the_arena_needs_no_sum() -> None:
    """`bytes + 0` makes a reader wonder."""
    assert ["bytes", "bytes + 12"] == [at(0), at(12)]


def test_a_tensor_is_named_by_its_buffer() -> None:
    """A parameter of the function, or a pointer into the arena: a view is where its input is."""
    plan = planned(small_conv())
    names = choose(plan)

    words = {tensor: place(plan, names, tensor) for tensor in plan.graph.tensors}

    assert {"x0": "x0", "stem.out": "t01", "flatten.out": "t01", "head.out": "head_out"} == words


def test_a_layer_without_scratch_is_given_none() -> None:
    """A pointer to bytes of others invites a kernel to use them."""
    for plan in (planned(small_conv()), planned(hostile())):
        for layer in plan.layers:
            expected = "NULL"
            if layer.scratch_bytes:
                expected = at(plan.memory.scratch[layer.node.name])
            assert expected == scratch(plan, layer.node)
