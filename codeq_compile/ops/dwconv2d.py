# SPDX-License-Identifier: Apache-2.0
"""Depthwise 2-D convolution with a channel multiplier.  Spec: NUMERICS.md §dwconv2d."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from codeq_compile.errors import SpecViolation
from codeq_compile.ir.graph import Node
from codeq_compile.ir.op import Array, Band, CValue, Op, Rows, register
from codeq_compile.ir.types import Packed, Range, TensorType
from codeq_compile.numerics import Int8Array
from codeq_compile.ops import dwconv2d_trips, swar
from codeq_compile.ops.base import (
    Padding,
    Pair,
    Requant,
    align4,
    c_weights,
    check_clamp,
    decoded_bytes,
    image,
    make_requant,
    rows_met,
    taps,
    weighted_bound,
    window,
)
from codeq_compile.ops.bounds import accumulators
from codeq_compile.ops.products import blocks, lane_dtype, padded
from codeq_compile.ops.trips import Trips, WeightRows, Windows

BAND_BYTES = 960
"""Bound of the widened rows of a dsp kernel, if MIN_BAND are less; CQ_BAND_BYTES of runtime_c."""
MIN_BAND = 8
"""Rows of outputs that are computed at a time at least; CQ_MIN_BAND of runtime_c."""
LANES = 16
"""Channels that an mve kernel takes at a time."""
STRIP_BYTES = 3072
"""Bound of the input rows that it copies, where one window is not more; CQ_STRIP of runtime_c."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DWConv2DParams:
    """Integers of one depthwise convolution.

    Parameters
    ----------
    weights : int8 array of shape (out channels, kh, kw)
    requant : Requant
    in_zero : int
        Value of padding.
    in_channels : int
    is_in_place : bool
        The output may take the place of the input.
    """

    weights: Int8Array = field(repr=False)
    requant: Requant
    in_zero: int
    in_channels: int
    is_in_place: bool = False


@register("dwconv2d")
@dataclass(frozen=True, slots=True, kw_only=True)
class DWConv2D(Op[DWConv2DParams]):
    """One filter an output channel; channel o reads input channel o // multiplier. [dwconv2d-C1]

    The weights' shape (in_channels · multiplier, kh, kw) gives the multiplier.

    Parameters
    ----------
    stride, dilation : tuple of int (h, w), default (1, 1)
        In pixels.
    padding : tuple of int (top, bottom, left, right), default 0
        Pixels of real value 0, i.e. the input's zero point.
    clamp : tuple of int (min, max), default (-128, 127)
        Output limits of a fused activation.
    multiplier_bits : int, default 31
        Top bits that multipliers keep: with 13 or 5 a factor is two bytes or one. [N2.3] [N4.4]
    """

    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    padding: Padding = (0, 0, 0, 0)
    clamp: Pair = (-128, 127)
    multiplier_bits: int = 31

    has_weights = True
    packings = ("dense", "ternary")

    def infer(self, node: Node, inputs: tuple[TensorType, ...]) -> TensorType:
        """Output (oh, ow, out channels).

        Raises
        ------
        SpecViolation
            `[dwconv2d-C1]` input, `[dwconv2d-C2]` weights, `[dwconv2d-C3]` bias,
            `[dwconv2d-C4]` window, `[dwconv2d-C5]` clamp.
        """
        h, w, c = image("dwconv2d-C1", inputs)
        assert node.weights is not None
        shape = node.weights.codes.shape
        if len(shape) != 3 or shape[0] % c:
            raise SpecViolation(
                "dwconv2d-C2",
                f"weights {list(shape)} must be (out channels, kh, kw) with a multiple of the "
                f"{c} input channels",
            )
        if node.bias is not None and node.bias.shape != shape[:1]:
            raise SpecViolation("dwconv2d-C3", "one bias an output channel is needed")
        oh, ow = window(
            "dwconv2d-C4", (h, w), (shape[1], shape[2]), self.stride, self.dilation, self.padding
        )
        check_clamp("dwconv2d-C5", self.clamp)
        return TensorType(shape=(oh, ow, shape[0]))

    def lower(
        self, node: Node, inputs: tuple[TensorType, ...], output: TensorType
    ) -> DWConv2DParams:
        assert node.weights is not None
        return DWConv2DParams(
            weights=node.weights.values,
            requant=make_requant(
                weights=node.weights,
                bias=node.bias,
                input_type=inputs[0],
                output_type=output,
                clamp=self.clamp,
                multiplier_bits=self.multiplier_bits,
            ),
            in_zero=inputs[0].zero_point,
            in_channels=inputs[0].shape[2],
        )

    def simulate(self, params: DWConv2DParams, *inputs: Array) -> Int8Array:
        """Golden of `cq_dwconv2d_*`: one multiplication a tap over whole images. [dwconv2d-C1]"""
        (x,) = inputs
        channels, kh, kw = params.weights.shape
        dtype = lane_dtype(params.weights)
        size = (x.shape[1], x.shape[2])
        oh, ow = window("dwconv2d-C4", size, (kh, kw), self.stride, self.dilation, self.padding)
        # a weight for every column of an image row: numpy's inner loop then runs along the row
        weights = params.weights.reshape(channels, -1).T.astype(dtype)
        weights = np.repeat(weights[:, None, :], ow, axis=1)
        requantized = params.requant.prepare(self.accumulator_bound(params), ow)
        result = np.empty((len(x), oh, ow, channels), np.int8)
        for block in blocks(len(x), oh * ow * channels):
            image_ = padded(x[block], self.padding, params.in_zero, dtype)
            if channels > x.shape[3]:
                image_ = np.repeat(image_, channels // x.shape[3], axis=3)
            pixels = taps(image_, (kh, kw), self.stride, self.dilation)
            acc = next(pixels) * weights[0]
            product = np.empty_like(acc)
            for tap, weight in zip(pixels, weights[1:], strict=True):
                acc += np.multiply(tap, weight, out=product)
            requantized(acc, result[block])
        return result

    def c_params(
        self,
        params: DWConv2DParams,
        inputs: tuple[TensorType, ...],
        output: TensorType,
        packed: Packed | None,
    ) -> Mapping[str, CValue]:
        return {
            "in": inputs[0].shape,
            "out": output.shape,
            "kernel": params.weights.shape[1:],
            "stride": self.stride,
            "dilation": self.dilation,
            "pad": (self.padding[0], self.padding[2]),
            "in_zero": params.in_zero,
            "weights": c_weights(packed),
            "requant": params.requant.c_params(),
        }

    def families(self, params: DWConv2DParams) -> tuple[str, ...]:
        plain = (self.dilation, params.weights.shape[1:]) == ((1, 1), (3, 3))
        is_one_to_one = params.in_channels == len(params.weights) >= 4
        special = plain and is_one_to_one and self.stride[1] <= 2
        return ("dwconv2d_3x3", "dwconv2d") if special else ("dwconv2d",)

    def overwrites(self, params: DWConv2DParams) -> tuple[int, ...]:
        return (0,) if params.is_in_place else ()

    def with_kernel(self, params: DWConv2DParams, family: str, isa: str) -> DWConv2DParams:
        """Some keep the rows that a window reaches over, and write behind them. [dwconv2d-C10]"""
        channels, kh, kw = params.weights.shape
        rows, columns = self.padding[:2], self.padding[2:]
        keeps_size = self.stride == (1, 1) and (sum(rows), sum(columns)) == (
            (kh - 1) * self.dilation[0],
            (kw - 1) * self.dilation[1],
        )
        keeps_rows = isa == "swar" or (
            (family, isa) == ("dwconv2d_3x3", "dsp") and channels % 4 == 0
        )
        is_one_to_one = params.in_channels == channels
        return replace(params, is_in_place=keeps_size and keeps_rows and is_one_to_one)

    def unfit_families(self, params: DWConv2DParams) -> Mapping[str, str]:
        if len(self.families(params)) > 1:
            return {}
        return {
            "dwconv2d_3x3": "needs a 3x3 window without dilation, a column stride of 1 or 2, "
            "one filter a channel and four channels"
        }

    def macs(self, params: DWConv2DParams, output: TensorType) -> int:
        return output.elements * _taps(params)

    def scratch_bytes(
        self,
        params: DWConv2DParams,
        inputs: tuple[TensorType, ...],
        output: TensorType,
        packed: Packed | None,
        family: str,
        isa: str = "ref",
    ) -> int:
        """A channel [dwconv2d-C6], a widened band [dwconv2d-C7] or a strip [dwconv2d-C8].

        Swar kernels keep rows [dwconv2d-C9], dsp kernels weights of four channels. [dwconv2d-C11]
        """
        if (family, isa) == ("dwconv2d_3x3", "dsp"):
            return self._band_bytes(output)
        if isa == "dsp":
            return 8 * _taps(params) + decoded_bytes(packed, _taps(params))
        if isa == "mve":
            return self._mve_scratch_bytes(params, output)
        if isa == "swar":
            return self._swar_scratch_bytes(params, output, packed)
        return decoded_bytes(packed, _taps(params))

    def band(
        self,
        params: DWConv2DParams,
        inputs: tuple[TensorType, ...],
        output: TensorType,
        rows: Rows,
    ) -> Band | None:
        kh, kw = params.weights.shape[-2:]
        met = rows_met(rows, inputs[0].shape[0], (kh, kw), self.stride, self.dilation, self.padding)
        if met is None:
            return None
        return Band(op=replace(self, padding=met[1]), params=params, reads=(met[0],))

    def trips(
        self,
        params: DWConv2DParams,
        inputs: tuple[TensorType, ...],
        output: TensorType,
        packed: Packed | None,
        family: str,
        isa: str,
    ) -> Trips:
        _, kh, kw = params.weights.shape
        windows = Windows.of(inputs[0], (kh, kw), self.stride, self.dilation, self.padding)
        rows = WeightRows.of(packed, params.weights)
        if (family, isa) == ("dwconv2d_3x3", "dsp"):
            band = self._band_rows(output)
            if self._is_turned(output):
                windows = windows.turned()
            return dwconv2d_trips.dsp_bands(windows, rows, params.requant, band=band)
        multiplier = len(params.weights) // params.in_channels
        if isa == "dsp":
            return dwconv2d_trips.dsp_windows(windows, rows, params.requant, multiplier=multiplier)
        if isa == "mve":
            pixel, longest = self._strip(params, output)
            return dwconv2d_trips.helium_strips(
                windows,
                rows,
                params.requant,
                multiplier=multiplier,
                pixel=pixel,
                longest=longest,
            )
        if isa == "swar":
            return dwconv2d_trips.swar_rows(windows, rows, params.requant)
        return dwconv2d_trips.portable(windows, rows, params.requant)

    def output_range(
        self,
        params: DWConv2DParams,
        ranges: tuple[Range, ...],
        inputs: tuple[TensorType, ...],
        output: TensorType,
    ) -> Range:
        (x,) = ranges
        if any(self.padding):
            x = x.including(params.in_zero)
        multiplier = len(params.weights) // len(x.low)
        met = x.through(lambda end: end.repeat(multiplier)[:, None, None])
        return params.requant.output_range(accumulators(params.requant, params.weights, met))

    def _reach(self, params: DWConv2DParams) -> Pair:
        """Rows and columns that a window spans."""
        _, kh, kw = params.weights.shape
        return (kh - 1) * self.dilation[0] + 1, (kw - 1) * self.dilation[1] + 1

    def _strip(self, params: DWConv2DParams, output: TensorType) -> Pair:
        """Bytes of a pixel in the strip of an mve kernel, and the columns of outputs it serves."""
        rows, reach = self._reach(params)
        channels, stride = output.shape[2], self.stride[1]
        pixel = channels if stride == 1 and channels < LANES and LANES % channels == 0 else LANES
        fitting = ((STRIP_BYTES // rows - LANES) // pixel - reach) // stride + 1
        return pixel, max(1, min(fitting, output.shape[1]))

    def _mve_scratch_bytes(self, params: DWConv2DParams, output: TensorType) -> int:
        """Weights of 16 channels, then a strip, where they are decoded first. [dwconv2d-C8]"""
        rows, reach = self._reach(params)
        pixel, longest = self._strip(params, output)
        columns = (longest - 1) * self.stride[1] + reach
        return LANES * _taps(params) + align4(rows * (columns * pixel + LANES))

    def _swar_scratch_bytes(
        self, params: DWConv2DParams, output: TensorType, packed: Packed | None
    ) -> int:
        """Padded rows, sums and the weights as words, then the decoded weights. [dwconv2d-C9]"""
        kh, kw = map(int, params.weights.shape[1:])
        rows = (kh - 1) * self.dilation[0] + 1
        width = output.shape[1] * self.stride[1] + (kw - 1) * self.dilation[1] + 1
        words = rows * width + max(output.shape[1], swar.SUMS) + 1 + kh * kw
        return 4 * words + decoded_bytes(packed, kh * kw)

    def accumulator_bound(self, params: DWConv2DParams) -> Array:
        return weighted_bound(params.requant, params.weights)

    def _band_bytes(self, output: TensorType) -> int:
        """A band of rows of four channels, 16 bits a pixel. [dwconv2d-C7]"""
        out_rows = self._band_rows(output)
        stride = 1 if self._is_turned(output) else self.stride[0]
        return 16 * self._band_words(output) * ((out_rows - 1) * stride + 3)

    def _is_turned(self, output: TensorType) -> bool:
        """A dsp kernel takes columns for rows, where fewer outputs are left over behind fours."""
        h, w = output.shape[:2]
        return self.stride == (1, 1) and w * _left_over(h) < h * _left_over(w)

    def _band_words(self, output: TensorType) -> int:
        """Of a row of a band."""
        width = output.shape[0 if self._is_turned(output) else 1]
        return -(-width // 2) + 1 if self.stride[1] == 1 else width + 1

    def _band_rows(self, output: TensorType) -> int:
        """Rows of outputs that a dsp kernel computes at a time."""
        is_turned = self._is_turned(output)
        height, stride = (output.shape[1], 1) if is_turned else (output.shape[0], self.stride[0])
        fitting = (BAND_BYTES // (16 * self._band_words(output)) - 3) // stride + 1
        return min(height, max(fitting, MIN_BAND))


def _left_over(width: int) -> int:
    """Instructions of a row for outputs behind its last four, beyond those that four would take."""
    return width % 4 // 2 * 5 + width % 2 * 15


def _taps(params: DWConv2DParams) -> int:
    """Weights of one output channel = inputs of one output value."""
    _, kh, kw = params.weights.shape
    return int(kh * kw)
