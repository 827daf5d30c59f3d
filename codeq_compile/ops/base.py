# SPDX-License-Identifier: Apache-2.0
"""What several ops share: requantization tables, weight structs, window geometry."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from codeq_compile.errors import SpecViolation
from codeq_compile.ir.op import Array, CArray, CValue
from codeq_compile.ir.types import DType, Float32Array, Packed, TensorType, Weights
from codeq_compile.numerics import (
    INT32_MAX,
    INT32_MIN,
    Int8Array,
    Int32Array,
    clamp_to_int8,
    narrow_multiplier,
    quantize_multiplier,
    requantize,
)

Pair = tuple[int, int]
Padding = tuple[int, int, int, int]
"""Pixels added (top, bottom, left, right)."""

CHUNK = 256
"""Weights that a kernel decodes at a time; CQ_CHUNK of runtime_c."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Requant:
    """Per-channel requantization of an int32 accumulator to int8. [N4.2]

    Parameters
    ----------
    bias : int32 array of shape (channels,)
        Start of the accumulator: the layer's bias minus ``zero point · sum of weights``. [N4.1]
    multiplier : int32 array of shape (channels,) or (1,)
    exponent : int8 array of the multiplier's shape
    zero_point, clamp_min, clamp_max : int
        Of the output.
    """

    bias: Int32Array
    multiplier: Int32Array
    exponent: Int8Array
    zero_point: int
    clamp_min: int
    clamp_max: int

    def apply(self, acc: Array) -> Int8Array:
        """Accumulators (bias included, channels last) to int8. [N4.2]"""
        scaled = requantize(acc, self.multiplier, self.exponent)
        return clamp_to_int8(scaled + self.zero_point, self.clamp_min, self.clamp_max)

    def c_params(self) -> Mapping[str, CValue]:
        """`struct cq_requant`, in the fewest bytes that hold the tables. [N4.4]"""
        bias = _narrowest(self.bias)
        narrow = not np.any(self.multiplier & 0x7FFF)
        multiplier = self.multiplier >> 15 if narrow else self.multiplier
        return {
            "bias": CArray(name="bias", c_type=f"int{8 * bias.itemsize}_t", data=bias),
            "multiplier": CArray(
                name="multiplier", c_type="uint16_t" if narrow else "int32_t", data=multiplier
            ),
            "exponent": CArray(name="exponent", c_type="int8_t", data=self.exponent),
            "bias_bytes": bias.itemsize,
            "multiplier_bytes": 2 if narrow else 4,
            "per_channel": int(len(self.multiplier) > 1),
            "zero_point": self.zero_point,
            "clamp_min": self.clamp_min,
            "clamp_max": self.clamp_max,
        }


def _narrowest(values: Int32Array) -> Array:
    for dtype in (np.int8, np.int16):
        info = np.iinfo(dtype)
        if info.min <= values.min() and values.max() <= info.max:
            return values.astype(dtype)
    return values


def make_requant(
    *,
    weights: Weights,
    bias: Array | None,
    input_type: TensorType,
    output_type: TensorType,
    clamp: Pair,
    narrow: bool,
) -> Requant:
    """Fold grids into integers: multipliers, exponents and the folded bias. [N4.1] [N4.2]

    `narrow` keeps the top 16 bits of each multiplier (two table bytes). [N2.3]

    Raises
    ------
    SpecViolation
        `[N4.1]` if a folded bias leaves int32.
    """
    values = weights.values.reshape(len(weights.codes), -1).astype(np.int64)
    start = np.zeros(len(values), np.int64) if bias is None else bias.astype(np.int64)
    start = start - input_type.zero_point * values.sum(axis=1)
    if start.min() < INT32_MIN or start.max() > INT32_MAX:
        raise SpecViolation("N4.1", "a bias leaves int32: its scale is far too small for its value")
    multiplier, exponent = scale_factors(
        weights.scale, input_type.scale, output_type.scale, narrow=narrow
    )
    return Requant(
        bias=start.astype(np.int32),
        multiplier=multiplier,
        exponent=exponent,
        zero_point=output_type.zero_point,
        clamp_min=clamp[0],
        clamp_max=clamp[1],
    )


def scale_factors(
    weight_scale: Float32Array, input_scale: float, output_scale: float, *, narrow: bool
) -> tuple[Int32Array, Int8Array]:
    """``s_x · s_w / s_y`` in double from the float32 scales, as multiplier and exponent. [N4.2]"""
    pairs = [quantize_multiplier(input_scale * float(s) / output_scale) for s in weight_scale]
    if narrow:
        pairs = [narrow_multiplier(*pair) for pair in pairs]
    multiplier, exponent = zip(*pairs, strict=True)
    return np.array(multiplier, np.int32), np.array(exponent, np.int8)


def weighted_bound(params: Requant, weights: Int8Array) -> Array:
    """Largest magnitude of any partial sum, left shift included, per channel. [N4.3]

    A partial sum lies between bias + 128·(sum of negative terms) and bias + 128·(positive terms);
    ``|bias| + 128 · sum|w|`` bounds them all, in every order of summation.
    """
    magnitude = np.abs(weights.reshape(len(weights), -1).astype(np.int64)).sum(axis=1)
    bound = np.abs(params.bias.astype(np.int64)) + 128 * magnitude
    return bound << np.maximum(params.exponent.astype(np.int64), 0)


def c_weights(packed: Packed | None) -> Mapping[str, CValue]:
    """`struct cq_weights`."""
    assert packed is not None, "an op with weights is emitted after packing"
    levels = None
    if packed.levels is not None:
        levels = CArray(name="levels", c_type="int8_t", data=np.array(packed.levels))
    return {
        "data": CArray(name="weights", c_type="uint8_t", data=np.frombuffer(packed.data, np.uint8)),
        "levels": levels,
        "gap": packed.gap,
        "run_bits": packed.run_bits,
    }


def align4(size: int) -> int:
    """Next multiple of 4."""
    return -(-size // 4) * 4


def row_bytes(packed: Packed | None, row: int) -> int:
    """Scratch for one decoded chunk of a row of `row` weights. [F3]

    Dense packings decode to int8 weights, sparse ones to (offset, weight) pairs of two bytes.
    """
    assert packed is not None, "an op with weights is emitted after packing"
    each = 1 if packed.packing in {"dense", "ternary"} else 2
    return align4(each * min(row, CHUNK))


def image(label: str, kind: TensorType) -> tuple[int, int, int]:
    """(h, w, c) of an int8 image, or a violation of `label`."""
    if kind.dtype is not DType.S8 or len(kind.shape) != 3:
        raise SpecViolation(label, f"the input must be an int8 image (h, w, c), not {kind}")
    h, w, c = kind.shape
    return h, w, c


def window(
    label: str, size: Pair, kernel: Pair, stride: Pair, dilation: Pair, padding: Padding
) -> Pair:
    """Output (h, w) of a sliding window.

    Raises
    ------
    SpecViolation
        `label`, if a parameter is out of range or the window is larger than the padded input.
    """
    if min(*kernel, *stride, *dilation) < 1 or min(padding) < 0:
        raise SpecViolation(label, "kernel, stride and dilation are >= 1, padding is >= 0")
    top, bottom, left, right = padding
    padded = (size[0] + top + bottom, size[1] + left + right)
    reach = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True))
    if reach[0] > padded[0] or reach[1] > padded[1]:
        raise SpecViolation(
            label,
            f"the {reach[0]}x{reach[1]} window is larger than the padded input "
            f"{padded[0]}x{padded[1]}: use a smaller kernel or more padding",
        )
    return (
        (padded[0] - reach[0]) // stride[0] + 1,
        (padded[1] - reach[1]) // stride[1] + 1,
    )


def check_clamp(label: str, clamp: Pair) -> None:
    """The limits of a fused activation are an interval of int8."""
    if not -128 <= clamp[0] <= clamp[1] <= 127:
        raise SpecViolation(label, f"the clamp {list(clamp)} is not an interval of int8")
