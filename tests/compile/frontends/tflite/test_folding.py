# SPDX-License-Identifier: Apache-2.0
"""Shapes that the file computes at run time are computed when it is imported."""

import numpy as np
import pytest

pytest.importorskip("tflite_micro", reason="its schema writes the files that are read here")

from codeq_compile.errors import UnsupportedOp
from codeq_compile.frontends.tflite.folding import MAX_FOLDED
from tests import imports
from tests.tflite_author import File


def test_a_reshape_by_computed_numbers_needs_no_operator(rng: np.random.Generator) -> None:
    """TensorFlow writes the batch of a reshape as SHAPE, STRIDED_SLICE and PACK."""
    file = File()
    x = file.tensor((1, 2, 3, 4), scale=0.1, zero_point=3)
    shape = file.tensor((4,), "INT32")
    batch = file.tensor((), "INT32")
    wanted = file.tensor((2,), "INT32")
    y = file.tensor((1, 24), scale=0.1, zero_point=3)
    zero, one = (file.constant(np.array([i], np.int32)) for i in (0, 1))
    rest = file.constant(np.array(24, np.int32))
    file.operator("SHAPE", [x], [shape], "ShapeOptions", outType=2)
    sliced = [shape, zero, one, one]
    file.operator("STRIDED_SLICE", sliced, [batch], "StridedSliceOptions", shrinkAxisMask=1)
    file.operator("PACK", [batch, rest], [wanted], "PackOptions", valuesCount=2)
    file.operator("RESHAPE", [x, wanted], [y], "ReshapeOptions")

    imports.check(rng, file, [x], [y])
    assert 1 == len(imports.imported(file, [x], [y]).nodes)


@pytest.mark.parametrize(
    ("kind", "operands", "result"),
    [
        ("ADD", ([2, 3], [4, 5]), [6, 8]),
        ("SUB", ([2, 3], [4, 5]), [-2, -2]),
        ("MUL", ([2, 3], [4, 5]), [8, 15]),
        ("CONCATENATION", ([2], [4, 5]), [2, 4, 5]),
        ("PACK", ([2, 3], [4, 5]), [2, 3, 4, 5]),
        ("SQUEEZE", ([[2, 3]],), [2, 3]),
    ],
)
def test_integers_are_folded(kind: str, operands: tuple, result: list[int]) -> None:
    """A border that is computed from constants is a constant."""
    from codeq_compile.frontends.tflite import schema
    from codeq_compile.frontends.tflite.folding import fold
    from codeq_compile.frontends.tflite.layer import Building, Kernels, Layer

    file = File()
    inputs = [file.constant(np.array(each, np.int32)) for each in operands]
    y = file.tensor((len(result),), "INT32")
    file.operator(kind, inputs, [y])
    building = Building(kernels=Kernels.TFLM)
    (operator,) = schema.read(file.bytes([], [y])).operators

    assert fold(Layer(building, operator))
    assert result == building.folded[y].tolist()


@pytest.mark.parametrize(
    ("fields", "limits", "message"),
    [
        ({"ellipsisMask": 1}, ([0], [1], [1]), "ellipsis"),
        ({}, ([0], [1], [0]), "do not fit"),
        ({}, ([0, 0], [1, 1], [1, 1]), "do not fit"),
        ({"shrinkAxisMask": 1}, ([9], [10], [1]), "position 9 of 4"),
        ({"shrinkAxisMask": 1}, ([1], [2], [-1]), "in steps of -1"),
    ],
)
def test_a_slice_that_selects_nothing_is_refused(fields: dict, limits: tuple, message: str) -> None:
    """A damaged limit must not end in an IndexError."""
    file = File()
    x = file.tensor((1, 2, 3, 4), scale=0.1)
    shape, y = file.tensor((4,), "INT32"), file.tensor((1,), "INT32")
    z = file.tensor((1, 24), scale=0.1)
    operands = [file.constant(np.array(each, np.int32)) for each in limits]
    file.operator("SHAPE", [x], [shape], "ShapeOptions", outType=2)
    file.operator("STRIDED_SLICE", [shape, *operands], [y], "StridedSliceOptions", **fields)
    file.operator("RESHAPE", [x, y], [z])

    with pytest.raises(UnsupportedOp, match=message):
        imports.imported(file, [x], [z])


@pytest.mark.parametrize(
    ("kind", "operands", "fields"),
    [
        ("PACK", ([1, 2], [3]), {}),
        ("PACK", ([1, 2], [3, 4]), {"axis": 7}),
        ("CONCATENATION", ([[1, 2]], [3]), {}),
        ("CONCATENATION", ([1, 2], [3]), {"axis": 5}),
        ("ADD", ([1, 2], [1, 2, 3]), {}),
    ],
)
def test_operands_that_contradict_each_other_are_refused(
    kind: str, operands: tuple, fields: dict
) -> None:
    """A damaged shape or axis must not end in an error of numpy."""
    file = File()
    x, y = (file.tensor((1, 6), scale=0.1) for _ in range(2))
    shape = file.tensor((3,), "INT32")
    inputs = [file.constant(np.array(each, np.int32)) for each in operands]
    options = {"PACK": "PackOptions", "ADD": "AddOptions"}.get(kind, "ConcatenationOptions")
    file.operator(kind, inputs, [shape], options, **fields)
    file.operator("RESHAPE", [x, shape], [y])

    with pytest.raises(UnsupportedOp, match=f"operator 0 {kind} .* do not fit"):
        imports.imported(file, [x], [y])


def test_what_is_folded_is_short() -> None:
    """One constant that is joined to itself many times could fill the memory."""
    file = File()
    x, y = (file.tensor((1, 6), scale=0.1) for _ in range(2))
    shape = file.tensor((2,), "INT32")
    part = file.constant(np.ones(MAX_FOLDED, np.int32))
    file.operator("CONCATENATION", [part] * 9, [shape], "ConcatenationOptions")
    file.operator("RESHAPE", [x, shape], [y])

    with pytest.raises(UnsupportedOp, match=r"operator 0 CONCATENATION .*int8 is expected"):
        imports.imported(file, [x], [y])
