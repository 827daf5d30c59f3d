# SPDX-License-Identifier: Apache-2.0
"""Windows of torch layers in the order and number of axes that the IR has."""

from codeq_train.layers import Window
from codeq_train.layout import Shape

Pair = tuple[int, int]


def flat(window: Window) -> Window:
    """A window over sequences as one of height 1."""
    if len(window.kernel) == 2:
        return window
    return Window(
        kernel=(1, *window.kernel),
        stride=(1, *window.stride),
        dilation=(1, *window.dilation),
        padding=((0, 0), *window.padding),
    )


def pair(values: Shape) -> Pair:
    """(h, w)."""
    return values[0], values[1]


def padding_of(window: Window) -> tuple[int, int, int, int]:
    """(top, bottom, left, right)."""
    (top, bottom), (left, right) = window.padding
    return top, bottom, left, right
