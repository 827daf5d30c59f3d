# SPDX-License-Identifier: Apache-2.0
"""Maximum pooling over height and width.  Spec: NUMERICS.md §maxpool2d."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from codeq_compile.ir.graph import Node
from codeq_compile.ir.op import Array, Band, CValue, Op, Rows, register
from codeq_compile.ir.types import Packed, Range, TensorType
from codeq_compile.numerics import Int8Array
from codeq_compile.ops.base import (
    Padding,
    Pair,
    check_clamp,
    clamped,
    image,
    rows_met,
    taps,
    taps_inside,
    window,
)
from codeq_compile.ops.trips import Trips, Windows


@dataclass(frozen=True, slots=True, kw_only=True)
class MaxPool2DParams:
    """No integers beyond the op's own fields."""


@register("maxpool2d")
@dataclass(frozen=True, slots=True, kw_only=True)
class MaxPool2D(Op[MaxPool2DParams]):
    """Largest value of each window; one grid for both. [maxpool2d-C1]

    Parameters
    ----------
    kernel : tuple of int (kh, kw)
        Window in pixels.
    stride : tuple of int (h, w)
        Step between windows in pixels.
    dilation : tuple of int (h, w), default (1, 1)
        In pixels.
    padding : tuple of int (top, bottom, left, right), default 0
        Pixels of value -128, which never win.
    clamp : tuple of int (min, max), default (-128, 127)
        Output limits of a fused activation.
    """

    kernel: Pair
    stride: Pair
    dilation: Pair = (1, 1)
    padding: Padding = (0, 0, 0, 0)
    clamp: Pair = (-128, 127)

    def infer(self, node: Node, inputs: tuple[TensorType, ...]) -> TensorType:
        """Output (oh, ow, c) on the input's grid.

        Raises
        ------
        SpecViolation
            `[maxpool2d-C1]` input, `[maxpool2d-C2]` window, `[maxpool2d-C3]` clamp.
        """
        h, w, c = image("maxpool2d-C1", inputs)
        oh, ow = window(
            "maxpool2d-C2", (h, w), self.kernel, self.stride, self.dilation, self.padding
        )
        check_clamp("maxpool2d-C3", self.clamp)
        return TensorType(shape=(oh, ow, c), grid=inputs[0].grid)

    def lower(
        self, node: Node, inputs: tuple[TensorType, ...], output: TensorType
    ) -> MaxPool2DParams:
        return MaxPool2DParams()

    def simulate(self, params: MaxPool2DParams, *inputs: Array) -> Int8Array:
        """Golden of `cq_maxpool2d_*`. [maxpool2d-C1]"""
        (x,) = inputs
        top, bottom, left, right = self.padding
        border = ((0, 0), (top, bottom), (left, right), (0, 0))
        image_ = np.pad(x, border, constant_values=-128)
        pixels = taps(image_, self.kernel, self.stride, self.dilation)
        largest: Int8Array = functools.reduce(np.maximum, pixels)
        return np.clip(largest, *self.clamp)

    def c_params(
        self,
        params: MaxPool2DParams,
        inputs: tuple[TensorType, ...],
        output: TensorType,
        packed: Packed | None,
    ) -> Mapping[str, CValue]:
        return {
            "in": inputs[0].shape,
            "out": output.shape,
            "kernel": self.kernel,
            "stride": self.stride,
            "dilation": self.dilation,
            "pad": (self.padding[0], self.padding[2]),
            "clamp_min": self.clamp[0],
            "clamp_max": self.clamp[1],
        }

    def band(
        self,
        params: MaxPool2DParams,
        inputs: tuple[TensorType, ...],
        output: TensorType,
        rows: Rows,
    ) -> Band | None:
        met = rows_met(
            rows, inputs[0].shape[0], self.kernel, self.stride, self.dilation, self.padding
        )
        if met is None:
            return None
        return Band(op=replace(self, padding=met[1]), params=params, reads=(met[0],))

    def trips(
        self,
        params: MaxPool2DParams,
        inputs: tuple[TensorType, ...],
        output: TensorType,
        packed: Packed | None,
        family: str,
        isa: str,
    ) -> Trips:
        windows = Windows.of(
            inputs[0], self.kernel, self.stride, self.dilation, padding=self.padding
        )
        channels = output.shape[2]
        if isa == "mve":
            return windows.pooled(channels, 16)
        if isa == "dsp":
            return {
                **windows.pooled_in_runs(channels, windows.taps, unrolled=(2, 3)),
                "outputs clamped": output.elements * (self.clamp != (-128, 127)),
            }
        return {
            **windows.pooled(channels, channels),
            "channels of taps": windows.taps_inside * channels,
            "outputs clamped": output.elements * (self.clamp[1] < 127),
        }

    def output_range(
        self,
        params: MaxPool2DParams,
        ranges: tuple[Range, ...],
        inputs: tuple[TensorType, ...],
        output: TensorType,
    ) -> Range:
        (x,) = ranges
        if not self._sees_a_pixel(inputs[0]):
            x = x.including(-128)
        return x.through(lambda end: clamped(end, self.clamp))

    def _sees_a_pixel(self, x: TensorType) -> bool:
        """Every window does; one that lies in the padding gives -128."""
        seen = taps_inside(x.shape, self.kernel, self.stride, self.dilation, self.padding)
        return all(bool(axis.any(axis=1).all()) for axis in seen)
