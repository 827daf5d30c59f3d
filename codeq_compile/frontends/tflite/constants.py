# SPDX-License-Identifier: Apache-2.0
"""Stored values of a tensor as an array: int4 is unpacked, sparse tensors become dense."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from codeq_compile.errors import Damaged
from codeq_compile.frontends.tflite.schema import Dimension, ElementType, Sparsity, Tensor
from codeq_compile.ir.op import Array
from codeq_compile.numerics import Int64Array

_DTYPES: Mapping[ElementType, str] = {
    ElementType.FLOAT32: "<f4",
    ElementType.INT8: "i1",
    ElementType.UINT8: "u1",
    ElementType.INT16: "<i2",
    ElementType.INT32: "<i4",
    ElementType.INT64: "<i8",
}

MAX_DENSE = 1 << 26
"""Elements of a sparse tensor: a few bytes of a damaged file could ask for any number."""


def values(tensor: Tensor) -> Array:
    """The values of a constant, as an array of its shape.

    Raises
    ------
    Damaged
        There are more or fewer bytes than the shape needs, or the sparse indices contradict it.
    """
    stored = _stored(tensor)
    if tensor.sparsity is not None:
        return _dense(tensor, tensor.sparsity, stored)
    if len(stored) < tensor.elements:
        raise Damaged(
            f"tensor {tensor.label} has {len(stored)} stored values, its shape "
            f"{list(tensor.shape)} needs {tensor.elements}"
        )
    return stored[: tensor.elements].reshape(tensor.shape)


def _stored(tensor: Tensor) -> Array:
    assert tensor.data is not None, "only constants have values"
    if tensor.kind is ElementType.INT4:
        return _nibbles(np.frombuffer(tensor.data, np.uint8))
    dtype = np.dtype(_DTYPES.get(tensor.kind, "u1"))
    return np.frombuffer(tensor.data, dtype, len(tensor.data) // dtype.itemsize)


def _nibbles(packed: Array) -> Array:
    """Two int4 a byte, the lower one first."""
    pairs = np.stack([packed << 4, packed & 0xF0], axis=1).astype(np.uint8)
    return (pairs.view(np.int8) >> 4).reshape(-1)


def _dense(tensor: Tensor, sparsity: Sparsity, stored: Array) -> Array:
    """The dense values of a sparse tensor: absent ones are its zero point, 0 for weights."""
    rank = len(tensor.shape)
    _check_axes(tensor, sparsity)
    positions = _positions(tensor, sparsity.dimensions, len(stored))
    if len(positions) > len(stored) or tensor.elements > MAX_DENSE:
        raise Damaged(
            f"sparse tensor {tensor.label} of {tensor.elements} elements has {len(positions)} "
            f"positions for {len(stored)} stored values"
        )
    # an axis that is split into blocks: position = position of the block · size + position in it
    blocks = [1] * rank
    for level, axis in enumerate(sparsity.block_map):
        blocks[axis] = sparsity.dimensions[rank + level].size
    place = np.zeros((len(positions), rank), np.int64)
    for level, axis in enumerate(sparsity.order):
        if axis < rank:
            place[:, axis] += positions[:, level] * blocks[axis]
        else:
            place[:, sparsity.block_map[axis - rank]] += positions[:, level]
    if (place < 0).any() or (place >= np.array(tensor.shape)).any():
        raise Damaged(f"sparse tensor {tensor.label} has indices outside its shape")
    dense = np.zeros(tensor.shape, stored.dtype)
    dense[tuple(place.T)] = stored[: len(positions)]
    return dense


def _check_axes(tensor: Tensor, sparsity: Sparsity) -> None:
    rank, levels = len(tensor.shape), len(sparsity.dimensions)
    if (
        sorted(sparsity.order) != list(range(levels))
        or levels != rank + len(sparsity.block_map)
        or not all(0 <= axis < rank for axis in sparsity.block_map)
        or len(set(sparsity.block_map)) != len(sparsity.block_map)
        or any(sparsity.dimensions[rank + i].size < 1 for i in range(len(sparsity.block_map)))
    ):
        raise Damaged(f"sparse tensor {tensor.label} walks axes that it does not have")


def _positions(tensor: Tensor, dimensions: Sequence[Dimension], stored: int) -> Int64Array:
    """Position of every stored value along every axis, in the order of storage."""
    found = np.zeros((1, 0), np.int64)
    # an axis has no more positions than the next one has segments, or than there are values
    limit = max([stored, *(len(each.segments) for each in dimensions if each.segments is not None)])
    for dimension in dimensions:
        counts = _counts(tensor, dimension, len(found))
        # before anything of that size is made
        if math.fsum(counts) > limit:
            raise Damaged(f"sparse tensor {tensor.label} has more positions than values")
        if dimension.indices is None or dimension.segments is None:
            column = np.tile(np.arange(dimension.size), len(found))
        else:
            column = dimension.indices[dimension.segments[0] : dimension.segments[-1]]
        found = np.column_stack([np.repeat(found, counts, axis=0), column])
    return found


def _counts(tensor: Tensor, dimension: Dimension, rows: int) -> Int64Array:
    """Positions along an axis in each of the rows before it."""
    if dimension.segments is None or dimension.indices is None:
        return np.full(rows, max(dimension.size, 0), np.int64)
    segments = dimension.segments
    counts: Int64Array = np.diff(segments)
    if (
        len(segments) != rows + 1
        or segments[0] < 0
        or segments[-1] > len(dimension.indices)
        or (counts < 0).any()
    ):
        raise Damaged(f"sparse tensor {tensor.label} has segments that do not fit its indices")
    return counts
