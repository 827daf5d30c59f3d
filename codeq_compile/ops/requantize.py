# SPDX-License-Identifier: Apache-2.0
"""Change of grid, with limits: also a ReLU that stands alone.  Spec: NUMERICS.md §requantize."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from codeq_compile.ir.graph import Node
from codeq_compile.ir.op import Array, Band, CValue, Op, Rows, register
from codeq_compile.ir.types import Packed, Range, TensorType
from codeq_compile.numerics import Int8Array, Int64Array, clamp_to_int8
from codeq_compile.ops.base import Pair, Scale, check_clamp, clamped, elementwise_band, single
from codeq_compile.ops.elementwise import INT8, lookup
from codeq_compile.ops.trips import Trips

TABLE_BYTES = 256
"""Of all results."""
MIN_TABLED = 512
"""With fewer elements a table takes longer than it saves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequantizeParams:
    """Integers of one change of grid.

    Parameters
    ----------
    in_zero, out_zero : int
    clamp : tuple of int (min, max)
    scale : Scale
    has_room : bool
        For a table. [requantize-C4]
    """

    in_zero: int
    out_zero: int
    clamp: Pair
    scale: Scale
    has_room: bool = False


@register("requantize")
@dataclass(frozen=True, slots=True, kw_only=True)
class Requantize(Op[RequantizeParams]):
    """The same real values on the output's grid. [requantize-C1]

    Parameters
    ----------
    clamp : tuple of int (min, max), default (-128, 127)
        Output limits of a fused activation.
    """

    clamp: Pair = (-128, 127)

    in_place = (0,)

    def infer(self, node: Node, inputs: tuple[TensorType, ...]) -> TensorType:
        """Output of the input's shape.

        Raises
        ------
        SpecViolation
            `[requantize-C1]` input, `[requantize-C2]` clamp.
        """
        x = single("requantize-C1", inputs)
        check_clamp("requantize-C2", self.clamp)
        return TensorType(shape=x.shape)

    def lower(
        self, node: Node, inputs: tuple[TensorType, ...], output: TensorType
    ) -> RequantizeParams:
        (x,) = inputs
        return RequantizeParams(
            in_zero=x.zero_point,
            out_zero=output.zero_point,
            clamp=self.clamp,
            scale=Scale.of(x.scale / output.scale),
        )

    def simulate(self, params: RequantizeParams, *inputs: Array) -> Int8Array:
        """Golden of `cq_requantize_*`: the rule on all 256 values, then a table. [requantize-C1]"""
        (x,) = inputs
        scaled = params.scale.apply(INT8 - params.in_zero) + params.out_zero
        return lookup(clamp_to_int8(scaled, *params.clamp), x)

    def c_params(
        self,
        params: RequantizeParams,
        inputs: tuple[TensorType, ...],
        output: TensorType,
        packed: Packed | None,
    ) -> Mapping[str, CValue]:
        return {
            "size": output.elements,
            "in_zero": params.in_zero,
            "out_zero": params.out_zero,
            "clamp_min": params.clamp[0],
            "clamp_max": params.clamp[1],
            "scale": params.scale.c_params(),
        }

    def scratch_bytes(
        self,
        params: RequantizeParams,
        inputs: tuple[TensorType, ...],
        output: TensorType,
        packed: Packed | None,
        family: str,
        isa: str = "ref",
    ) -> int:
        """A table of all results, where there is room for it. [requantize-C4]"""
        is_tabled = params.has_room and isa == "ref" and output.elements >= MIN_TABLED
        return TABLE_BYTES if is_tabled else 0

    def with_scratch(self, params: RequantizeParams, limit: int) -> RequantizeParams:
        return replace(params, has_room=limit >= TABLE_BYTES)

    def trips(
        self,
        params: RequantizeParams,
        inputs: tuple[TensorType, ...],
        output: TensorType,
        packed: Packed | None,
        family: str,
        isa: str,
    ) -> Trips:
        if self.scratch_bytes(params, inputs, output, packed, family, isa):
            return {"tables": 1, "elements by table": output.elements}
        return {"elements": output.elements}

    def band(
        self,
        params: RequantizeParams,
        inputs: tuple[TensorType, ...],
        output: TensorType,
        rows: Rows,
    ) -> Band | None:
        return elementwise_band(self, params, inputs, output, rows)

    def output_range(
        self,
        params: RequantizeParams,
        ranges: tuple[Range, ...],
        inputs: tuple[TensorType, ...],
        output: TensorType,
    ) -> Range:
        def requantized(x: Int64Array) -> Int64Array:
            scaled = params.scale.apply(x - params.in_zero) + params.out_zero
            return clamped(scaled, params.clamp)

        return ranges[0].through(requantized)

    def accumulator_bound(self, params: RequantizeParams) -> Array:
        """Of the largest distance from the zero point. [requantize-C3]"""
        distance = max(128 + params.in_zero, 127 - params.in_zero)
        return np.array([params.scale.bound(distance)], np.int64)
