# SPDX-License-Identifier: Apache-2.0
"""Integer sums of products by BLAS: exact, because every partial sum fits the float's mantissa."""

from collections.abc import Iterator

import numpy as np

from codeq_compile.ir.op import Array
from codeq_compile.numerics import Int8Array
from codeq_compile.ops.base import Padding

_BLOCK_ELEMENTS = 64 * 1024
"""Of the largest array of a block: its floats fit an L2 cache, and malloc keeps them mapped."""


def exact_dtype(weights: Int8Array) -> type[np.float32] | type[np.float64]:
    """The smallest float that holds every partial sum of int8 inputs with these weights. [N4.3]

    Parameters
    ----------
    weights : int8 array of shape (out_channels, ...)
    """
    magnitude = np.abs(weights.reshape(len(weights), -1).astype(np.int64)).sum(axis=1)
    return np.float32 if 128 * int(magnitude.max()) < 1 << 24 else np.float64


def blocks(batch: int, elements: int) -> Iterator[slice]:
    """Slices of the batch that keep arrays of `elements` floats a sample in the cache."""
    step = max(1, _BLOCK_ELEMENTS // elements)
    return (slice(start, start + step) for start in range(0, batch, step))


def padded(
    x: Int8Array, padding: Padding, value: int, dtype: type[np.float32] | type[np.float64]
) -> Array:
    """Images (batch, h, w, c) with a border of `value`, as floats."""
    if not any(padding):
        return x.astype(dtype)
    top, bottom, left, right = padding
    batch, h, w, c = x.shape
    result = np.full((batch, top + h + bottom, left + w + right, c), value, dtype)
    result[:, top : top + h, left : left + w] = x
    return result
