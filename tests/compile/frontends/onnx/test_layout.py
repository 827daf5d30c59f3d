# SPDX-License-Identifier: Apache-2.0
"""Layouts: what numpy does to an array, done to the knowledge of where its elements stand."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from codeq_compile.frontends.onnx.layout import Layout, channels_last

SHAPES = st.lists(st.integers(1, 4), min_size=1, max_size=5).map(tuple)


def in_memory(array: np.ndarray, layout: Layout) -> list[int]:
    """The elements as they stand in memory."""
    return array.reshape(-1)[layout.positions()].tolist()


@st.composite
def layouts(draw: st.DrawFn) -> tuple[tuple[int, ...], Layout, list[int]]:
    """(shape, layout, numbers of the elements in memory)."""
    shape = draw(SHAPES)
    axes = draw(st.permutations(range(len(shape))))
    numbers = np.arange(math.prod(shape)).reshape(shape).transpose(axes)
    return shape, Layout.of(shape, axes), numbers.reshape(-1).tolist()


@given(layouts())
def test_a_layout_knows_where_elements_stand(case: tuple) -> None:
    """Weights of a linear layer are sorted by it."""
    shape, layout, memory = case

    assert memory == in_memory(np.arange(len(memory)), layout)
    assert (layout == Layout.plain(shape)) == (memory == sorted(memory))


@given(layouts(), st.data())
def test_a_transpose_moves_nothing(case: tuple, data: st.DataObject) -> None:
    """ONNX sees other positions, memory is what it was."""
    shape, layout, memory = case
    axes = data.draw(st.permutations(range(len(shape))))
    moved = layout.transposed(shape, axes)

    assert moved is not None
    # numbers that the elements have after the transpose
    numbers = np.arange(math.prod(shape)).reshape(shape).transpose(axes)
    assert memory == in_memory(numbers, moved)
    back = [list(axes).index(axis) for axis in range(len(shape))]
    assert layout == moved.transposed(tuple(shape[axis] for axis in axes), back)


@given(layouts(), st.data())
def test_the_way_to_another_layout_is_a_transpose(case: tuple, data: st.DataObject) -> None:
    """What a layer needs in another order is moved once."""
    shape, layout, memory = case
    other = Layout.of(shape, data.draw(st.permutations(range(len(shape)))))
    way = layout.way_to(other)

    assert way is not None
    extents, axes = way
    moved = np.array(memory).reshape(extents).transpose(axes).reshape(-1)
    assert in_memory(np.arange(len(memory)), other) == moved.tolist()


@given(layouts())
def test_the_order_of_axes_is_that_of_memory(case: tuple) -> None:
    """Slices and joints happen along an axis of the tensor in memory."""
    shape, layout, memory = case
    order = layout.axis_order(shape)

    assert order is not None
    assert sorted(order) == list(range(len(shape)))
    numbers = np.arange(len(memory)).reshape(shape).transpose(order)
    assert memory == numbers.reshape(-1).tolist()


def test_a_reshape_can_tear_an_axis_apart() -> None:
    """Then it is in no one place, and a transpose is needed."""
    image = Layout.of((1, 6, 4, 5), channels_last(4))

    assert (0, 2, 3, 1) == image.axis_order((1, 6, 4, 5))
    assert image.axis_order((1, 120)) is None
    assert image.split((8, 15)) is None


def test_equal_memory_is_an_equal_layout() -> None:
    """Else tensors would be moved to where they are."""
    assert Layout.of((1, 6, 4, 5), channels_last(4)) == Layout.of((1, 6, 20), channels_last(3))
    assert Layout.plain((1, 6, 1, 1)) == Layout.of((1, 6, 1, 1), channels_last(4))
    assert Layout.plain(()) == Layout.plain((1, 1))
