# SPDX-License-Identifier: Apache-2.0
"""Softmax over the last axis in fixed point.  Spec: NUMERICS.md §softmax."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codeq_compile.errors import SpecViolation
from codeq_compile.ir.graph import Node
from codeq_compile.ir.op import Array, CValue, Op, register
from codeq_compile.ir.types import Grid, Packed, TensorType
from codeq_compile.numerics import (
    INT32_MAX,
    Int8Array,
    Int64Array,
    clamp_to_int8,
    exp_of_negative,
    quantize_multiplier,
    reciprocal_of_one_plus,
    rounding_divide_by_pot,
    rounding_doubling_high_mul,
)
from codeq_compile.ops.base import Scale, single
from codeq_compile.ops.trips import Trips

OUTPUT_GRID = Grid(scale=1 / 256, zero_point=-128)
INPUT_FRACTION_BITS = 26
"""Differences to the maximum are Q5.26."""
SUM_FRACTION_BITS = 19
"""The sum of exponentials is Q12.19, so that 4095 of them fit int32."""
MAX_DEPTH = 4095
_QUARTER = 1 << INPUT_FRACTION_BITS - 2


@dataclass(frozen=True, slots=True, kw_only=True)
class SoftmaxParams:
    """`diff_min` is the smallest x - max(x) whose exponential is not taken as 0."""

    scale: Scale
    diff_min: int


@register("softmax")
@dataclass(frozen=True, slots=True, kw_only=True)
class Softmax(Op[SoftmaxParams]):
    """``exp(beta · x) / sum(exp(beta · x))`` of each row, in steps of 1/256. [softmax-C1]

    Parameters
    ----------
    beta : float, default 1.0
        Inverse temperature; rounded to float32.
    """

    beta: float = 1.0

    def infer(self, node: Node, inputs: tuple[TensorType, ...]) -> TensorType:
        """Output of the input's shape, on the fixed grid.

        Raises
        ------
        SpecViolation
            `[softmax-C1]` input, `[softmax-C2]` depth, `[softmax-C3]` beta.
        """
        x = single("softmax-C1", inputs)
        if x.shape[-1] > MAX_DEPTH:
            raise SpecViolation(
                "softmax-C2",
                f"{x.shape[-1]} values a row, {MAX_DEPTH} at most: leave the softmax out, "
                "the largest input is the largest output",
            )
        if not 0.0 < self.beta < math.inf:
            raise SpecViolation("softmax-C3", f"beta must be positive, not {self.beta}")
        return TensorType(shape=x.shape, grid=OUTPUT_GRID)

    def lower(
        self, node: Node, inputs: tuple[TensorType, ...], output: TensorType
    ) -> SoftmaxParams:
        real = float(np.float32(self.beta)) * inputs[0].scale * 2.0**INPUT_FRACTION_BITS
        multiplier, exponent = quantize_multiplier(min(real, float(INT32_MAX)))
        radius = math.floor(math.ldexp(31, INPUT_FRACTION_BITS - exponent))
        return SoftmaxParams(
            scale=Scale(multiplier=multiplier, exponent=exponent), diff_min=-min(radius, 255)
        )

    def simulate(self, params: SoftmaxParams, *inputs: Array) -> Int8Array:
        """Golden of `cq_softmax_*`. [softmax-C1]"""
        return clamp_to_int8(self.probabilities(params, inputs[0], 8) - 128, -128, 127)

    def probabilities(self, params: SoftmaxParams, x: Array, bits: int) -> Int64Array:
        """Each row's probabilities in steps of ``2^-bits``, not limited to them."""
        # a row's values meet the exponential only as max - x, one of 256 integers
        distance = np.arange(256)
        counted = distance <= -params.diff_min
        exps = exp_of_negative(params.scale.apply(np.where(counted, -distance, 0)))
        exps = np.where(counted, exps, 0)
        addends = rounding_divide_by_pot(exps, 31 - SUM_FRACTION_BITS)
        index = x.max(axis=-1, keepdims=True).astype(np.int64) - x
        total = addends[index].sum(axis=-1, keepdims=True)
        # the sum as 2^(length - 1) · (1 + fraction); frexp is exact on int32
        length = np.frexp(total.astype(np.float64))[1].astype(np.int64)
        fraction = (total << (32 - length)) - (1 << 31)
        product = rounding_doubling_high_mul(reciprocal_of_one_plus(fraction), exps[index])
        return rounding_divide_by_pot(product, length - (SUM_FRACTION_BITS + 1) + 31 - bits)

    def c_params(
        self,
        params: SoftmaxParams,
        inputs: tuple[TensorType, ...],
        output: TensorType,
        packed: Packed | None,
    ) -> Mapping[str, CValue]:
        depth = output.shape[-1]
        return {
            "rows": output.elements // depth,
            "depth": depth,
            "scale": params.scale.c_params(),
            "diff_min": params.diff_min,
        }

    def trips(
        self,
        params: SoftmaxParams,
        inputs: tuple[TensorType, ...],
        output: TensorType,
        packed: Packed | None,
        family: str,
        isa: str,
    ) -> Trips:
        """Of values too far below the largest no exponential is computed, and an exponential is a
        product for each bit of its argument: how many depends on the values.  Expected are those of
        independent values all 256 of which are equally frequent.
        """
        depth = output.shape[-1]
        rows = output.elements // depth
        frequency = _frequency_of_distances(depth)
        distance = np.arange(-params.diff_min + 1)
        x = params.scale.apply(-distance)
        # bits of the argument's quarters; none of the largest value's, whose exponential is 1
        quarters = ((x & (_QUARTER - 1)) - _QUARTER - x) >> (INPUT_FRACTION_BITS - 2)
        factors = np.bitwise_count(quarters.clip(0))
        addends = exp_of_negative(x) / 2.0 ** (31 - SUM_FRACTION_BITS)
        total = float((frequency[distance] * addends).sum())
        return {
            "rows": rows,
            "elements": output.elements,
            # for the sum, and for the outputs
            "largest values": 2 * rows * frequency[0],
            "exponentials": 2 * rows * float(frequency[distance[1:]].sum()),
            "factors": 2 * rows * float((frequency[distance] * factors).sum()),
            "leading zeros": rows * (32 - math.frexp(total)[1]),
        }


def _frequency_of_distances(depth: int) -> NDArray[np.float64]:
    """How many of so many values lie 0, 1, ... 255 below the largest, on average."""
    # the largest of all others is v - 128 or less for v + 1 of 256 values
    at_most = (np.arange(257) / 256) ** (depth - 1)
    is_largest_of_others = np.diff(at_most)
    below = depth / 256 * np.array([is_largest_of_others[d:].sum() for d in range(256)])
    return np.concatenate([[depth - below[1:].sum()], below[1:]])
