# SPDX-License-Identifier: Apache-2.0
"""Element-wise larger or smaller of two values.  Spec: NUMERICS.md §extremum."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from codeq_compile.errors import SpecViolation
from codeq_compile.ir.graph import Node
from codeq_compile.ir.op import Array, Band, CValue, Op, Rows, register
from codeq_compile.ir.types import Packed, Range, TensorType
from codeq_compile.numerics import Int8Array
from codeq_compile.ops.base import elementwise_band, int8_inputs, repeated
from codeq_compile.ops.elementwise import by_period


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtremumParams:
    """No integers beyond the op's own fields."""


@register("extremum")
@dataclass(frozen=True, slots=True, kw_only=True)
class Extremum(Op[ExtremumParams]):
    """``max(a, b)`` or ``min(a, b)``, with b of a's shape or repeated. [extremum-C1]

    Parameters
    ----------
    largest : bool
        The larger of both instead of the smaller.
    """

    largest: bool

    in_place = (0, 1)

    def infer(self, node: Node, inputs: tuple[TensorType, ...]) -> TensorType:
        """Output of a's shape on the grid of both.

        Raises
        ------
        SpecViolation
            `[extremum-C1]` inputs, `[extremum-C2]` shapes, `[extremum-C3]` grids.
        """
        a, b = int8_inputs("extremum-C1", inputs, 2)
        repeated("extremum-C2", a, b)
        if a.grid != b.grid:
            raise SpecViolation(
                "extremum-C3", "the inputs have several grids: requantize them to one first"
            )
        return TensorType(shape=a.shape, grid=a.grid)

    def lower(
        self, node: Node, inputs: tuple[TensorType, ...], output: TensorType
    ) -> ExtremumParams:
        return ExtremumParams()

    def simulate(self, params: ExtremumParams, *inputs: Array) -> Int8Array:
        """Golden of `cq_extremum_*`. [extremum-C1]"""
        a, b = inputs
        choose = np.maximum if self.largest else np.minimum
        chosen: Int8Array = choose(by_period(a, b), by_period(b, b)).reshape(a.shape)
        return chosen

    def c_params(
        self,
        params: ExtremumParams,
        inputs: tuple[TensorType, ...],
        output: TensorType,
        packed: Packed | None,
    ) -> Mapping[str, CValue]:
        a, b = inputs
        return {"size": a.elements, "b_size": b.elements, "largest": int(self.largest)}

    def band(
        self, params: ExtremumParams, inputs: tuple[TensorType, ...], output: TensorType, rows: Rows
    ) -> Band | None:
        return elementwise_band(self, params, inputs, output, rows)

    def output_range(
        self,
        params: ExtremumParams,
        ranges: tuple[Range, ...],
        inputs: tuple[TensorType, ...],
        output: TensorType,
    ) -> Range:
        a, b = ranges
        choose = np.maximum if self.largest else np.minimum
        return Range(low=choose(a.low, b.low), high=choose(a.high, b.high))
