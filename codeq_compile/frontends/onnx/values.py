# SPDX-License-Identifier: Apache-2.0
"""What is known of a tensor of the file: a constant, integers of the graph, or a function of them.

The file computes in floats between a DequantizeLinear and the next QuantizeLinear; the graph has
the integers on both sides.
"""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from codeq_compile.frontends.builder import Refusal
from codeq_compile.frontends.onnx.layout import Layout
from codeq_compile.ir.op import Array
from codeq_compile.ir.types import Float32Array, Grid, Shape

UINT8_OFFSET = 128
"""What a uint8 of the file has more than the int8 of the graph."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Constant:
    """Stored numbers, or those that follow from shapes.

    Parameters
    ----------
    array : array of any shape and type
    is_narrow : bool
        Its int8 or uint8 are int4 or uint4 of the file.
    """

    array: Array = field(repr=False)
    is_narrow: bool = False

    @property
    def shape(self) -> Shape:
        return self.array.shape

    @property
    def bits(self) -> int:
        """Width of an integer."""
        return 4 if self.is_narrow else 8 * self.array.dtype.itemsize

    @property
    def type_name(self) -> str:
        """Type of the integers, as the file calls it."""
        return f"{'u' * (self.array.dtype.kind == 'u')}int{self.bits}"

    @property
    def limits(self) -> tuple[int, int]:
        """Smallest and largest integer."""
        signs = 0 if self.array.dtype.kind == "u" else 1 << (self.bits - 1)
        return -signs, (1 << self.bits) - 1 - signs


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Quantized:
    """Constant integers with a grid: weights and biases behind their DequantizeLinear.

    Parameters
    ----------
    levels : int array of any shape
        Integers less their zero point.
    scale : float32 array of shape (channels,) or (1,)
        Per channel along `axis`.
    axis : int
    bits : int
        Of the stored integers.
    """

    levels: Array = field(repr=False)
    scale: Float32Array = field(repr=False)
    axis: int
    bits: int

    @property
    def shape(self) -> Shape:
        return self.levels.shape

    @property
    def real(self) -> NDArray[np.float64]:
        """The real values."""
        return self.levels * self._spread(self.scale.astype(np.float64))

    def _spread(self, scale: Array) -> Array:
        if len(scale) == 1:
            return scale.reshape(())
        return scale.reshape([-1 if i == self.axis else 1 for i in range(self.levels.ndim)])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Activation:
    """A tensor of the graph.

    Parameters
    ----------
    tensor : str
        Its name in the graph.
    shape : tuple of int
        In ONNX, with the batch.
    layout : Layout
    offset : int, optional
        Where the file speaks of the integers themselves: what they have more than the graph's.
        None where it speaks of the real values.
    """

    tensor: str
    shape: Shape
    layout: Layout
    offset: int | None = None

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    def to_memory(self, array: Array) -> Array:
        """ONNX's elements of samples (count, *shape) as the graph has them: (count, elements)."""
        return array.reshape(len(array), -1)[:, self.layout.positions()]

    def from_memory(self, array: Array) -> Array:
        """The opposite of `to_memory`, of shape (count, *shape)."""
        flat = np.empty((len(array), self.elements), array.dtype)
        flat[:, self.layout.positions()] = array.reshape(len(array), -1)
        return flat.reshape(len(array), *self.shape)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Function:
    """A function of each element of a tensor, not yet computed: it becomes a table of 256 bytes.

    Parameters
    ----------
    source : Activation
        Its shape and layout are those of the function.
    results : float64 array of shape (256,)
        For the integers -128 to 127 of the source: real values, or integers of the file.
    grid : Grid, optional
        On which the results are integers, where that is known.
    is_integer : bool
        The results are integers of the file.
    """

    source: Activation
    results: NDArray[np.float64] = field(repr=False)
    grid: Grid | None = None
    is_integer: bool = False

    @property
    def shape(self) -> Shape:
        return self.source.shape


Value = Constant | Quantized | Activation | Function


def grid_of(scale: float, zero_point: int) -> Grid:
    """An activation's grid, or a refusal that says what is wrong with it."""
    if not (math.isfinite(scale) and scale > 0):
        raise Refusal(f"its scale is {scale}: calibrate the model again")
    if not -128 <= zero_point <= 127:
        raise Refusal(f"its zero point {zero_point} is outside int8")
    return Grid(scale=float(np.float32(scale)), zero_point=zero_point)


def range_grid(results: NDArray[np.float64]) -> Grid:
    """The finest grid that holds all results of a function."""
    low, high = min(0.0, float(results.min())), max(0.0, float(results.max()))
    if not (math.isfinite(low) and math.isfinite(high)) or high == low:
        raise Refusal("its results are not finite, or all 0: quantize its output")
    scale = float(np.float32((high - low) / 255))
    if scale <= 0 or not math.isfinite(scale):
        raise Refusal("its results are too small or too large: quantize its output")
    return Grid(scale=scale, zero_point=int(np.clip(round(-128 - low / scale), -128, 127)))
