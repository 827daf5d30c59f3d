# SPDX-License-Identifier: Apache-2.0
"""The order of elements in memory, against numpy's own transposes."""

import numpy as np
import pytest

from codeq_train.layout import candidates, image, image_shape, ir_shape, plain


def memory(values: np.ndarray, order: np.ndarray) -> np.ndarray:
    return values.ravel()[order]


@pytest.mark.parametrize("shape", [(3, 4, 5), (6, 7)])
def test_an_image_stands_channels_last(shape: tuple[int, ...]) -> None:
    """That is the order in which every kernel reads."""
    values = np.arange(np.prod(shape)).reshape(shape)

    expected = np.moveaxis(values, 0, -1)

    assert np.array_equal(expected.ravel(), memory(values, image(shape).order))
    assert expected.shape == image_shape(shape)[-expected.ndim :]


def test_a_permutation_relabels_without_moving() -> None:
    """(length, channels) transposed is a sequence (channels, length) in the same bytes."""
    turned = plain((128, 6)).permuted((1, 0))

    assert (6, 128) == turned.shape
    assert turned.is_image
    assert not turned.is_plain


def test_any_chain_of_permutations_agrees_with_numpy(rng: np.random.Generator) -> None:
    """Layers behind several transposes must find the right element."""
    values = rng.integers(0, 1000, (3, 4, 5))
    layout, turned = plain(values.shape), values
    before = memory(values, layout.order)
    for _ in range(4):
        axes = tuple(int(n) for n in rng.permutation(3))
        layout, turned = layout.permuted(axes), turned.transpose(axes)

        assert turned.shape == layout.shape
        assert np.array_equal(before, memory(turned, layout.order))


def test_a_flattened_image_is_neither_plain_nor_an_image() -> None:
    """A linear layer behind it must permute its columns."""
    flat = image((3, 4, 5)).reshaped((60,))

    assert not flat.is_plain
    assert not flat.is_image


def test_one_channel_needs_no_choice() -> None:
    """Both orders are the same bytes."""
    assert 1 == len(candidates((1, 49, 10)))
    assert 2 == len(candidates((2, 49, 10)))
    assert 1 == len(candidates((10,)))


def test_unconstrained_shapes_are_the_natural_ones() -> None:
    """The header of the emitted library shows them."""
    assert (49, 10, 2) == ir_shape(image((2, 49, 10)))
    assert (1, 128, 6) == ir_shape(image((6, 128)))
    assert (128, 6) == ir_shape(plain((128, 6)))
