# SPDX-License-Identifier: Apache-2.0
"""Types of the IR: what they refuse and what they compute."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeq_compile.errors import SpecViolation
from codeq_compile.ir import DType, Grid, Packed, TensorType, Weights
from tests.strategies import grids, weights


@pytest.mark.parametrize(
    ("scale", "zero_point", "message"),
    [
        (0.0, 0, "must be positive"),
        (-1.0, 0, "must be positive"),
        (float("nan"), 0, "must be positive"),
        (float("inf"), 0, "must be positive"),
        (0.1, 0, "not a float32"),
        (1e300, 0, "not a float32"),
        (1e-300, 0, "not a float32"),
        (0.5, 128, r"zero point 128 is outside \[-128, 127\]"),
        (0.5, -129, r"zero point -129 is outside"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_a_grid_that_cannot_be_stored_is_refused(
    scale: float, zero_point: int, message: str
) -> None:
    """Files hold float32: any other scale would come back as another one. [N3.1]"""
    with pytest.raises(SpecViolation, match=f"N3.1: .*{message}"):
        Grid(scale=scale, zero_point=zero_point)


def test_quantizing_takes_the_nearest_integer_with_ties_away_from_zero() -> None:
    """The C programmer who fills the input buffer uses the same rule. [N3.2]"""
    grid = Grid(scale=0.5, zero_point=10)
    real = np.array([0.24, 0.25, -0.25, -0.74, 1000.0, -1000.0])

    assert [10, 11, 9, 9, 127, -128] == grid.quantize(real).tolist()


@given(grids(), st.integers(-128, 127))
def test_an_integer_survives_its_real_value(grid: Grid, q: int) -> None:
    """Inputs given as floats on the grid are the integers that were meant. [N3.2]"""
    values = np.array([q], np.int8)

    np.testing.assert_array_equal(values, grid.quantize(grid.dequantize(values)))


def test_a_tensor_knows_its_size_and_name() -> None:
    """Buffers of s32 tensors are four times as long."""
    kind = TensorType(shape=(2, 3), dtype=DType.S32)

    assert (6, 24, "s32[2,3]") == (kind.elements, kind.bytes, str(kind))
    with pytest.raises(SpecViolation, match=r"s32\[2,3\] tensor has no grid"):
        _ = kind.scale


ROW = np.array([[1, -1, 0]], np.int8)
SCALE = np.ones(1, np.float32)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bits": 0}, "width 0"),
        ({"bits": 9}, "width 9"),
        ({"codes": ROW.astype(np.int16)}, "int8 array"),
        ({"codes": ROW[0]}, "int8 array"),
        ({"codes": ROW[:, :0]}, "non-empty"),
        ({"scale": np.ones(1)}, "float32"),
        ({"scale": np.ones(2, np.float32)}, "one a tensor or a channel"),
        ({"scale": np.array([np.nan], np.float32)}, "positive and finite"),
        ({"scale": np.zeros(1, np.float32)}, "positive and finite"),
        ({"bits": 1}, "1-bit weights need a table"),
        ({"codes": 2 * ROW, "bits": 2}, "codes -2..2 do not fit 2 bits"),
        ({"codes": ROW * -128, "bits": 8, "gap": 1}, "codes -128..0 do not fit 8 bits"),
        ({"codes": ROW * -8, "bits": 4}, "codes -8..8 do not fit"),
        ({"gap": -1}, "gap -1"),
        ({"gap": 127}, "gap 127"),
        ({"codes": ROW * 127, "bits": 8, "gap": 1}, "gap 1"),
        ({"levels": (0, 1)}, "leave the table"),
        ({"codes": ROW % 3, "levels": (0, 1)}, "leave the table"),
        ({"codes": ROW % 3, "levels": (0, 1, 200)}, "must be int8"),
        ({"codes": ROW % 3, "levels": ()}, "at most"),
        ({"codes": ROW % 3, "bits": 1, "levels": (0, 1, 2)}, "at most"),
        ({"codes": ROW % 3, "bits": 8, "levels": (0, 1, 2)}, "at most"),
        ({"codes": ROW % 3, "gap": 1, "levels": (0, 1, 2)}, "at most"),
    ],
)
def test_weights_that_no_kernel_could_decode_are_refused(
    changes: dict[str, Any], message: str
) -> None:
    """What is let through here ends as wrong bytes in flash. [N3.3]"""
    with pytest.raises(SpecViolation, match=f"N3.3: .*{message}"):
        Weights(**{"codes": ROW, "bits": 4, "scale": SCALE, **changes})


def test_an_imported_layer_may_hold_the_lowest_int8() -> None:
    """TFLite files do. [N3.3]"""
    layer = Weights(codes=np.array([[-128, 127]], np.int8), bits=8, scale=SCALE)

    assert [[-128, 127]] == layer.values.tolist()


@given(weights())
def test_values_are_computed_wide_enough(layer: Weights) -> None:
    """i + gap · sign(i), compared with Python's integers. [N3.4]"""
    codes = layer.codes.ravel().tolist()
    expected = [code + layer.gap * ((code > 0) - (code < 0)) for code in codes]
    if layer.levels is not None:
        expected = [layer.levels[code] for code in codes]

    assert expected == layer.values.ravel().tolist()
    assert expected.count(0) / len(expected) == pytest.approx(layer.zeros)


def test_only_a_two_bit_grid_without_gap_is_ternary() -> None:
    """With a gap of 5 the weights are -6, 0 and 6: the ternary codec has no place for it."""
    assert Weights(codes=ROW, bits=2, scale=SCALE).is_ternary
    assert not Weights(codes=ROW, bits=2, scale=SCALE, gap=5).is_ternary
    assert not Weights(codes=ROW, bits=3, scale=SCALE).is_ternary
    assert not Weights(codes=ROW % 3, bits=2, scale=SCALE, levels=(-1, 0, 1)).is_ternary


def test_a_table_of_levels_counts_as_flash() -> None:
    """`auto` would choose too large a packing if it were free."""
    assert 5 == Packed(packing="dense", bits=1, data=b"abc", levels=(-1, 1)).bytes
