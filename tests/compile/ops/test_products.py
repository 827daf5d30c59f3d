# SPDX-License-Identifier: Apache-2.0
"""Exact matrix products in floats, and the blocks they work in."""

import numpy as np
import pytest

from codeq_compile.ops.products import blas_dtype, blocks, lane_dtype, padded
from tests.graphs import random_int8


@pytest.mark.parametrize(
    ("inputs", "value", "expected"),
    [
        (1032, 127, np.float32),  # 128 · 127 · 1032 = 16 776 192 < 2^24
        (1033, 127, np.float64),
        (1024, -128, np.float64),  # 128 · 128 · 1024 = 2^24
        (1023, -128, np.float32),
    ],
)
def test_float32_is_taken_exactly_as_long_as_every_sum_fits_it(inputs, value, expected):
    """One bit too far and the largest sums lose their last bit. [N4.3]"""
    weights = np.full((2, inputs), value, np.int8)
    weights[1] = 0

    dtype = blas_dtype(weights)
    x = np.full(inputs, -128, np.int8)

    assert dtype is expected
    exact = sum(-128 * int(w) for w in weights[0])
    assert exact == int(x.astype(dtype) @ weights[0].astype(dtype))


@pytest.mark.parametrize(
    ("inputs", "expected"), [(2, np.int16), (3, np.float32), (1033, np.float64)]
)
def test_int16_is_taken_exactly_as_long_as_every_sum_fits_it(inputs, expected):
    """Wrapped sums would look like ordinary activations. [N4.3]"""
    weights = np.full((1, inputs), 127, np.int8)  # 128 · 127 · 2 = 32 512 < 2^15

    assert lane_dtype(weights) is expected


@pytest.mark.parametrize("elements", [1, 1000, 10**9])
def test_blocks_cover_the_batch_once(elements):
    """A gap would leave samples undefined."""
    covered = [i for block in blocks(103, elements) for i in range(103)[block]]

    assert list(range(103)) == covered


def test_padding_surrounds_the_image(rng):
    """Padding is the input's zero point, not 0."""
    x = random_int8(rng, (2, 3, 4, 2))

    result = padded(x, (1, 2, 3, 0), -7, np.float32)

    assert (2, 6, 7, 2) == result.shape
    np.testing.assert_array_equal(x, result[:, 1:4, 3:])
    assert {-7.0} == set(np.delete(result, (1, 2, 3), axis=1).ravel().tolist())
    assert {-7.0} == set(result[:, :, :3].ravel().tolist())
