# SPDX-License-Identifier: Apache-2.0
"""Global mean of each channel.  Spec: NUMERICS.md §mean."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from codeq_compile.ir.graph import Node
from codeq_compile.ir.op import Array, CValue, Op, register
from codeq_compile.ir.types import Packed, Range, TensorType
from codeq_compile.numerics import Int8Array, Int64Array, clamp_to_int8
from codeq_compile.ops.base import Pair, Scale, check_clamp, clamped, image
from codeq_compile.ops.trips import Trips, ceil


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanParams:
    """Integers of one mean; `scale` divides by the number of pixels too."""

    pixels: int
    in_zero: int
    out_zero: int
    clamp: Pair
    scale: Scale


@register("mean")
@dataclass(frozen=True, slots=True, kw_only=True)
class Mean(Op[MeanParams]):
    """Mean over all pixels of each channel, on the output's grid. [mean-C1]

    Parameters
    ----------
    keep_dims : bool, default True
        Output (1, 1, c) instead of (c,).
    clamp : tuple of int (min, max), default (-128, 127)
        Output limits of a fused activation.
    """

    keep_dims: bool = True
    clamp: Pair = (-128, 127)

    def infer(self, node: Node, inputs: tuple[TensorType, ...]) -> TensorType:
        """Output (1, 1, c) or (c,).

        Raises
        ------
        SpecViolation
            `[mean-C1]` input, `[mean-C2]` clamp.
        """
        _, _, c = image("mean-C1", inputs)
        check_clamp("mean-C2", self.clamp)
        return TensorType(shape=(1, 1, c) if self.keep_dims else (c,))

    def lower(self, node: Node, inputs: tuple[TensorType, ...], output: TensorType) -> MeanParams:
        (x,) = inputs
        pixels = x.shape[0] * x.shape[1]
        return MeanParams(
            pixels=pixels,
            in_zero=x.zero_point,
            out_zero=output.zero_point,
            clamp=self.clamp,
            scale=_divided(Scale.of(x.scale / output.scale), pixels),
        )

    def simulate(self, params: MeanParams, *inputs: Array) -> Int8Array:
        """Golden of `cq_mean_*`. [mean-C1]"""
        (x,) = inputs
        acc = x.sum(axis=(1, 2), dtype=np.int64, keepdims=self.keep_dims)
        scaled = params.scale.apply(acc - params.in_zero * params.pixels) + params.out_zero
        return clamp_to_int8(scaled, *params.clamp)

    def c_params(
        self,
        params: MeanParams,
        inputs: tuple[TensorType, ...],
        output: TensorType,
        packed: Packed | None,
    ) -> Mapping[str, CValue]:
        return {
            "pixels": params.pixels,
            "channels": output.elements,
            "in_zero": params.in_zero,
            "out_zero": params.out_zero,
            "clamp_min": params.clamp[0],
            "clamp_max": params.clamp[1],
            "scale": params.scale.c_params(),
        }

    def trips(
        self,
        params: MeanParams,
        inputs: tuple[TensorType, ...],
        output: TensorType,
        packed: Packed | None,
        family: str,
        isa: str,
    ) -> Trips:
        if isa == "dsp":
            blocks, alone = divmod(output.elements, 4)
        else:
            blocks, alone = ceil(output.elements, 4 if isa == "mve" else 1), 0
        return {
            "blocks": blocks,
            "pixels": blocks * params.pixels,
            "channels alone": alone,
            "pixels alone": alone * params.pixels,
        }

    def output_range(
        self,
        params: MeanParams,
        ranges: tuple[Range, ...],
        inputs: tuple[TensorType, ...],
        output: TensorType,
    ) -> Range:
        def of_equal_pixels(x: Int64Array) -> Int64Array:
            acc = (x - params.in_zero) * params.pixels
            return clamped(params.scale.apply(acc) + params.out_zero, params.clamp)

        return ranges[0].through(of_equal_pixels)

    def accumulator_bound(self, params: MeanParams) -> Array:
        """Of the sum, before and after the zero point leaves it. [mean-C3]"""
        return np.array([params.scale.bound((128 + abs(params.in_zero)) * params.pixels)], np.int64)


def _divided(scale: Scale, pixels: int) -> Scale:
    """``scale / pixels``: the multiplier gains the bits that the division takes. [mean-C4]"""
    shift = min(pixels.bit_length() - 1, 31 + scale.exponent)
    return Scale(multiplier=(scale.multiplier << shift) // pixels, exponent=scale.exponent - shift)
