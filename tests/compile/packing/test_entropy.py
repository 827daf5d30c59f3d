# SPDX-License-Identifier: Apache-2.0
"""The bound beside which streams are judged."""

import numpy as np
import pytest

from codeq_compile.packing import entropy_bytes
from tests.compile.packing.layers import row


@pytest.mark.parametrize("bits", range(2, 8))
def test_equally_frequent_weights_need_their_whole_width(bits: int) -> None:
    """2^k values, each as often as any other, cannot be told apart with less than k bits."""
    values = np.tile(np.arange(1 << (bits - 1)), 40).tolist()

    assert len(values) * (bits - 1) // 8 == entropy_bytes(row(values, bits=bits + 1))


def test_one_value_needs_nothing() -> None:
    """A bound of more than nothing would make a good packing look better than it is."""
    assert 0 == entropy_bytes(row([3] * 100, bits=4))


def test_a_half_and_two_quarters_are_a_bit_and_a_half() -> None:
    """Worked out by hand: 1/2 · 1 + 2 · 1/4 · 2 bits, 800 times."""
    assert 150 == entropy_bytes(row([0, 0, 1, -2] * 200, bits=8))
