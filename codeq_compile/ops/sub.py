# SPDX-License-Identifier: Apache-2.0
"""Element-wise difference of two grids.  Spec: NUMERICS.md §sub."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from codeq_compile.ir.graph import Node
from codeq_compile.ir.op import Array, Band, CValue, Op, Rows, register
from codeq_compile.ir.types import Packed, Range, TensorType
from codeq_compile.numerics import Int8Array
from codeq_compile.ops.base import (
    Pair,
    Scale,
    check_clamp,
    elementwise_band,
    int8_inputs,
    repeated,
)
from codeq_compile.ops.elementwise import LEFT_SHIFT, SumParams


@register("sub")
@dataclass(frozen=True, slots=True, kw_only=True)
class Sub(Op[SumParams]):
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

    def lower(self, node: Node, inputs: tuple[TensorType, ...], output: TensorType) -> SumParams:
        a, b = inputs
        real = np.float32 if self.float32_scales else np.float64
        a_real, b_real, twice_max = real(a.scale), real(b.scale), real(2 * max(a.scale, b.scale))
        unit = real(1 << LEFT_SHIFT)
        return SumParams(
            a_zero=a.zero_point,
            b_zero=b.zero_point,
            out_zero=output.zero_point,
            clamp=self.clamp,
            a_scale=Scale.of(float(a_real / twice_max)),
            b_scale=Scale.of(float(b_real / twice_max)),
            out_scale=Scale.of(float(twice_max / (unit * real(output.scale)))),
        )

    def simulate(self, params: SumParams, *inputs: Array) -> Int8Array:
        """Golden of `cq_sub_*`: each input through its table of 256 terms. [sub-C1]"""
        a, b = inputs
        return params.golden(a, b, -1)

    def c_params(
        self,
        params: SumParams,
        inputs: tuple[TensorType, ...],
        output: TensorType,
        packed: Packed | None,
    ) -> Mapping[str, CValue]:
        return params.c_params(inputs)

    def band(
        self, params: SumParams, inputs: tuple[TensorType, ...], output: TensorType, rows: Rows
    ) -> Band | None:
        return elementwise_band(self, params, inputs, output, rows)

    def output_range(
        self,
        params: SumParams,
        ranges: tuple[Range, ...],
        inputs: tuple[TensorType, ...],
        output: TensorType,
    ) -> Range:
        a, b = ranges
        return params.range(a, b, -1)

    def accumulator_bound(self, params: SumParams) -> Array:
        """Of the difference of both terms. [sub-C4]"""
        return params.bound()
