# SPDX-License-Identifier: Apache-2.0
"""Stored values: plain, packed as int4, and sparse as TFLite's converter writes them."""

from dataclasses import replace

import numpy as np
import pytest

from codeq_compile.errors import Damaged
from codeq_compile.frontends.tflite import constants
from codeq_compile.frontends.tflite.schema import Dimension, ElementType, Sparsity, Tensor


def tensor(shape: tuple[int, ...], data: bytes, kind: ElementType = ElementType.INT8) -> Tensor:
    return Tensor(
        index=0,
        name="w",
        shape=shape,
        kind=kind,
        scale=np.ones(1, np.float32),
        zero_point=np.zeros(1, np.int64),
        axis=0,
        data=memoryview(data),
        is_variable=False,
    )


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        (ElementType.INT8, "<i1"),
        (ElementType.INT16, "<i2"),
        (ElementType.INT32, "<i4"),
        (ElementType.INT64, "<i8"),
        (ElementType.FLOAT32, "<f4"),
    ],
)
def test_values_are_little_endian_and_in_order(kind: ElementType, dtype: str) -> None:
    """Weights in another order are another model."""
    values = np.array([[1, -2, 3], [4, 5, -6]]).astype(dtype)

    np.testing.assert_array_equal(values, constants.values(tensor((2, 3), values.tobytes(), kind)))


def test_two_int4_are_in_a_byte_the_lower_one_first() -> None:
    """Half of the weights would change places."""
    stored = tensor((3,), bytes([0x7F, 0x08]), ElementType.INT4)

    np.testing.assert_array_equal([-1, 7, -8], constants.values(stored))


def test_too_few_values_are_damage() -> None:
    """A truncated file must not be filled up with whatever is there."""
    with pytest.raises(Damaged, match="needs 6"):
        constants.values(tensor((2, 3), bytes(5)))


def test_a_type_that_no_operand_has_is_not_read_as_another() -> None:
    """Halves of float16 would be taken for axes."""
    with pytest.raises(Damaged, match="no constants of that type"):
        constants.values(tensor((3,), bytes(6), ElementType.FLOAT16))


def test_blocks_that_do_not_fill_an_axis_are_damage() -> None:
    """The last block would reach into the next row."""
    sparsity = Sparsity(
        order=(0, 1, 2), block_map=(1,), dimensions=tuple(Dimension(size=n) for n in (2, 1, 2))
    )

    with pytest.raises(Damaged, match="axes of 3 in blocks of 2"):
        constants.values(replace(tensor((2, 3), bytes(6)), sparsity=sparsity))


def compressed_rows(dense: np.ndarray) -> Tensor:
    """Rows dense, columns sparse."""
    segments = np.concatenate([[0], np.cumsum((dense != 0).sum(axis=1))])
    sparsity = Sparsity(
        order=(0, 1),
        block_map=(),
        dimensions=(
            Dimension(size=len(dense)),
            Dimension(size=0, segments=segments, indices=np.nonzero(dense)[1]),
        ),
    )
    return replace(tensor(dense.shape, dense[dense != 0].tobytes()), sparsity=sparsity)


def test_compressed_rows_become_dense(rng: np.random.Generator) -> None:
    """A sparse model is one whose zeros are not in the file: they must be zeros again."""
    dense = rng.integers(-128, 128, (7, 13)).astype(np.int8)
    dense[rng.random(dense.shape) < 0.7] = 0

    np.testing.assert_array_equal(dense, constants.values(compressed_rows(dense)))


def test_blocks_of_four_become_dense(rng: np.random.Generator) -> None:
    """The converter's usual form: blocks of 4 in a row, stored whole where any value is not 0."""
    blocks = rng.integers(-128, 128, (5, 3, 4)).astype(np.int8)
    blocks[rng.random((5, 3)) < 0.5] = 0
    alive = (blocks != 0).any(axis=2)
    sparsity = Sparsity(
        order=(0, 1, 2),
        block_map=(1,),
        dimensions=(
            Dimension(size=5),
            Dimension(
                size=0,
                segments=np.concatenate([[0], np.cumsum(alive.sum(axis=1))]),
                indices=np.nonzero(alive)[1],
            ),
            Dimension(size=4),
        ),
    )
    stored = replace(tensor((5, 12), blocks[alive].tobytes()), sparsity=sparsity)

    np.testing.assert_array_equal(blocks.reshape(5, 12), constants.values(stored))


def test_axes_may_be_walked_in_another_order() -> None:
    """Compressed columns are the same as rows with the axes exchanged."""
    dense = np.array([[0, 5, 0], [7, 0, 0]], np.int8)
    rows = compressed_rows(np.ascontiguousarray(dense.T))
    assert rows.sparsity is not None
    columns = replace(rows, shape=(2, 3), sparsity=replace(rows.sparsity, order=(1, 0)))

    np.testing.assert_array_equal(dense, constants.values(columns))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"order": (0, 0)}, "axes"),
        ({"order": (0,)}, "axes"),
        ({"block_map": (5,)}, "axes"),
        (
            {"dimensions": (Dimension(size=1 << 30), Dimension(size=1 << 30))},
            "more positions than values",
        ),
        (
            {
                "dimensions": (
                    Dimension(size=2),
                    Dimension(size=0, segments=np.array([0, 1]), indices=np.array([0])),
                )
            },
            "segments",
        ),
        (
            {
                "dimensions": (
                    Dimension(size=2),
                    Dimension(size=0, segments=np.array([0, 1, 2]), indices=np.array([0, 9])),
                )
            },
            "outside its shape",
        ),
        (
            {
                "dimensions": (
                    Dimension(size=2),
                    Dimension(size=0, segments=np.array([0, 2, 1]), indices=np.array([0, 1])),
                )
            },
            "segments",
        ),
    ],
)
def test_contradicting_indices_are_damage(change: dict, message: str) -> None:
    """They would write outside of the array, or make one as large as the machine's memory."""
    stored = compressed_rows(np.array([[0, 5, 0], [7, 0, 0]], np.int8))
    assert stored.sparsity is not None

    with pytest.raises(Damaged, match=message):
        constants.values(replace(stored, sparsity=replace(stored.sparsity, **change)))
