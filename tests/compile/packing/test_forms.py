# SPDX-License-Identifier: Apache-2.0
"""Other ways to write the integers of a layer. [N3.5]"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeq_compile.ir import Weights
from codeq_compile.packing import applicable, forms, pack, unpack
from tests.compile.packing.layers import row
from tests.strategies import weights


def kinds(layer: Weights) -> list[tuple[int, int, int]]:
    """Width, gap and levels of each form."""
    return [(each.bits, each.gap, len(each.levels or ())) for each in forms(layer)]


@given(
    st.lists(st.integers(-128, 127), min_size=1, max_size=40, unique=True),
    st.integers(0, 2**32 - 1),
)
def test_every_form_is_the_same_layer(values: list[int], seed: int) -> None:
    """Widths may change; an integer that the layer multiplies with, or its scale, may not."""
    codes = np.random.default_rng(seed).choice(np.array(values, np.int8), 60).tolist()
    layer = row(codes, bits=8, rows=3)

    for form in forms(layer):
        np.testing.assert_array_equal(layer.values, form.values)
        assert form.scale is layer.scale
        for name in applicable(form, ["dense", "ternary", "bitmask", "rle"]):
            np.testing.assert_array_equal(layer.values, unpack(pack(form, name), (3, 20)))


@pytest.mark.parametrize(
    ("values", "narrower"),
    [
        ([-7, 3, 0, 7], [(4, 0, 0), (4, 2, 0), (2, 0, 4)]),
        ([-8, 0, 1, 2], [(5, 0, 0), (2, 0, 4)]),
        ([0, 90, -90], [(2, 89, 0), (2, 0, 3)]),
        ([100, -104, 0, 101, 107, -103], [(5, 99, 0), (3, 0, 6)]),
        ([-128, 0, 127], [(2, 0, 3)]),
        ([0, 0, 0], [(1, 0, 1)]),
        (list(range(-127, 128)), []),
    ],
)
def test_the_narrowest_grids_and_the_table_are_found(
    values: list[int], narrower: list[tuple[int, int, int]]
) -> None:
    """A width too much is flash for nothing."""
    assert [(8, 0, 0), *narrower] == kinds(row(values, bits=8))


@given(weights())
def test_what_was_trained_stays_as_it_is(layer: Weights) -> None:
    """The trainer's account of bytes and the plan's must be the same."""
    if (layer.bits, layer.gap) != (8, 0):
        assert (layer,) == forms(layer)
