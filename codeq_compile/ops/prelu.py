# SPDX-License-Identifier: Apache-2.0
"""ReLU with a slope for each channel below zero.  Spec: NUMERICS.md §prelu."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from codeq_compile.ir.graph import Node
from codeq_compile.ir.op import Array, CValue, Op, register
from codeq_compile.ir.types import Packed, Range, TensorType
from codeq_compile.numerics import Int8Array, clamp_to_int8
from codeq_compile.ops.base import Scale, int8_inputs, repeated
from codeq_compile.ops.elementwise import by_period
from codeq_compile.ops.trips import Trips


@dataclass(frozen=True, slots=True, kw_only=True)
class PReLUParams:
    """Integers of one layer: zero points, the factors of either side of zero."""

    in_zero: int
    slope_zero: int
    out_zero: int
    above: Scale
    below: Scale


@register("prelu")
@dataclass(frozen=True, slots=True, kw_only=True)
class PReLU(Op[PReLUParams]):
    """``x`` above zero and ``x · slope`` below; the second input holds the slopes. [prelu-C1]"""

    in_place = (0,)

    def infer(self, node: Node, inputs: tuple[TensorType, ...]) -> TensorType:
        """Output of x's shape.

        Raises
        ------
        SpecViolation
            `[prelu-C1]` inputs, `[prelu-C2]` shapes.
        """
        x, slope = int8_inputs("prelu-C1", inputs, 2)
        repeated("prelu-C2", x, slope)
        return TensorType(shape=x.shape)

    def lower(self, node: Node, inputs: tuple[TensorType, ...], output: TensorType) -> PReLUParams:
        x, slope = inputs
        return PReLUParams(
            in_zero=x.zero_point,
            slope_zero=slope.zero_point,
            out_zero=output.zero_point,
            above=Scale.of(x.scale / output.scale),
            below=Scale.of(x.scale * slope.scale / output.scale),
        )

    def simulate(self, params: PReLUParams, *inputs: Array) -> Int8Array:
        """Golden of `cq_prelu_*`. [prelu-C1]"""
        x, slope = inputs
        v = by_period(x.astype(np.int64) - params.in_zero, slope)
        steep = by_period(slope.astype(np.int64) - params.slope_zero, slope)
        scaled = np.where(v >= 0, params.above.apply(v), params.below.apply(v * steep))
        return clamp_to_int8(scaled + params.out_zero, -128, 127).reshape(x.shape)

    def c_params(
        self,
        params: PReLUParams,
        inputs: tuple[TensorType, ...],
        output: TensorType,
        packed: Packed | None,
    ) -> Mapping[str, CValue]:
        x, slope = inputs
        return {
            "size": x.elements,
            "slope_size": slope.elements,
            "in_zero": params.in_zero,
            "slope_zero": params.slope_zero,
            "out_zero": params.out_zero,
            "above": params.above.c_params(),
            "below": params.below.c_params(),
        }

    def trips(
        self,
        params: PReLUParams,
        inputs: tuple[TensorType, ...],
        output: TensorType,
        packed: Packed | None,
        family: str,
        isa: str,
    ) -> Trips:
        """How many values are below zero depends on them: as if all 256 were equally frequent."""
        below = (params.in_zero + 128) / 256
        return {"elements": output.elements, "elements below zero": below * output.elements}

    def output_range(
        self,
        params: PReLUParams,
        ranges: tuple[Range, ...],
        inputs: tuple[TensorType, ...],
        output: TensorType,
    ) -> Range:
        x, slope = ranges
        # on either side of zero it rises or falls with both: the ends of both sides are enough
        sides = [np.clip(params.in_zero + step, x.low, x.high) for step in (-1, 0)]
        corners = [
            self.simulate(params, v[None], s[None])[0].astype(np.int64)
            for v in (x.low, x.high, *sides)
            for s in (slope.low, slope.high)
        ]
        return Range(low=np.min(corners, axis=0), high=np.max(corners, axis=0))

    def macs(self, params: PReLUParams, output: TensorType) -> int:
        return output.elements

    def accumulator_bound(self, params: PReLUParams) -> Array:
        """Of the value above zero, and of the product below. [prelu-C3]"""
        x, slope = (max(128 + zero, 127 - zero) for zero in (params.in_zero, params.slope_zero))
        return np.array([params.above.bound(x), params.below.bound(x * slope)], np.int64)
