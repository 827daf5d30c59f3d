# SPDX-License-Identifier: Apache-2.0
"""Stored values of a tensor as an array: int4 is unpacked, sparse tensors become dense."""

import math
from collections.abc import Mapping

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


def values(tensor: Tensor) -> Array:
    """The values of a constant, as an array of its shape.

    Raises
    ------
    Damaged
        There are fewer bytes than the shape needs, the sparse indices contradict it, or the
        elements are of a type that no operand has.
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
    if tensor.kind not in _DTYPES:
        raise Damaged(f"tensor {tensor.label} is {tensor}: codeq reads no constants of that type")
    dtype = np.dtype(_DTYPES[tensor.kind])
    return np.frombuffer(tensor.data, dtype, len(tensor.data) // dtype.itemsize)


def _nibbles(packed: Array) -> Array:
    """Two int4 a byte, the lower one first."""
    pairs = np.stack([packed << 4, packed & 0xF0], axis=1).astype(np.uint8)
    return (pairs.view(np.int8) >> 4).reshape(-1)


def _dense(tensor: Tensor, sparsity: Sparsity, stored: Array) -> Array:
    """The dense values of a sparse tensor: absent ones are its zero point, 0 for weights."""
    places = _places(tensor, sparsity, len(stored))
    if len(places) > len(stored):
        raise Damaged(
            f"sparse tensor {tensor.label} has {len(places)} positions for {len(stored)} stored "
            "values"
        )
    dense = np.zeros(tensor.elements, stored.dtype)
    dense[places] = stored[: len(places)]
    return dense.reshape(tensor.shape)


def _levels(tensor: Tensor, sparsity: Sparsity) -> list[tuple[int, int]]:
    """(positions, elements from one to the next) of each level of the storage.

    A level walks an axis of the tensor, block by block where it is cut into blocks, or a block.
    """
    rank, count = len(tensor.shape), len(sparsity.dimensions)
    if (
        sorted(sparsity.order) != list(range(count))
        or count != rank + len(sparsity.block_map)
        or not all(0 <= axis < rank for axis in sparsity.block_map)
        or len(set(sparsity.block_map)) != len(sparsity.block_map)
    ):
        raise Damaged(f"sparse tensor {tensor.label} walks axes that it does not have")
    blocks = [1] * rank
    for level, axis in enumerate(sparsity.block_map):
        blocks[axis] = sparsity.dimensions[rank + level].size
        if blocks[axis] < 1 or tensor.shape[axis] % blocks[axis]:
            raise Damaged(
                f"sparse tensor {tensor.label} walks axes of {tensor.shape[axis]} in blocks of "
                f"{blocks[axis]}"
            )
    step = [math.prod(tensor.shape[axis + 1 :]) for axis in range(rank)]
    axes = [
        (n // block, each * block)
        for n, block, each in zip(tensor.shape, blocks, step, strict=True)
    ]
    inner = [(blocks[axis], step[axis]) for axis in sparsity.block_map]
    return [(*axes, *inner)[walked] for walked in sparsity.order]


def _places(tensor: Tensor, sparsity: Sparsity, stored: int) -> Int64Array:
    """Where in the dense tensor each stored value is, in the order of storage."""
    dimensions = sparsity.dimensions
    # a level has no more positions than the next one has segments, or than there are values
    limit = max([stored, *(len(each.segments) for each in dimensions if each.segments is not None)])
    places = np.zeros(1, np.int64)
    for (size, step), dimension in zip(_levels(tensor, sparsity), dimensions, strict=True):
        counts = _counts(tensor, dimension, len(places))
        # before anything of that size is made
        if math.fsum(counts) > min(limit, tensor.elements):
            raise Damaged(f"sparse tensor {tensor.label} has more positions than values")
        if dimension.indices is None or dimension.segments is None:
            column = np.tile(np.arange(dimension.size), len(places))
        else:
            column = dimension.indices[dimension.segments[0] : dimension.segments[-1]]
        if column.size and not 0 <= column.min() <= column.max() < size:
            raise Damaged(f"sparse tensor {tensor.label} has indices outside its shape")
        places = np.repeat(places, counts) + column.astype(np.int64) * step
    return places


def _counts(tensor: Tensor, dimension: Dimension, rows: int) -> Int64Array:
    """Positions of a level in each of the rows before it."""
    if dimension.segments is None or dimension.indices is None:
        return np.full(rows, max(dimension.size, 0), np.int64)
    segments = dimension.segments.astype(np.int64)
    counts: Int64Array = np.diff(segments)
    if (
        len(segments) != rows + 1
        or segments[0] < 0
        or segments[-1] > len(dimension.indices)
        or (counts < 0).any()
    ):
        raise Damaged(f"sparse tensor {tensor.label} has segments that do not fit its indices")
    return counts
