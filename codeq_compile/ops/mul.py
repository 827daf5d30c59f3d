# SPDX-License-Identifier: Apache-2.0
"""Element-wise product of two grids.  Spec: NUMERICS.md §mul."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from codeq_compile.ir.graph import Node
from codeq_compile.ir.op import Array, Band, CValue, Op, Rows, register
from codeq_compile.ir.types import Packed, Range, TensorType
from codeq_compile.numerics import Int8Array, clamp_to_int8
from codeq_compile.ops.base import (
    Pair,
    Scale,
    check_clamp,
    clamped,
    elementwise_band,
    int8_inputs,
    repeated,
)
from codeq_compile.ops.elementwise import by_period
from codeq_compile.ops.trips import Trips

DSP_MIN_PERIOD = 8
"""Shorter second operands are not worth a call of the dsp loop; CQ_MUL_MIN_PERIOD of runtime_c."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MulParams:
    """Integers of one product: zero points, limits, one factor."""

    a_zero: int
    b_zero: int
    out_zero: int
    clamp: Pair
    scale: Scale


@register("mul")
@dataclass(frozen=True, slots=True, kw_only=True)
class Mul(Op[MulParams]):
    """``a · b`` with b of a's shape, or repeated along a's first axes. [mul-C1]

    Parameters
    ----------
    clamp : tuple of int (min, max), default (-128, 127)
        Output limits of a fused activation.
    """

    clamp: Pair = (-128, 127)

    in_place = (0, 1)

    def infer(self, node: Node, inputs: tuple[TensorType, ...]) -> TensorType:
        """Output of a's shape.

        Raises
        ------
        SpecViolation
            `[mul-C1]` inputs, `[mul-C2]` shapes, `[mul-C3]` clamp.
        """
        a, b = int8_inputs("mul-C1", inputs, 2)
        repeated("mul-C2", a, b)
        check_clamp("mul-C3", self.clamp)
        return TensorType(shape=a.shape)

    def lower(self, node: Node, inputs: tuple[TensorType, ...], output: TensorType) -> MulParams:
        a, b = inputs
        return MulParams(
            a_zero=a.zero_point,
            b_zero=b.zero_point,
            out_zero=output.zero_point,
            clamp=self.clamp,
            scale=Scale.of(a.scale * b.scale / output.scale),
        )

    def simulate(self, params: MulParams, *inputs: Array) -> Int8Array:
        """Golden of `cq_mul_*`. [mul-C1]"""
        a, b = inputs
        acc = by_period(a.astype(np.int64) - params.a_zero, b) * by_period(
            b.astype(np.int64) - params.b_zero, b
        )
        scaled = params.scale.apply(acc) + params.out_zero
        return clamp_to_int8(scaled, *params.clamp).reshape(a.shape)

    def c_params(
        self,
        params: MulParams,
        inputs: tuple[TensorType, ...],
        output: TensorType,
        packed: Packed | None,
    ) -> Mapping[str, CValue]:
        a, b = inputs
        return {
            "size": a.elements,
            "b_size": b.elements,
            "a_zero": params.a_zero,
            "b_zero": params.b_zero,
            "out_zero": params.out_zero,
            "clamp_min": params.clamp[0],
            "clamp_max": params.clamp[1],
            "scale": params.scale.c_params(),
        }

    def macs(self, params: MulParams, output: TensorType) -> int:
        return output.elements

    def band(
        self, params: MulParams, inputs: tuple[TensorType, ...], output: TensorType, rows: Rows
    ) -> Band | None:
        return elementwise_band(self, params, inputs, output, rows)

    def trips(
        self,
        params: MulParams,
        inputs: tuple[TensorType, ...],
        output: TensorType,
        packed: Packed | None,
        family: str,
        isa: str,
    ) -> Trips:
        size, period = output.elements, inputs[1].elements
        if isa != "dsp" or params.scale.exponent > -2 or period < DSP_MIN_PERIOD:
            return {"elements of any factor": size}
        return {
            "runs": size // period,
            "elements": size,
            "elements clamped": size * (params.clamp != (-128, 127)),
        }

    def output_range(
        self,
        params: MulParams,
        ranges: tuple[Range, ...],
        inputs: tuple[TensorType, ...],
        output: TensorType,
    ) -> Range:
        (a, b), zeros = ranges, (params.a_zero, params.b_zero)
        corners = [
            (p - zeros[0]) * (q - zeros[1]) for p in (a.low, a.high) for q in (b.low, b.high)
        ]
        acc = Range(low=np.min(corners, axis=0), high=np.max(corners, axis=0))
        return acc.through(
            lambda end: clamped(params.scale.apply(end) + params.out_zero, params.clamp)
        )

    def accumulator_bound(self, params: MulParams) -> Array:
        """Of the product of the largest distances from the zero points. [mul-C4]"""
        a, b = (max(128 + zero, 127 - zero) for zero in (params.a_zero, params.b_zero))
        return np.array([params.scale.bound(a * b)], np.int64)
