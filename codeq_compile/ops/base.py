# SPDX-License-Identifier: Apache-2.0
"""What several ops share: requantization tables, weight structs, window geometry."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from codeq_compile.errors import SpecViolation
from codeq_compile.ir.op import Array, Band, CArray, CValue, Op, Rows
from codeq_compile.ir.types import DType, Float32Array, Packed, Range, Shape, TensorType, Weights
from codeq_compile.numerics import (
    INT32_MAX,
    INT32_MIN,
    Int8Array,
    Int32Array,
    Int64Array,
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
ROW_CACHE = 1152
"""Weights of a row that dsp kernels hold decoded at a time; CQ_ROW_CACHE of runtime_c."""
PANEL_BYTES = 2048
"""Decoded rows that mve kernels hold at a time; CQ_PANEL of runtime_c."""
SPARSE = frozenset({"bitmask", "rle", "gap", "csr"})
"""Packings that decode to non-zeros with their places."""
_EXACT_PRODUCT = 2.0**52


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

    bias: Int32Array = field(repr=False)
    multiplier: Int32Array = field(repr=False)
    exponent: Int8Array = field(repr=False)
    zero_point: int
    clamp_min: int
    clamp_max: int

    def prepare(self, bound: Array, width: int) -> Callable[[Array, Int8Array], None]:
        """A function that turns sums of products into int8. [N4.2]

        Parameters
        ----------
        bound : int64 array of shape (channels,)
            From `weighted_bound`.
        width : int
            Pixels of an image row.

        Returns
        -------
        callable
            Takes a float or int array of shape (..., width, channels) that holds integers, the bias
            not among them, and an int8 array of that shape, which it fills.
        """
        if float(bound.max()) * float(self.multiplier.max()) < _EXACT_PRODUCT:
            return self._prepare_in_double(width)

        def apply(products: Array, out: Int8Array) -> None:
            acc = products.astype(np.int64) + self.bias
            scaled = requantize(acc, self.multiplier, self.exponent) + self.zero_point
            out[...] = clamp_to_int8(scaled, self.clamp_min, self.clamp_max)

        return apply

    def _prepare_in_double(self, width: int) -> Callable[[Array, Int8Array], None]:
        """The same integers in float64, several times faster than in int64.

        With ``|accumulator · multiplier| < 2^52`` every product is a multiple of 2^-31 below 2^21,
        so that it and its sum with a half are exact.
        """
        left, right = np.maximum(self.exponent, 0), np.minimum(self.exponent, 0)
        factor = np.ldexp(self.multiplier.astype(np.float64), left - 31)
        # the high multiplication rounds half up [N2.4]: floor(x + 1/2)
        start = self.bias * factor + 0.5
        # the division rounds half away [N2.5]: a nudge outward, too small to reach the next tie
        step = np.ldexp(1.0 + 2.0**-30, right)
        offset = self.zero_point + 128.5  # values are positive from here on: the cast floors
        # where nothing below the zero point is seen, both roundings go up, and nested floors are
        # one: floor((floor(x + 1/2) + 2^(r-1)) / 2^r) = floor((x + 1/2 + 2^(r-1)) / 2^r);
        # with r <= 12 the sum with the offset is exact too
        once = self.clamp_min >= self.zero_point and right.min() >= -12
        if once:
            factor, start = np.ldexp(factor, right), np.ldexp(start, right) + offset
            start -= np.where(right < 0, 0.0, 0.5)
        # constants for a whole image row: numpy's inner loop then runs along the row
        shape = (width, len(self.bias))
        factor, start, step = (np.broadcast_to(v, shape).copy() for v in (factor, start, step))

        def apply(products: Array, out: Int8Array) -> None:
            x = products.astype(np.float64)
            x *= factor
            x += start
            if not once:
                np.floor(x, out=x)
                x *= step
                x += offset
            np.clip(x, self.clamp_min + 128, self.clamp_max + 128.5, out=x)
            out.view(np.uint8)[...] = x
            out ^= -128

        return apply

    def output_range(self, acc: Range) -> Range:
        """What accumulators of a range become; no step of [N4.2] ever falls."""
        return acc.through(
            lambda end: clamped(
                requantize(end, self.multiplier, self.exponent) + self.zero_point,
                (self.clamp_min, self.clamp_max),
            )
        )

    def c_params(self) -> Mapping[str, CValue]:
        """`struct cq_requant`, in the fewest bytes that hold the tables. [N4.4]"""
        bias, shift = _narrowest(self.bias)
        multiplier, exponent, base = _narrowest_factors(self.multiplier, self.exponent)
        return {
            "bias": CArray(name="bias", c_type=f"int{8 * bias.itemsize}_t", data=bias),
            "multiplier": CArray(
                name="multiplier",
                c_type=f"{'u' * (multiplier.itemsize < 4)}int{8 * multiplier.itemsize}_t",
                data=multiplier,
            ),
            "exponent": exponent
            if exponent is None
            else CArray(name="exponent", c_type="int8_t", data=exponent),
            "bias_bytes": bias.itemsize,
            "bias_shift": shift,
            "multiplier_bytes": multiplier.itemsize,
            "exponent_base": base,
            "per_channel": int(len(self.multiplier) > 1),
            "zero_point": self.zero_point,
            "clamp_min": self.clamp_min,
            "clamp_max": self.clamp_max,
        }


def _narrowest(values: Int32Array) -> tuple[Array, int]:
    """(stored, shift), ``values = stored · 2^shift``: the narrowest type, then the least shift."""
    common = int(np.bitwise_or.reduce(values))
    zeros = (common & -common).bit_length() - 1 if common else 0
    for dtype in (np.int8, np.int16):
        info = np.iinfo(dtype)
        for shift in range(zeros + 1):
            if info.min <= values.min() >> shift and values.max() >> shift <= info.max:
                return (values >> shift).astype(dtype), shift
    return values, 0


def _narrowest_factors(
    multiplier: Int32Array, exponent: Int8Array
) -> tuple[Array, Int8Array | None, int]:
    """(multipliers, exponents, base); exponents that the multipliers' upper bits hold are None."""
    base = int(exponent.min())
    for dtype in (np.uint8, np.uint16):
        fraction = np.iinfo(dtype).bits - 4
        dropped = 30 - fraction
        is_exact = multiplier.min() >= 1 << 30 and not np.any(multiplier & ((1 << dropped) - 1))
        if is_exact and exponent.max() - base < 1 << 4:
            entry = (exponent.astype(np.int64) - base) << fraction
            entry |= (multiplier >> dropped) - (1 << fraction)
            return entry.astype(dtype), None, base
    if not np.any(multiplier & 0x7FFF):
        return (multiplier >> 15).astype(np.uint16), exponent, 0
    return multiplier, exponent, 0


def make_requant(
    *,
    weights: Weights,
    bias: Array | None,
    input_type: TensorType,
    output_type: TensorType,
    clamp: Pair,
    multiplier_bits: int,
    float32_product: bool = False,
) -> Requant:
    """Fold grids into integers: multipliers, exponents and the folded bias. [N4.1] [N4.2]

    Raises
    ------
    SpecViolation
        `[N4.1]` if a folded bias leaves int32, `[N2.3]` if a multiplier cannot have so many bits.
    """
    values = weights.values.reshape(len(weights.codes), -1).astype(np.int64)
    start = np.zeros(len(values), np.int64) if bias is None else bias.astype(np.int64)
    start = start - input_type.zero_point * values.sum(axis=1)
    if start.min() < INT32_MIN or start.max() > INT32_MAX:
        raise SpecViolation("N4.1", "a bias leaves int32: its scale is far too small for its value")
    multiplier, exponent = scale_factors(
        weights.scale,
        input_type.scale,
        output_type.scale,
        bits=multiplier_bits,
        float32_product=float32_product,
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
    weight_scale: Float32Array,
    input_scale: float,
    output_scale: float,
    *,
    bits: int = 31,
    float32_product: bool = False,
) -> tuple[Int32Array, Int8Array]:
    """``s_x · s_w / s_y`` in double from the float32 scales, as multiplier and exponent. [N4.2]

    With `float32_product` ``s_x · s_w`` is rounded to float32 first. [linear-C8]

    Raises
    ------
    SpecViolation
        `[N2.2]` if a factor is 2^30 or more, `[N2.3]` if `bits` is outside 1..31.
    """
    if not 1 <= bits <= 31:
        raise SpecViolation("N2.3", f"multiplier_bits must be within 1..31, not {bits}")
    products = input_scale * weight_scale.astype(np.float64)
    if float32_product:
        with np.errstate(over="ignore"):  # too large a product is refused as any other
            products = products.astype(np.float32).astype(np.float64)
    scales = [Scale.of(float(product) / output_scale) for product in products]
    pairs = [narrow_multiplier(scale.multiplier, scale.exponent, bits) for scale in scales]
    multiplier, exponent = zip(*pairs, strict=True)
    return np.array(multiplier, np.int32), np.array(exponent, np.int8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """One factor for a whole tensor: ``multiplier · 2^(exponent - 31)``. [N2.2]"""

    multiplier: int
    exponent: int

    @classmethod
    def of(cls, real: float) -> "Scale":
        """The factor nearest to a real value.

        Raises
        ------
        SpecViolation
            `[N2.2]` if the value is 2^30 or more: no accumulator could be shifted that far.
        """
        if not 0.0 <= real < 2.0**30:
            raise SpecViolation(
                "N2.2",
                f"the requantization factor {real:g} is outside [0, 2^30): the output's scale is "
                "far too small for its inputs; calibrate the ranges again",
            )
        multiplier, exponent = quantize_multiplier(real)
        return cls(multiplier=multiplier, exponent=exponent)

    def apply(self, x: ArrayLike) -> Int64Array:
        """Scaled integers. [N2.6]"""
        return requantize(x, self.multiplier, self.exponent)

    def bound(self, magnitude: int) -> int:
        """What a value of at most this magnitude reaches after the left shift. [N4.3]"""
        return magnitude << max(self.exponent, 0)

    def c_params(self) -> Mapping[str, CValue]:
        """`struct cq_scale`."""
        return {"multiplier": self.multiplier, "exponent": self.exponent}


def weighted_bound(params: Requant, weights: Int8Array) -> Int64Array:
    """Largest magnitude of any partial sum, left shift included, per channel. [N4.3]

    A partial sum lies between bias + 128·(sum of negative terms) and bias + 128·(positive terms);
    ``|bias| + 128 · sum|w|`` bounds them all, in every order of summation.
    """
    magnitude = np.abs(weights.reshape(len(weights), -1).astype(np.int64)).sum(axis=1)
    bound = np.abs(params.bias.astype(np.int64)) + 128 * magnitude
    # 2^32 is refused as surely as any larger bound, and survives the shift in int64
    result: Int64Array = np.minimum(bound, 1 << 32) << np.maximum(
        params.exponent.astype(np.int64), 0
    )
    return result


def c_weights(packed: Packed | None) -> Mapping[str, CValue]:
    """`struct cq_weights`."""
    assert packed is not None, "an op with weights is emitted after packing"
    levels = None
    if packed.levels is not None:
        levels = CArray(name="levels", c_type="int8_t", data=np.array(packed.levels))
    return {
        "data": CArray(name="weights", c_type="uint8_t", data=np.frombuffer(packed.data, np.uint8)),
        "levels": levels,
        "bytes": len(packed.data),
        "gap": packed.gap,
        "run_bits": packed.run_bits,
    }


def align4(size: int) -> int:
    """Next multiple of 4."""
    return -(-size // 4) * 4


def row_bytes(packed: Packed | None, row: int) -> int:
    """Scratch for the decoded weights of a row, a chunk at a time. [F3]"""
    return decoded_bytes(packed, min(row, CHUNK))


def decoded_bytes(packed: Packed | None, count: int) -> int:
    """Scratch for `count` decoded weights. [F3]

    Dense packings decode to int8 weights, sparse ones to (offset, weight) pairs of two bytes;
    bytes that are the weights themselves are used where they stand in flash.
    """
    assert packed is not None, "an op with weights is emitted after packing"
    if packed.packing == "dense" and packed.bits == 8 and packed.gap == 0:
        return 0
    each = 2 if packed.packing in SPARSE else 1
    return align4(each * count)


def row_cache_bytes(row: int) -> int:
    """Scratch for four decoded rows of 16 bits a weight, in steps of eight weights. [conv2d-C8]"""
    return 8 * 8 * -(-min(row, ROW_CACHE) // 8)


def panel_bytes(packed: Packed | None, row: int, rows: int) -> int:
    """Scratch for a panel: the rows that an mve kernel decodes at a time. [F3]"""
    nonzeros = decoded_bytes(packed, CHUNK) if packed and packed.packing in SPARSE else 0
    if decoded_bytes(packed, 1) == 0:
        return 0
    if row > PANEL_BYTES // 2:
        return nonzeros + CHUNK
    return nonzeros + align4(row * min(rows, max(4, PANEL_BYTES // row // 4 * 4)))


def single(label: str, inputs: tuple[TensorType, ...]) -> TensorType:
    """The only input, an int8 tensor, or a violation of `label`."""
    (x,) = int8_inputs(label, inputs, 1)
    return x


def int8_inputs(label: str, inputs: tuple[TensorType, ...], count: int) -> tuple[TensorType, ...]:
    """`count` int8 tensors, or a violation of `label`."""
    if len(inputs) != count or any(x.dtype is not DType.S8 for x in inputs):
        got = ", ".join(map(str, inputs))
        raise SpecViolation(label, f"{count} int8 input{'s'[: count > 1]} expected, not ({got})")
    return inputs


def image(label: str, inputs: tuple[TensorType, ...]) -> tuple[int, int, int]:
    """(h, w, c) of the only input, an int8 image, or a violation of `label`."""
    x = single(label, inputs)
    if len(x.shape) != 3:
        raise SpecViolation(label, f"the input must be an int8 image (h, w, c), not {x}")
    h, w, c = x.shape
    return h, w, c


def repeated(label: str, a: TensorType, b: TensorType) -> int:
    """Elements after which b starts again while a is read: b is a trailing part of a's shape.

    Raises
    ------
    SpecViolation
        `label`, if b is neither a's shape, nor a trailing part of it, nor one element.
    """
    trailing = b.shape
    while trailing and trailing[0] == 1:
        trailing = trailing[1:]
    if trailing != a.shape[len(a.shape) - len(trailing) :]:
        raise SpecViolation(
            label,
            f"{b} does not repeat along {a}: it must have the same shape, its last axes, or one "
            "element; the larger input comes first",
        )
    return b.elements


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


def rows_met(
    rows: Rows, height: int, kernel: Pair, stride: Pair, dilation: Pair, padding: Padding
) -> tuple[Rows, Padding] | None:
    """Image rows under some rows of windows, and the padding that these see.

    None where a window may lie in the padding alone: it is made of no rows.
    """
    top, bottom, left, right = padding
    reach = (kernel[0] - 1) * dilation[0] + 1
    if max(top, bottom) >= reach:
        return None
    first, end = rows[0] * stride[0] - top, (rows[1] - 1) * stride[0] - top + reach
    met = (max(first, 0), min(end, height))
    return met, (met[0] - first, end - met[1], left, right)


def elementwise_band(
    op: Op[Any], params: Any, inputs: tuple[TensorType, ...], output: TensorType, rows: Rows
) -> Band | None:
    """The same rows of every input, if all are images of the output's shape."""
    if len(output.shape) != 3 or any(x.shape != output.shape for x in inputs):
        return None
    return Band(op=op, params=params, reads=(rows,) * len(inputs))


def clamped(values: Int64Array, clamp: Pair) -> Int64Array:
    """Limited like an output, but not narrowed: ends of a range."""
    result: Int64Array = np.clip(values, *clamp)
    return result


def check_clamp(label: str, clamp: Pair) -> None:
    """The limits of a fused activation are an interval of int8."""
    if not -128 <= clamp[0] <= clamp[1] <= 127:
        raise SpecViolation(label, f"the clamp {list(clamp)} is not an interval of int8")


def taps_inside(
    size: Shape, kernel: Pair, stride: Pair, dilation: Pair, padding: Padding
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which taps meet the image and not its border: of shapes (oh, kh) and (ow, kw)."""
    count = window("", (size[0], size[1]), kernel, stride, dilation, padding)
    before = (padding[0], padding[2])
    positions = [
        np.arange(count[axis])[:, None] * stride[axis]
        + np.arange(kernel[axis]) * dilation[axis]
        - before[axis]
        for axis in (0, 1)
    ]
    rows, columns = ((0 <= p) & (p < n) for p, n in zip(positions, size, strict=False))
    return rows, columns


def taps(padded_image: Array, kernel: Pair, stride: Pair, dilation: Pair) -> Iterator[Array]:
    """For each kernel position in turn the pixels it meets: views of shape (batch, oh, ow, c)."""
    _, h, w, _ = padded_image.shape
    rows = h - (kernel[0] - 1) * dilation[0]
    columns = w - (kernel[1] - 1) * dilation[1]
    for i, j in np.ndindex(kernel):
        y, x = i * dilation[0], j * dilation[1]
        yield padded_image[:, y : y + rows : stride[0], x : x + columns : stride[1]]
