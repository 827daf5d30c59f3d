# SPDX-License-Identifier: Apache-2.0
"""Average pooling over height and width.  Spec: NUMERICS.md §avgpool2d."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from codeq_compile.errors import SpecViolation
from codeq_compile.ir.graph import Node
from codeq_compile.ir.op import Array, Band, CValue, Op, Rows, register
from codeq_compile.ir.types import Packed, Range, TensorType
from codeq_compile.numerics import Int8Array, Int64Array, clamp_to_int8, truncating_divide
from codeq_compile.ops.base import (
    Padding,
    Pair,
    check_clamp,
    clamped,
    image,
    rows_met,
    window,
)
from codeq_compile.ops.trips import Trips, Windows

LANE_PIXELS = 256
"""Taps whose sum dsp kernels keep in 16 bits; CQ_LANE_PIXELS of runtime_c."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AvgPool2DParams:
    """`pixels` is the largest number of pixels in a window."""

    pixels: int


@register("avgpool2d")
@dataclass(frozen=True, slots=True, kw_only=True)
class AvgPool2D(Op[AvgPool2DParams]):
    """Mean of the pixels of each window that lie in the image; one grid for both. [avgpool2d-C1]

    Parameters
    ----------
    kernel : tuple of int (kh, kw)
        Window in pixels.
    stride : tuple of int (h, w)
        Step between windows in pixels.
    padding : tuple of int (top, bottom, left, right), default 0
        Pixels that widen the image and are not counted.
    clamp : tuple of int (min, max), default (-128, 127)
        Output limits of a fused activation.
    """

    kernel: Pair
    stride: Pair
    padding: Padding = (0, 0, 0, 0)
    clamp: Pair = (-128, 127)

    def infer(self, node: Node, inputs: tuple[TensorType, ...]) -> TensorType:
        """Output (oh, ow, c) on the input's grid.

        Raises
        ------
        SpecViolation
            `[avgpool2d-C1]` input, `[avgpool2d-C2]` window, `[avgpool2d-C3]` padding,
            `[avgpool2d-C4]` clamp.
        """
        h, w, c = image("avgpool2d-C1", inputs)
        oh, ow = window("avgpool2d-C2", (h, w), self.kernel, self.stride, (1, 1), self.padding)
        if max(self.padding[:2]) >= self.kernel[0] or max(self.padding[2:]) >= self.kernel[1]:
            raise SpecViolation(
                "avgpool2d-C3",
                f"padding {list(self.padding)} must be smaller than the window "
                f"{list(self.kernel)}, or a window would hold no pixel",
            )
        check_clamp("avgpool2d-C4", self.clamp)
        return TensorType(shape=(oh, ow, c), grid=inputs[0].grid)

    def lower(
        self, node: Node, inputs: tuple[TensorType, ...], output: TensorType
    ) -> AvgPool2DParams:
        h, w, _ = inputs[0].shape
        return AvgPool2DParams(pixels=min(self.kernel[0], h) * min(self.kernel[1], w))

    def simulate(self, params: AvgPool2DParams, *inputs: Array) -> Int8Array:
        """Golden of `cq_avgpool2d_*`. [avgpool2d-C1]"""
        (x,) = inputs
        _, h, w, _ = x.shape
        oh, ow = window("avgpool2d-C2", (h, w), self.kernel, self.stride, (1, 1), self.padding)
        rows = _spans(h, oh, self.kernel[0], self.stride[0], self.padding[0])
        columns = _spans(w, ow, self.kernel[1], self.stride[1], self.padding[2])
        # corners of the summed-area table, once for rows and once for columns
        acc = _window_sums(_window_sums(x.astype(np.int64), 1, rows), 2, columns)
        pixels = np.outer(np.diff(rows), np.diff(columns))[None, :, :, None]
        half = np.where(acc > 0, pixels // 2, -(pixels // 2))
        return clamp_to_int8(truncating_divide(acc + half, pixels), *self.clamp)

    def c_params(
        self,
        params: AvgPool2DParams,
        inputs: tuple[TensorType, ...],
        output: TensorType,
        packed: Packed | None,
    ) -> Mapping[str, CValue]:
        return {
            "in": inputs[0].shape,
            "out": output.shape,
            "kernel": self.kernel,
            "stride": self.stride,
            "pad": (self.padding[0], self.padding[2]),
            "clamp_min": self.clamp[0],
            "clamp_max": self.clamp[1],
        }

    def band(
        self,
        params: AvgPool2DParams,
        inputs: tuple[TensorType, ...],
        output: TensorType,
        rows: Rows,
    ) -> Band | None:
        met = rows_met(rows, inputs[0].shape[0], self.kernel, self.stride, (1, 1), self.padding)
        if met is None:
            return None
        return Band(op=replace(self, padding=met[1]), params=params, reads=(met[0],))

    def trips(
        self,
        params: AvgPool2DParams,
        inputs: tuple[TensorType, ...],
        output: TensorType,
        packed: Packed | None,
        family: str,
        isa: str,
    ) -> Trips:
        windows = Windows.of(inputs[0], self.kernel, self.stride, padding=self.padding)
        return {
            **windows.pooled_in_runs(output.shape[2], LANE_PIXELS if isa == "dsp" else 0),
            "outputs clamped": output.elements * (self.clamp != (-128, 127)),
        }

    def output_range(
        self,
        params: AvgPool2DParams,
        ranges: tuple[Range, ...],
        inputs: tuple[TensorType, ...],
        output: TensorType,
    ) -> Range:
        # a mean lies between the smallest and the largest, and so does its nearest integer
        return ranges[0].through(lambda end: clamped(end, self.clamp))

    def accumulator_bound(self, params: AvgPool2DParams) -> Array:
        """Of a window's sum and the half that rounds it. [avgpool2d-C5]"""
        return np.array([128 * params.pixels + params.pixels // 2], np.int64)


def _spans(size: int, count: int, kernel: int, stride: int, before: int) -> Int64Array:
    """First and one-past-last index inside the image of each window: shape (count, 2)."""
    start = np.arange(count, dtype=np.int64) * stride - before
    return np.stack([np.maximum(start, 0), np.minimum(start + kernel, size)], axis=1)


def _window_sums(x: Int64Array, axis: int, spans: Int64Array) -> Int64Array:
    sums = np.insert(np.cumsum(x, axis=axis), 0, 0, axis=axis)
    return sums.take(spans[:, 1], axis) - sums.take(spans[:, 0], axis)
