# SPDX-License-Identifier: Apache-2.0
"""Types of the layer IR: what a tensor is, what a weight is. Spec: docs/NUMERICS.md §1 and §3."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from codeq_compile.errors import SpecViolation
from codeq_compile.numerics import Int8Array, Int64Array

Float32Array = NDArray[np.float32]

Shape = tuple[int, ...]


class DType(StrEnum):
    """Element type of an activation."""

    S8 = "s8"
    S16 = "s16"
    S32 = "s32"

    @property
    def bits(self) -> int:
        return int(self.removeprefix("s"))

    @property
    def numpy(self) -> np.dtype[np.signedinteger]:
        return np.dtype(f"int{self.bits}")

    @property
    def c_type(self) -> str:
        return f"int{self.bits}_t"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Activation grid: ``real = scale · (q - zero_point)``. [N3.1]

    Parameters
    ----------
    scale : float
        Positive; exactly a float32.
    zero_point : int
        An integer of `bits` bits.
    bits : int, default 8
        Of the tensor's elements.
    """

    scale: float
    zero_point: int
    bits: int = 8

    def __post_init__(self) -> None:
        if not (math.isfinite(self.scale) and self.scale > 0.0):
            raise SpecViolation("N3.1", f"an activation scale must be positive, not {self.scale!r}")
        with np.errstate(over="ignore"):  # too large a scale becomes inf, which is not equal
            is_float32 = float(np.float32(self.scale)) == self.scale
        if not is_float32:
            raise SpecViolation("N3.1", f"the activation scale {self.scale!r} is not a float32")
        low, high = self.limits
        if not low <= self.zero_point <= high:
            raise SpecViolation("N3.1", f"zero point {self.zero_point} is outside [{low}, {high}]")

    @property
    def limits(self) -> tuple[int, int]:
        """Smallest and largest integer."""
        return -(1 << (self.bits - 1)), (1 << (self.bits - 1)) - 1

    def quantize(self, real: NDArray[np.floating]) -> NDArray[np.signedinteger]:
        """Nearest integer of real values, ties away from zero, saturated. [N3.2]

        Parameters
        ----------
        real : float array of any shape

        Returns
        -------
        int array of the grid's width and of the same shape
        """
        steps = np.asarray(real, np.float64) / self.scale
        nearest = np.copysign(np.floor(np.abs(steps) + 0.5), steps)
        q: NDArray[np.signedinteger] = np.clip(nearest + self.zero_point, *self.limits).astype(
            f"int{self.bits}"
        )
        return q

    def dequantize(self, q: NDArray[np.integer]) -> Float32Array:
        """Real values of integers: float32 array of the same shape."""
        return (self.scale * (q.astype(np.float64) - self.zero_point)).astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorType:
    """Shape, element type and grid of one activation, without the batch dimension.

    Images are (h, w, c), sequences (1, length, c), vectors (features,).  `grid` is None only
    for s32 tensors, which hold plain integers (argmax).
    """

    shape: Shape
    dtype: DType = DType.S8
    grid: Grid | None = None

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        return self.elements * self.dtype.numpy.itemsize

    @property
    def scale(self) -> float:
        return self._grid().scale

    @property
    def zero_point(self) -> int:
        return self._grid().zero_point

    def _grid(self) -> Grid:
        if self.grid is None:
            raise SpecViolation("N3.1", f"an {self} tensor has no grid")
        return self.grid

    def __str__(self) -> str:
        return f"{self.dtype}[{','.join(map(str, self.shape))}]"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Range:
    """Values that a tensor can take, by channel: nothing outside ``low .. high`` is ever seen.

    Parameters
    ----------
    low, high : int64 array of shape (channels,)
        Limits of each channel of the last axis, both included.
    """

    low: Int64Array
    high: Int64Array

    @classmethod
    def of(cls, kind: TensorType) -> "Range":
        """Every value of a type."""
        limits = np.iinfo(kind.dtype.numpy)
        channels = kind.shape[-1]
        return cls(
            low=np.full(channels, limits.min, np.int64),
            high=np.full(channels, limits.max, np.int64),
        )

    @property
    def is_constant(self) -> NDArray[np.bool_]:
        """Channels with one possible value: bool array of shape (channels,)."""
        constant: NDArray[np.bool_] = self.low == self.high
        return constant

    def including(self, value: int) -> "Range":
        """The range where every channel may also be `value`, as at a padded border."""
        return Range(low=np.minimum(self.low, value), high=np.maximum(self.high, value))

    def merged(self, channels: int) -> "Range":
        """The range of as many channels whose values may come from any channel of this one."""
        return Range(
            low=np.full(channels, self.low.min(), np.int64),
            high=np.full(channels, self.high.max(), np.int64),
        )

    def through(self, rising: Callable[[Int64Array], Int64Array]) -> "Range":
        """What a function makes of it that never falls, or that only rearranges channels."""
        return Range(low=rising(self.low), high=rising(self.high))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Weights:
    """Quantized weights: codes on a grid, or codes into a table of levels. [N3.3]

    Parameters
    ----------
    codes : int8 array of shape (out_channels, ...)
        On a grid: the index i in [-(2^(bits-1) - 1), 2^(bits-1) - 1]; an 8-bit layer may hold -128.
        With `levels`: the position in the table, 0 .. 2^bits - 1.
    bits : int
        Stored width, 1 to 8; 1 needs `levels`.
    scale : float32 array of shape (out_channels,) or (1,)
        Real value of one integer level, per output channel or per tensor.
    gap : int
        Integer levels skipped on each side of zero: the layer computes with
        ``i + gap · sign(i)``. 0 is the ordinary grid.
    levels : tuple of int, optional
        At most 2^bits int8 levels (bits <= 7); replaces the grid.
    """

    codes: Int8Array = field(repr=False)
    bits: int
    scale: Float32Array = field(repr=False)
    gap: int = 0
    levels: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= 8:
            raise SpecViolation("N3.3", f"weight width {self.bits} is outside 1..8 bits")
        if self.codes.dtype != np.int8 or self.codes.ndim < 2 or self.codes.size == 0:
            raise SpecViolation(
                "N3.3", "weight codes must be a non-empty int8 array, channels first"
            )
        if self.scale.dtype != np.float32 or self.scale.shape not in {(1,), self.codes.shape[:1]}:
            raise SpecViolation(
                "N3.3", "the weight scale must be float32, one a tensor or a channel"
            )
        if not (np.isfinite(self.scale).all() and (self.scale > 0).all()):
            raise SpecViolation("N3.3", "every weight scale must be positive and finite")
        low, high = int(self.codes.min()), int(self.codes.max())
        if self.levels is not None:
            self._check_levels(self.levels, low, high)
            return
        if self.bits == 1:
            raise SpecViolation("N3.3", "1-bit weights need a table of two levels")
        top = (1 << (self.bits - 1)) - 1
        if high > top or (low < -top and (self.bits, self.gap) != (8, 0)):
            raise SpecViolation("N3.3", f"weight codes {low}..{high} do not fit {self.bits} bits")
        if self.gap < 0 or (self.gap > 0 and max(high, -low) + self.gap > 127):
            raise SpecViolation("N3.3", f"gap {self.gap} leads to weights outside [-127, 127]")

    def _check_levels(self, levels: tuple[int, ...], low: int, high: int) -> None:
        if self.bits > 7 or not 1 <= len(levels) <= 1 << self.bits or self.gap != 0:
            raise SpecViolation(
                "N3.3", "a level table holds at most 2^bits levels, bits <= 7, gap 0"
            )
        if not all(-128 <= level <= 127 for level in levels):
            raise SpecViolation("N3.3", "weight levels must be int8")
        if low < 0 or high >= len(levels):
            raise SpecViolation("N3.3", f"weight codes {low}..{high} leave the table of levels")

    @property
    def values(self) -> Int8Array:
        """The integers that the layer multiplies with; same shape as `codes`. [N3.4]"""
        if self.levels is not None:
            return np.array(self.levels, np.int8)[self.codes]
        return (self.codes + np.int8(self.gap) * np.sign(self.codes)).astype(np.int8)

    @property
    def zeros(self) -> float:
        """Share of weights whose integer is 0, in [0, 1]."""
        return float(np.mean(self.values == 0))

    @property
    def is_sign(self) -> bool:
        """True for a 2-bit grid: weights that are not zero have one magnitude."""
        return self.bits == 2 and self.levels is None

    @property
    def is_ternary(self) -> bool:
        """True for a 2-bit grid with gap 0: every weight is -1, 0 or 1."""
        return self.is_sign and self.gap == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """Weights as they stand in flash, made by one codec of `codeq_compile.packing`.

    Parameters
    ----------
    packing : str
        Name of the codec: dense, ternary, bitmask, rle.
    bits : int
        Stored width; the `w<bits>` of the kernel's name.
    data : bytes
        The stream, layout in docs/FORMATS.md.
    gap : int
        Added by the decoder to the magnitude of every non-zero index.
    levels : tuple of int, optional
        Table applied by the decoder instead of the gap.
    run_bits : int
        Width of a zero-run field; 0 where the packing has none.
    """

    packing: str
    bits: int
    data: bytes = field(repr=False)
    gap: int = 0
    levels: tuple[int, ...] | None = None
    run_bits: int = 0

    @property
    def bytes(self) -> int:
        """Flash bytes: the stream and the table of levels."""
        return len(self.data) + len(self.levels or ())
