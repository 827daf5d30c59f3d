# SPDX-License-Identifier: Apache-2.0
"""2-D convolution with groups; conv1d is its case of height 1.  Spec: NUMERICS.md §conv2d."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from codeq_compile.errors import SpecViolation
from codeq_compile.ir.graph import Node
from codeq_compile.ir.op import Array, Band, CValue, Op, Rows, register
from codeq_compile.ir.types import Packed, Range, TensorType
from codeq_compile.numerics import Int8Array
from codeq_compile.ops import conv2d_trips, swar
from codeq_compile.ops.base import (
    ROW_CACHE,
    SPARSE,
    Padding,
    Pair,
    Requant,
    align4,
    c_weights,
    check_clamp,
    decoded_bytes,
    image,
    make_requant,
    panel_bytes,
    row_bytes,
    row_cache_bytes,
    rows_met,
    weighted_bound,
    window,
)
from codeq_compile.ops.bounds import accumulators
from codeq_compile.ops.lanes import Cut, Geometry, Lists, best_cut
from codeq_compile.ops.products import Lane, blas_dtype, blocks, padded
from codeq_compile.ops.trips import STEP, Trips, WeightRows, Windows

TILE_BYTES = 2048
"""Bound of the gathered patches of one tile."""
MAX_TILE = 8
"""Pixels that share one decoding of the weights; CQ_MAX_TILE of runtime_c."""
PATCHES_BYTES = 1024
"""Bound of a dsp kernel's patches, if MIN_PATCHES are less; CQ_PATCHES_BYTES of runtime_c."""
MIN_PATCHES = 4
"""Patches that share one decoding of the weights at least; CQ_MIN_PATCHES of runtime_c."""
STEM_BYTES = 4608
"""Bound of widened rows, if those of a row of outputs are less; CQ_STEM_BYTES of runtime_c."""
MAX_STEM_BYTES = 1 << 14
"""A convolution of few channels that needs more scratch is computed from gathered patches."""
MIN_PIXELS = 4
"""With fewer most lanes of the sparse kernels are empty."""
NOT_CUT = Cut(
    size=(0, 0),
    kept=0,
    lists=Lists(ones=0, twos=0, others=0),
    is_split=False,
    scratch_bytes=0,
)
SPARSE_BYTES = 3840
"""Scratch of a sparse convolution, unless the least possible is more."""
MAX_SPARSE_BYTES = 1 << 14
"""A sparse convolution that needs more is computed from gathered patches."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Conv2DParams:
    """Integers of one convolution.

    Parameters
    ----------
    weights : int8 array of shape (out, kh, kw, in / groups)
    requant : Requant
    in_zero : int
        Value of padding.
    output : tuple of int (h, w)
    unit : int
        The only magnitude of a 2-bit grid, else 1: sparse kernels count multiples of it.
    sparse_bytes : int
        Scratch that a sparse kernel may use.
    is_in_place : bool
        Output pixels may take the place of the input pixels that they are made of.
    """

    weights: Int8Array = field(repr=False)
    requant: Requant
    in_zero: int
    output: Pair
    unit: int
    sparse_bytes: int = SPARSE_BYTES
    is_in_place: bool = False


@register("conv2d")
@dataclass(frozen=True, slots=True, kw_only=True)
class Conv2D(Op[Conv2DParams]):
    """Cross-correlation of an int8 image with int8 weights. [conv2d-C1]

    Parameters
    ----------
    stride, dilation : tuple of int (h, w), default (1, 1)
        In pixels.
    padding : tuple of int (top, bottom, left, right), default 0
        Pixels of real value 0, i.e. the input's zero point.
    groups : int, default 1
    clamp : tuple of int (min, max), default (-128, 127)
        Output limits of a fused activation.
    multiplier_bits : int, default 31
        Top bits that multipliers keep: with 13 or 5 a factor is two bytes or one. [N2.3] [N4.4]
    """

    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    padding: Padding = (0, 0, 0, 0)
    groups: int = 1
    clamp: Pair = (-128, 127)
    multiplier_bits: int = 31

    has_weights = True
    packings = ("dense", "ternary", "bitmask", "rle", "gap", "huffman")

    def infer(self, node: Node, inputs: tuple[TensorType, ...]) -> TensorType:
        """Output (oh, ow, out channels).

        Raises
        ------
        SpecViolation
            `[conv2d-C1]` input, `[conv2d-C2]` weights and groups, `[conv2d-C3]` bias,
            `[conv2d-C4]` window, `[conv2d-C5]` clamp.
        """
        h, w, c = image("conv2d-C1", inputs)
        assert node.weights is not None
        shape = node.weights.codes.shape
        if len(shape) != 4 or self.groups < 1 or c != shape[3] * self.groups:
            raise SpecViolation(
                "conv2d-C2",
                f"weights {list(shape)} with {self.groups} groups do not fit {c} input channels",
            )
        if shape[0] % self.groups:
            raise SpecViolation(
                "conv2d-C2", f"{shape[0]} output channels do not split into {self.groups} groups"
            )
        if node.bias is not None and node.bias.shape != shape[:1]:
            raise SpecViolation("conv2d-C3", "one bias an output channel is needed")
        oh, ow = window(
            "conv2d-C4", (h, w), (shape[1], shape[2]), self.stride, self.dilation, self.padding
        )
        check_clamp("conv2d-C5", self.clamp)
        return TensorType(shape=(oh, ow, shape[0]))

    def lower(self, node: Node, inputs: tuple[TensorType, ...], output: TensorType) -> Conv2DParams:
        assert node.weights is not None
        return Conv2DParams(
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
            output=(output.shape[0], output.shape[1]),
            unit=node.weights.gap + 1 if node.weights.is_sign else 1,
        )

    def simulate(self, params: Conv2DParams, *inputs: Array) -> Int8Array:
        """Golden of `cq_conv2d_*` and `cq_conv2d_1x1_*`. [conv2d-C1]"""
        (x,) = inputs
        out_channels, kh, kw, _ = params.weights.shape
        dtype = blas_dtype(params.weights)
        rows = params.weights.reshape(self.groups, -1, _patch(params)).astype(dtype)
        size = (x.shape[1], x.shape[2])
        oh, ow = window("conv2d-C4", size, (kh, kw), self.stride, self.dilation, self.padding)
        requantized = params.requant.prepare(self.accumulator_bound(params), ow)
        result = np.empty((len(x), oh, ow, out_channels), np.int8)
        for block in blocks(len(x), oh * ow * max(self.groups * _patch(params), out_channels)):
            products = self._patches(params, x[block], dtype) @ rows.transpose(0, 2, 1)
            products = products.transpose(1, 0, 2).reshape(-1, oh, ow, out_channels)
            requantized(products, result[block])
        return result

    def _patches(self, params: Conv2DParams, x: Int8Array, dtype: Lane) -> Array:
        """Inputs of every output pixel: floats of shape (groups, pixels, kh · kw · channels)."""
        _, kh, kw, channels = params.weights.shape
        reach = ((kh - 1) * self.dilation[0] + 1, (kw - 1) * self.dilation[1] + 1)
        image_ = padded(x, self.padding, params.in_zero, dtype)
        windows = sliding_window_view(image_, reach, axis=(1, 2))[
            :, :: self.stride[0], :: self.stride[1], :, :: self.dilation[0], :: self.dilation[1]
        ]
        batch, oh, ow = windows.shape[:3]
        grouped = windows.reshape(batch, oh, ow, self.groups, channels, kh, kw)
        return grouped.transpose(3, 0, 1, 2, 5, 6, 4).reshape(self.groups, -1, _patch(params))

    def c_params(
        self,
        params: Conv2DParams,
        inputs: tuple[TensorType, ...],
        output: TensorType,
        packed: Packed | None,
    ) -> Mapping[str, CValue]:
        kh, kw = params.weights.shape[1:3]
        cut = None
        if packed is not None and packed.packing in SPARSE and self._fills_lanes(params):
            cut = self._cut(params, packed)
        return {
            "in": inputs[0].shape,
            "out": output.shape,
            "kernel": (kh, kw),
            "stride": self.stride,
            "dilation": self.dilation,
            "pad": (self.padding[0], self.padding[2]),
            "groups": self.groups,
            "tile": self._tile(params),
            "sparse": (cut or NOT_CUT).c_params(),
            "in_zero": params.in_zero,
            "weights": c_weights(packed),
            "requant": params.requant.c_params(),
        }

    def families(self, params: Conv2DParams) -> tuple[str, ...]:
        pointwise = ("conv2d_1x1",) if self._is_pointwise(params) else ()
        stem = ("conv2d_stem",) if self._is_stem(params) else ()
        sparse = ("conv2d_sparse",) if self._fills_lanes(params) else ()
        return (*pointwise, *stem, *sparse, "conv2d")

    def unfit_families(self, params: Conv2DParams) -> Mapping[str, str]:
        unfit = {}
        if not self._is_pointwise(params):
            unfit["conv2d_1x1"] = "needs a 1x1 window, stride 1, no padding and one group"
        if not self._is_stem(params):
            unfit["conv2d_stem"] = (
                "needs input channels that are no multiple of 8, one group, no dilation, a window"
                f" of several taps or a stride, and at most {MAX_STEM_BYTES} bytes of scratch"
            )
        pixels = math.prod(params.output)
        if pixels < MIN_PIXELS:
            unfit["conv2d_sparse"] = f"needs {MIN_PIXELS} pixels of output, here are {pixels}"
        elif not self._fills_lanes(params):
            unfit["conv2d_sparse"] = f"would need more than {MAX_SPARSE_BYTES} bytes of scratch"
        return unfit

    def macs(self, params: Conv2DParams, output: TensorType) -> int:
        return output.elements * _patch(params)

    def scratch_bytes(
        self,
        params: Conv2DParams,
        inputs: tuple[TensorType, ...],
        output: TensorType,
        packed: Packed | None,
        family: str,
        isa: str = "ref",
    ) -> int:
        """Patches of one tile, then decoded weights. [conv2d-C6] [conv2d-C8] [conv2d-C9]

        Sparse kernels gather strips [conv2d-C7], those of few channels widen rows. [conv2d-C12]
        """
        if family == "conv2d_stem":
            return self._stem_bytes(params) + decoded_bytes(packed, _patch(params))
        if family == "conv2d_sparse":
            cut = self._cut(params, packed)
            assert cut is not None, "families() offers only what can be cut"
            return cut.scratch_bytes
        if isa == "dsp":
            return self._dsp_scratch_bytes(params, packed, output, family)
        pixels, patch = output.shape[0] * output.shape[1], _patch(params)
        if isa == "swar":
            return swar.product_bytes(packed, patch, pixels, gathered=patch)
        tile, decoded = self._tile(params), row_bytes(packed, patch)
        if isa == "mve":
            tile = min(_mve_tile(patch), pixels)
            decoded = panel_bytes(packed, patch, len(params.weights) // self.groups)
        return align4(0 if self._is_pointwise(params) else tile * patch) + decoded

    def band(
        self,
        params: Conv2DParams,
        inputs: tuple[TensorType, ...],
        output: TensorType,
        rows: Rows,
    ) -> Band | None:
        kh, kw = params.weights.shape[1:3]
        met = rows_met(rows, inputs[0].shape[0], (kh, kw), self.stride, self.dilation, self.padding)
        if met is None:
            return None
        output_size = (rows[1] - rows[0], params.output[1])
        return Band(
            op=replace(self, padding=met[1]),
            params=replace(params, output=output_size),
            reads=(met[0],),
        )

    def trips(
        self,
        params: Conv2DParams,
        inputs: tuple[TensorType, ...],
        output: TensorType,
        packed: Packed | None,
        family: str,
        isa: str,
    ) -> Trips:
        kh, kw, channels = params.weights.shape[1:]
        windows = Windows.of(inputs[0], (kh, kw), self.stride, self.dilation, self.padding)
        rows = WeightRows.of(packed, params.weights)
        requant, groups = params.requant, self.groups
        shape = {"groups": groups, "channels": channels}
        if family == "conv2d_sparse":
            cut = self._cut(params, packed)
            assert cut is not None, "families() offers only what can be cut"
            geometry, unit = self._geometry(params), params.unit
            if cut.kept == 0:
                return conv2d_trips.sparse_direct(geometry, rows, cut, requant, groups, unit)
            return conv2d_trips.sparse(
                geometry,
                windows,
                rows,
                cut,
                params.weights,
                requant,
                left=self.padding[2],
                groups=groups,
                unit=unit,
            )
        if family == "conv2d_stem":
            pad = (self.padding[0], self.padding[2])
            return conv2d_trips.dsp_stem(
                windows, rows, requant, channels=channels, pad=pad, band=self._stem_band(params)
            )
        is_matrix = self._is_matrix(params, inputs[0])
        if isa == "dsp":
            if self._is_read_in_place(params):
                is_1x1 = family == "conv2d_1x1"
                return conv2d_trips.dsp_image(
                    windows, rows, requant, channels=channels, is_matrix=is_1x1
                )
            tile = _dsp_tile(rows.length, windows.pixels)
            return conv2d_trips.dsp_patches(windows, rows, requant, **shape, tile=tile)
        if isa == "swar":
            unpadded = (kh, kw, groups, *self.padding) == (1, 1, 1, 0, 0, 0, 0)
            return conv2d_trips.swar_pairs(windows, rows, requant, **shape, is_matrix=unpadded)
        if isa == "mve":
            tile = min(_mve_tile(rows.length), windows.pixels)
            return conv2d_trips.helium(
                windows, rows, requant, **shape, tile=tile, is_matrix=is_matrix
            )
        return conv2d_trips.portable(
            windows, rows, requant, **shape, tile=self._tile(params), is_matrix=is_matrix
        )

    def output_range(
        self,
        params: Conv2DParams,
        ranges: tuple[Range, ...],
        inputs: tuple[TensorType, ...],
        output: TensorType,
    ) -> Range:
        (x,) = ranges
        if any(self.padding):
            x = x.including(params.in_zero)
        rows = len(params.weights) // self.groups
        met = x.through(
            lambda end: end.reshape(self.groups, -1).repeat(rows, axis=0)[:, None, None]
        )
        return params.requant.output_range(accumulators(params.requant, params.weights, met))

    def overwrites(self, params: Conv2DParams) -> tuple[int, ...]:
        return (0,) if params.is_in_place else ()

    def with_kernel(self, params: Conv2DParams, family: str, isa: str) -> Conv2DParams:
        """Sparse and swar kernels have gathered pixels before they write them. [conv2d-C11]"""
        gathers = family == "conv2d_sparse" or isa == "swar"
        return replace(params, is_in_place=gathers and self._is_pointwise(params))

    def overwriting(self, params: Conv2DParams, family: str, isa: str) -> Conv2DParams:
        """Dsp kernels gather tiles of pixels, and decode all weights for each. [conv2d-C11]"""
        gathers = family in {"conv2d", "conv2d_1x1"} and isa == "dsp"
        can = gathers and self._is_pointwise(params)
        return replace(params, is_in_place=params.is_in_place or can)

    def with_scratch(self, params: Conv2DParams, limit: int) -> Conv2DParams:
        room = min(limit, MAX_SPARSE_BYTES)
        return replace(params, sparse_bytes=max(room, params.sparse_bytes))

    def accumulator_bound(self, params: Conv2DParams) -> Array:
        return weighted_bound(params.requant, params.weights)

    def _is_pointwise(self, params: Conv2DParams) -> bool:
        """The input's pixels are the patches: nothing is gathered."""
        plain = (self.stride, self.padding, self.groups) == ((1, 1), (0, 0, 0, 0), 1)
        return plain and params.weights.shape[1:3] == (1, 1)

    def _is_matrix(self, params: Conv2DParams, image: TensorType) -> bool:
        """The input's pixels are the patches, as cq_conv2d_is_1x1() of runtime_c sees it."""
        plain = (*params.weights.shape[1:3], self.groups, *self.stride) == (1, 1, 1, 1, 1)
        return plain and params.output == image.shape[:2]

    def _is_read_in_place(self, params: Conv2DParams) -> bool:
        """dsp kernels read the windows from the image. [conv2d-C8]"""
        plain = (self.groups, self.dilation[1], params.weights.shape[3] % 8) == (1, 1, 0)
        return plain and _patch(params) <= ROW_CACHE and not params.is_in_place

    def _is_stem(self, params: Conv2DParams) -> bool:
        """Few channels: rows are widened, and windows read from them. [conv2d-C12]"""
        plain = (self.groups, *self.dilation) == (1, 1, 1) and not self._is_pointwise(params)
        fits = self._stem_bytes(params) <= MAX_STEM_BYTES
        return plain and params.weights.shape[3] % STEP != 0 and fits

    def _stem_row(self, params: Conv2DParams) -> int:
        """16-bit inputs from one row of a band to the next. [conv2d-C12]"""
        kw, channels = params.weights.shape[2:]
        inputs: int = ((params.output[1] - 1) * self.stride[1] + kw) * channels
        return (inputs + 1) // 2 * 2

    def _stem_band(self, params: Conv2DParams) -> int:
        """Rows of outputs whose inputs are widened at a time. [conv2d-C12]"""
        kh: int = params.weights.shape[1]
        fitting = (STEM_BYTES // (2 * self._stem_row(params)) - kh) // self.stride[0] + 1
        return max(1, min(fitting, params.output[0]))

    def _stem_bytes(self, params: Conv2DParams) -> int:
        """Weights of four channels by pairs of inputs, and a band. [conv2d-C12]"""
        kh, kw, channels = params.weights.shape[1:]
        rows: int = (self._stem_band(params) - 1) * self.stride[0] + kh
        weights = 52 + 100 * conv2d_trips.stem_steps((kh, kw), channels)
        return weights + 2 * rows * self._stem_row(params)

    def _dsp_scratch_bytes(
        self, params: Conv2DParams, packed: Packed | None, output: TensorType, family: str
    ) -> int:
        """Four cached rows, and sums of taps or patches. [conv2d-C8]"""
        kh, kw, _ = params.weights.shape[1:]
        length = _patch(params)
        decoded = 2 * decoded_bytes(packed, min(length, ROW_CACHE))
        cache = row_cache_bytes(length)
        if self._is_read_in_place(params):
            return cache + (0 if family == "conv2d_1x1" else 16 * kh * kw) + decoded
        patch = 8 * -(-length // 8)
        tile = _dsp_tile(length, output.shape[0] * output.shape[1])
        return cache + tile * patch + decoded

    def _geometry(self, params: Conv2DParams) -> Geometry:
        _, kh, kw, channels = params.weights.shape
        plain = (self.stride, self.padding, (kh, kw)) == ((1, 1), (0, 0, 0, 0), (1, 1))
        return Geometry(
            kernel=(kh, kw),
            stride=self.stride,
            dilation=self.dilation,
            channels=channels,
            output=params.output,
            is_flat=plain,
        )

    def _cut(self, params: Conv2DParams, packed: Packed | None = None) -> Cut | None:
        """Strips and lists of a sparse kernel. [conv2d-C7]"""
        return best_cut(
            self._geometry(params),
            params.weights,
            groups=self.groups,
            unit=params.unit,
            limit=params.sparse_bytes,
            has_gaps=packed is not None and packed.packing == "gap",
        )

    def _fills_lanes(self, params: Conv2DParams) -> bool:
        """Enough output pixels for the lanes, and not too much to gather."""
        if math.prod(params.output) < MIN_PIXELS:
            return False
        cut = self._cut(params)
        return cut is not None and cut.scratch_bytes <= MAX_SPARSE_BYTES

    @staticmethod
    def _tile(params: Conv2DParams) -> int:
        """Output pixels that share one decoding of the weights. [conv2d-C6]"""
        return max(1, min(MAX_TILE, TILE_BYTES // _patch(params)))


def _dsp_tile(length: int, pixels: int) -> int:
    """Patches that a dsp kernel gathers at a time. [conv2d-C8]"""
    return min(max(PATCHES_BYTES // (8 * -(-length // 8)), MIN_PATCHES), pixels)


def _mve_tile(patch: int) -> int:
    """Output pixels whose patches an mve kernel gathers at a time. [conv2d-C9]"""
    fitting = TILE_BYTES // patch
    return fitting // 3 * 3 if fitting >= 3 else max(fitting, 1)


def _patch(params: Conv2DParams) -> int:
    """Weights of one output channel = inputs of one output value."""
    return math.prod(params.weights.shape[1:])
