# SPDX-License-Identifier: Apache-2.0
"""Constant padding of an image.  Spec: NUMERICS.md §pad."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from codeq_compile.errors import SpecViolation
from codeq_compile.ir.graph import Node
from codeq_compile.ir.op import Array, CValue, Op, register
from codeq_compile.ir.types import Packed, Range, TensorType
from codeq_compile.numerics import Int8Array
from codeq_compile.ops.base import image
from codeq_compile.ops.trips import Trips, copies, fills, total


@dataclass(frozen=True, slots=True, kw_only=True)
class PadParams:
    """`value` is the int8 that fills the border."""

    value: int


@register("pad")
@dataclass(frozen=True, slots=True, kw_only=True)
class Pad(Op[PadParams]):
    """A border around an image; one grid for both. [pad-C1]

    Parameters
    ----------
    before, after : tuple of int (h, w, c), default 0
        Elements added above, left and before channel 0; below, right and behind the last.
    value : int, optional
        int8 that fills the border; by default the zero point, i.e. real 0.
    """

    before: tuple[int, int, int] = (0, 0, 0)
    after: tuple[int, int, int] = (0, 0, 0)
    value: int | None = None

    def infer(self, node: Node, inputs: tuple[TensorType, ...]) -> TensorType:
        """Output (h, w, c) with the border, on the input's grid.

        Raises
        ------
        SpecViolation
            `[pad-C1]` input, `[pad-C2]` border, `[pad-C3]` value.
        """
        shape = image("pad-C1", inputs)
        if min(*self.before, *self.after) < 0:
            raise SpecViolation("pad-C2", "a border is 0 or wider; use a slice to crop")
        if self.value is not None and not -128 <= self.value <= 127:
            raise SpecViolation("pad-C3", f"the value {self.value} is not int8")
        padded = zip(self.before, shape, self.after, strict=True)
        return TensorType(shape=tuple(map(sum, padded)), grid=inputs[0].grid)

    def lower(self, node: Node, inputs: tuple[TensorType, ...], output: TensorType) -> PadParams:
        return PadParams(value=inputs[0].zero_point if self.value is None else self.value)

    def simulate(self, params: PadParams, *inputs: Array) -> Int8Array:
        """Golden of `cq_pad_*`. [pad-C1]"""
        (x,) = inputs
        border = ((0, 0), *zip(self.before, self.after, strict=True))
        return np.pad(x, border, constant_values=params.value)

    def c_params(
        self,
        params: PadParams,
        inputs: tuple[TensorType, ...],
        output: TensorType,
        packed: Packed | None,
    ) -> Mapping[str, CValue]:
        return {
            "in": inputs[0].shape,
            "out": output.shape,
            "before": self.before,
            "value": params.value,
        }

    def trips(
        self,
        params: PadParams,
        inputs: tuple[TensorType, ...],
        output: TensorType,
        packed: Packed | None,
        family: str,
        isa: str,
    ) -> Trips:
        (h, w, c), (oh, ow, oc) = inputs[0].shape, output.shape
        (top, left, front), (bottom, right, back) = self.before, self.after
        rows = (top + np.arange(h)) * ow * oc
        pixels = (rows[:, None] + (left + np.arange(w)) * oc).reshape(-1)
        return total(
            {"rows": h},
            copies(pixels + front, c * np.arange(h * w), c),
            fills(pixels, front),
            fills(pixels + front + c, back),
            fills(rows, left * oc),
            fills(rows + (ow - right) * oc, right * oc),
            fills(np.zeros(1, np.int64), top * ow * oc),
            fills(np.full(1, (oh - bottom) * ow * oc), bottom * ow * oc),
        )

    def output_range(
        self,
        params: PadParams,
        ranges: tuple[Range, ...],
        inputs: tuple[TensorType, ...],
        output: TensorType,
    ) -> Range:
        (x,) = ranges
        if any(self.before[:2]) or any(self.after[:2]):
            x = x.including(params.value)
        border = (self.before[2], self.after[2])
        return x.through(lambda end: np.pad(end, border, constant_values=params.value))
