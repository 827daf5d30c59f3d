# SPDX-License-Identifier: Apache-2.0
"""Walks: the numbers that C's nested loops get."""

import numpy as np

from codeq_compile.ops.walks import Walk, strides


def test_strides_are_those_of_memory_order():
    """numpy has them in bytes."""
    for shape in ((7,), (3, 4), (2, 3, 4, 5)):
        assert np.empty(shape, np.int8).strides == strides(shape)


def test_outer_loops_that_are_missing_turn_once():
    """C always has four loops."""
    walk = Walk(extent=(3, 2), stride=(2, 1), start=5)

    assert {"start": 5, "extent": (1, 1, 3, 2), "stride": (0, 0, 2, 1)} == walk.c_params()
