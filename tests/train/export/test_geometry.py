# SPDX-License-Identifier: Apache-2.0
"""Windows over sequences are windows of height 1."""

from codeq_train.export.geometry import flat, padding_of, pair
from codeq_train.layers import Window


def test_a_sequence_gets_a_height_of_one() -> None:
    """One kernel serves images and sequences."""
    window = Window(kernel=(5,), stride=(2,), dilation=(3,), padding=((1, 2),))

    image = flat(window)

    assert ((1, 5), (1, 2), (1, 3)) == (image.kernel, image.stride, image.dilation)
    assert (0, 0, 1, 2) == padding_of(image)


def test_an_image_stays() -> None:
    """Rows come first in both worlds."""
    window = Window(kernel=(3, 2), stride=(1, 1), dilation=(1, 1), padding=((1, 2), (3, 4)))

    assert window == flat(window)
    assert (1, 2, 3, 4) == padding_of(window)
    assert (3, 2) == pair(window.kernel)
