# SPDX-License-Identifier: Apache-2.0
"""Element-wise difference of two grids.  Spec: NUMERICS.md §sub."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from codeq_compile.ir.graph import Node
from codeq_compile.ir.op import Array, Band, CValue, Op, Rows, register
from codeq_compile.ir.types import Packed, Range, TensorType
from codeq_compile.numerics import Int8Array, Int64Array, clamp_to_int8
from codeq_compile.ops.base import (
    Pair,
    Scale,
    check_clamp,
    clamped,
    elementwise_band,
    int8_inputs,
    repeated,
)
from codeq_compile.ops.elementwise import LEFT_SHIFT, aligned, by_period, lookup


@dataclass(frozen=True, slots=True, kw_only=True)
class SubParams:
    """Integers of one difference: zero points, limits, factors of both inputs and of the output."""

    a_zero: int
    b_zero: int
    out_zero: int
    clamp: Pair
    a_scale: Scale
    b_scale: Scale
    out_scale: Scale


@register("sub")
@dataclass(frozen=True, slots=True, kw_only=True)
class Sub(Op[SubParams]):
    """``a - b`` with b of a's shape, or repeated along a's first axes. [sub-C1]

    Parameters
    ----------
    clamp : tuple of int (min, max), default (-128, 127)
        Output limits of a fused activation.
    float32_scales : bool, default False
        The three factors are formed in float32, as TFLite did until 2026. [sub-C5]
    """

    clamp: Pair = (-128, 127)
    float32_scales: bool = False

    in_place = (0, 1)

    def infer(self, node: Node, inputs: tuple[TensorType, ...]) -> TensorType:
        """Output of a's shape.

        Raises
        ------
        SpecViolation
            `[sub-C1]` inputs, `[sub-C2]` shapes, `[sub-C3]` clamp.
        """
        a, b = int8_inputs("sub-C1", inputs, 2)
        repeated("sub-C2", a, b)
        check_clamp("sub-C3", self.clamp)
        return TensorType(shape=a.shape)

    def lower(self, node: Node, inputs: tuple[TensorType, ...], output: TensorType) -> SubParams:
        a, b = inputs
        real = np.float32 if self.float32_scales else np.float64
        a_real, b_real, twice_max = real(a.scale), real(b.scale), real(2 * max(a.scale, b.scale))
        unit = real(1 << LEFT_SHIFT)
        return SubParams(
            a_zero=a.zero_point,
            b_zero=b.zero_point,
            out_zero=output.zero_point,
            clamp=self.clamp,
            a_scale=Scale.of(float(a_real / twice_max)),
            b_scale=Scale.of(float(b_real / twice_max)),
            out_scale=Scale.of(float(twice_max / (unit * real(output.scale)))),
        )

    def simulate(self, params: SubParams, *inputs: Array) -> Int8Array:
        """Golden of `cq_sub_*`: each input through its table of 256 terms. [sub-C1]"""
        a, b = inputs
        a_terms, b_terms = (
            aligned(params.a_scale, params.a_zero),
            aligned(params.b_scale, params.b_zero),
        )
        acc = by_period(lookup(a_terms, a), b) - by_period(lookup(b_terms, b), b)
        scaled = params.out_scale.apply(acc) + params.out_zero
        return clamp_to_int8(scaled, *params.clamp).reshape(a.shape)

    def c_params(
        self,
        params: SubParams,
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
            "a_scale": params.a_scale.c_params(),
            "b_scale": params.b_scale.c_params(),
            "out_scale": params.out_scale.c_params(),
        }

    def band(
        self, params: SubParams, inputs: tuple[TensorType, ...], output: TensorType, rows: Rows
    ) -> Band | None:
        return elementwise_band(self, params, inputs, output, rows)

    def output_range(
        self,
        params: SubParams,
        ranges: tuple[Range, ...],
        inputs: tuple[TensorType, ...],
        output: TensorType,
    ) -> Range:
        a, b = ranges
        scales = (params.a_scale, params.a_zero), (params.b_scale, params.b_zero)
        a_terms, b_terms = (aligned(*each) for each in scales)

        def ends(a: Int64Array, b: Int64Array) -> Int64Array:
            acc = a_terms[a + 128] - b_terms[b + 128]
            return clamped(params.out_scale.apply(acc) + params.out_zero, params.clamp)

        return Range(low=ends(a.low, b.high), high=ends(a.high, b.low))

    def accumulator_bound(self, params: SubParams) -> Array:
        """Of the difference of both terms. [sub-C4]"""
        terms = [
            int(np.abs(aligned(scale, zero)).max())
            for scale, zero in (
                (params.a_scale, params.a_zero),
                (params.b_scale, params.b_zero),
            )
        ]
        return np.array([params.out_scale.bound(sum(terms))], np.int64)
