# SPDX-License-Identifier: Apache-2.0
"""Padding as TFLite has it, and imported pools against TFLite Micro's kernels."""

import itertools

import numpy as np
import pytest

pytest.importorskip("tflite_micro", reason="needs the package tflite-micro, the oracle")

from codeq_compile.frontends.tflite.layer import Refusal
from codeq_compile.frontends.tflite.schema import Padding
from codeq_compile.frontends.tflite.windows import padding
from codeq_compile.ops.base import window
from tests import imports
from tests.graphs import Case
from tests.tflite_author import File


def test_same_padding_makes_an_output_for_every_stride_of_input() -> None:
    """The odd pixel goes below and right: elsewhere every image is shifted by one."""
    for n, k, s, d in itertools.product(range(1, 9), range(1, 5), range(1, 4), range(1, 3)):
        top, bottom, left, right = padding(Padding.SAME, (n, 1), (k, 1), (s, 1), (d, 1))

        oh, _ = window("conv2d-C4", (n, 1), (k, 1), (s, 1), (d, 1), (top, bottom, left, right))
        assert -(-n // s) == oh
        assert bottom - top in {0, 1}
        assert 0 == left == right


def test_valid_padding_is_none() -> None:
    """VALID drops the pixels that do not fill a window."""
    assert (0, 0, 0, 0) == padding(Padding.VALID, (5, 5), (3, 3), (2, 2))


@pytest.mark.parametrize(("kind", "stride"), [(7, 1), (0, 0), (0, -1)])
def test_a_damaged_window_is_refused(kind: int, stride: int) -> None:
    """A stride of 0 would divide by it."""
    with pytest.raises(Refusal):
        padding(kind, (5, 5), (3, 3), (stride, stride))


@pytest.mark.parametrize("case", imports.cases("avgpool2d", "maxpool2d"), ids=str)
def test_a_pool_is_the_foreign_one(case: Case) -> None:
    """Windows at the border have fewer pixels, and the average counts only those."""
    imports.check_case(case)


@pytest.mark.parametrize("kind", ["AVERAGE_POOL_2D", "MAX_POOL_2D"])
def test_a_pool_keeps_the_bytes_on_another_grid(kind: str, rng: np.random.Generator) -> None:
    """Some converters write scales that differ in the last digit; the kernel copies the bytes."""
    file = File()
    x = file.tensor((1, 4, 4, 2), scale=0.1, zero_point=4)
    y = file.tensor((1, 2, 2, 2), scale=0.1 + 5e-7, zero_point=4)
    z = file.tensor((1, 2, 2, 2), scale=0.15, zero_point=1)
    fields = {"filterHeight": 2, "filterWidth": 2, "strideH": 2, "strideW": 2, "padding": 1}
    file.operator(kind, [x], [y], "Pool2DOptions", **fields)
    file.operator("QUANTIZE", [y], [z])

    imports.check(rng, file, [x], [z])
