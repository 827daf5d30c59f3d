# SPDX-License-Identifier: Apache-2.0
"""Change of grid between elements of 8, 16 and 32 bits.  Spec: NUMERICS.md §convert."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from codeq_compile.errors import SpecViolation
from codeq_compile.ir.graph import Node
from codeq_compile.ir.op import Array, CValue, Op, register
from codeq_compile.ir.types import DType, Packed, Range, TensorType
from codeq_compile.ops.base import Scale


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertParams:
    """Integers of one change of grid; `source` is the input's element type."""

    source: DType
    in_zero: int
    out_zero: int
    scale: Scale


@register("convert")
@dataclass(frozen=True, slots=True, kw_only=True)
class Convert(Op[ConvertParams]):
    """The same real values in elements of another width. [convert-C1]

    Parameters
    ----------
    dtype : DType
        Of the output.
    """

    dtype: DType

    def infer(self, node: Node, inputs: tuple[TensorType, ...]) -> TensorType:
        """Output of the input's shape.

        Raises
        ------
        SpecViolation
            `[convert-C1]` input.
        """
        if len(inputs) != 1 or inputs[0].dtype is DType.S32 or inputs[0].grid is None:
            got = ", ".join(map(str, inputs))
            raise SpecViolation("convert-C1", f"one int8 or int16 input expected, not ({got})")
        return TensorType(shape=inputs[0].shape, dtype=self.dtype)

    def lower(
        self, node: Node, inputs: tuple[TensorType, ...], output: TensorType
    ) -> ConvertParams:
        (x,) = inputs
        return ConvertParams(
            source=x.dtype,
            in_zero=x.zero_point,
            out_zero=output.zero_point,
            scale=Scale.of(x.scale / output.scale),
        )

    def simulate(self, params: ConvertParams, *inputs: Array) -> Array:
        """Golden of `cq_convert_*`. [convert-C1]"""
        (x,) = inputs
        scaled = params.scale.apply(x.astype(np.int64) - params.in_zero) + params.out_zero
        limits = np.iinfo(self.dtype.numpy)
        return np.clip(scaled, limits.min, limits.max).astype(self.dtype.numpy)

    def c_params(
        self,
        params: ConvertParams,
        inputs: tuple[TensorType, ...],
        output: TensorType,
        packed: Packed | None,
    ) -> Mapping[str, CValue]:
        return {
            "size": output.elements,
            "out_bits": self.dtype.bits,
            "in_zero": params.in_zero,
            "out_zero": params.out_zero,
            "scale": params.scale.c_params(),
        }

    def act(self, params: ConvertParams) -> str:
        return params.source

    def output_range(
        self,
        params: ConvertParams,
        ranges: tuple[Range, ...],
        inputs: tuple[TensorType, ...],
        output: TensorType,
    ) -> Range:
        return ranges[0].through(lambda end: self.simulate(params, end).astype(np.int64))

    def accumulator_bound(self, params: ConvertParams) -> Array:
        """Of the largest distance from the zero point, with the other's. [convert-C2]"""
        half = 1 << (params.source.bits - 1)
        distance = half + abs(params.in_zero)
        return np.array([params.scale.bound(distance) + abs(params.out_zero)], np.int64)
