# SPDX-License-Identifier: Apache-2.0
"""Integer sums of products in the fastest type that holds every partial sum exactly."""

from collections.abc import Iterator

import numpy as np

from codeq_compile.ir.op import Array
from codeq_compile.numerics import Int8Array
from codeq_compile.ops.base import Padding

Lane = type[np.int16] | type[np.float32] | type[np.float64]
"""Element type in which sums of products are exact."""

_BLOCK_ELEMENTS = 64 * 1024
"""Of the largest array of a block: its floats fit an L2 cache, and malloc keeps them mapped."""


def blas_dtype(weights: Int8Array) -> Lane:
    """The smallest float that holds every partial sum of int8 inputs with these weights. [N4.3]

    Parameters
    ----------
    weights : int8 array of shape (out_channels, ...)
    """
    return np.float32 if _largest_sum(weights) < 1 << 24 else np.float64


def lane_dtype(weights: Int8Array) -> Lane:
    """The smallest type of numpy's vector loops that holds every partial sum. [N4.3]

    Narrow or sparse weights often fit int16, which needs half the memory traffic of float32.
    """
    return np.int16 if _largest_sum(weights) < 1 << 15 else blas_dtype(weights)


def _largest_sum(weights: Int8Array) -> int:
    magnitude = np.abs(weights.reshape(len(weights), -1).astype(np.int64)).sum(axis=1)
    return 128 * int(magnitude.max())


def blocks(batch: int, elements: int) -> Iterator[slice]:
    """Slices of the batch that keep arrays of `elements` values a sample in the cache."""
    step = max(1, _BLOCK_ELEMENTS // elements)
    return (slice(start, start + step) for start in range(0, batch, step))


def padded(x: Int8Array, padding: Padding, value: int, dtype: Lane) -> Array:
    """Images (batch, h, w, c) with a border of `value`, in another type."""
    if not any(padding):
        return x.astype(dtype)
    top, bottom, left, right = padding
    batch, h, w, c = x.shape
    result = np.full((batch, top + h + bottom, left + w + right, c), value, dtype)
    result[:, top : top + h, left : left + w] = x
    return result
