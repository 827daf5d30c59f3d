# SPDX-License-Identifier: Apache-2.0
"""Element-wise sum of two grids.  Spec: NUMERICS.md §add."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

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
from codeq_compile.ops.trips import Trips, ceil

DSP_MIN_PERIOD = 8
"""Shorter second operands are not worth a call of the dsp loop; CQ_ADD_MIN_PERIOD of runtime_c."""
SWAR_BLOCK = 16
"""Elements that a swar kernel aligns before it requantizes them; CQ_ADD_BLOCK of runtime_c."""
HELIUM_REPEATED = 64
"""Bytes in which an mve kernel repeats a short operand; CQ_REPEATED of runtime_c."""

TABLE_BYTES = 1024
"""Of 256 terms."""
MIN_TABLED = 512
"""With fewer elements a table takes longer than it saves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AddParams:
    """Integers of one sum.

    Parameters
    ----------
    a_zero, b_zero, out_zero : int
    clamp : tuple of int (min, max)
    a_scale, b_scale, out_scale : Scale
    has_room : bool
        For a table of terms. [add-C5]
    """

    a_zero: int
    b_zero: int
    out_zero: int
    clamp: Pair
    a_scale: Scale
    b_scale: Scale
    out_scale: Scale
    has_room: bool = False


@register("add")
@dataclass(frozen=True, slots=True, kw_only=True)
class Add(Op[AddParams]):
    """``a + b`` with b of a's shape, or repeated along a's first axes. [add-C1]

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
            `[add-C1]` inputs, `[add-C2]` shapes, `[add-C3]` clamp.
        """
        a, b = int8_inputs("add-C1", inputs, 2)
        repeated("add-C2", a, b)
        check_clamp("add-C3", self.clamp)
        return TensorType(shape=a.shape)

    def lower(self, node: Node, inputs: tuple[TensorType, ...], output: TensorType) -> AddParams:
        a, b = inputs
        twice_max = 2.0 * max(a.scale, b.scale)
        return AddParams(
            a_zero=a.zero_point,
            b_zero=b.zero_point,
            out_zero=output.zero_point,
            clamp=self.clamp,
            a_scale=Scale.of(a.scale / twice_max),
            b_scale=Scale.of(b.scale / twice_max),
            out_scale=Scale.of(twice_max / ((1 << LEFT_SHIFT) * output.scale)),
        )

    def simulate(self, params: AddParams, *inputs: Array) -> Int8Array:
        """Golden of `cq_add_*`: each input through its table of 256 terms. [add-C1]"""
        a, b = inputs
        a_terms, b_terms = (
            aligned(params.a_scale, params.a_zero),
            aligned(params.b_scale, params.b_zero),
        )
        acc = by_period(lookup(a_terms, a), b) + by_period(lookup(b_terms, b), b)
        scaled = params.out_scale.apply(acc) + params.out_zero
        return clamp_to_int8(scaled, *params.clamp).reshape(a.shape)

    def c_params(
        self,
        params: AddParams,
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

    def scratch_bytes(
        self,
        params: AddParams,
        inputs: tuple[TensorType, ...],
        output: TensorType,
        packed: Packed | None,
        family: str,
        isa: str = "ref",
    ) -> int:
        """A table of terms, where there is room for it. [add-C5]"""
        is_tabled = params.has_room and isa == "dsp" and output.elements >= MIN_TABLED
        return TABLE_BYTES if is_tabled else 0

    def with_scratch(self, params: AddParams, limit: int) -> AddParams:
        return replace(params, has_room=limit >= TABLE_BYTES)

    def band(
        self, params: AddParams, inputs: tuple[TensorType, ...], output: TensorType, rows: Rows
    ) -> Band | None:
        return elementwise_band(self, params, inputs, output, rows)

    def trips(
        self,
        params: AddParams,
        inputs: tuple[TensorType, ...],
        output: TensorType,
        packed: Packed | None,
        family: str,
        isa: str,
    ) -> Trips:
        size, period = output.elements, inputs[1].elements
        if isa == "mve":
            return _helium_trips(size, period)
        if isa == "dsp" and _is_short(params) and period >= DSP_MIN_PERIOD:
            is_tabled = self.scratch_bytes(params, inputs, output, packed, family, isa) > 0
            is_relu = params.clamp[0] >= params.out_zero
            form = "rectified" if is_relu else "rounded"
            return {
                "runs": size // period,
                "tables": is_tabled,
                f"elements by table, {form}" if is_tabled else "elements": size,
                "elements clamped": size * (params.clamp != (-128, 127)),
            }
        return {"blocks": ceil(size, SWAR_BLOCK), "elements of any factor": size}

    def output_range(
        self,
        params: AddParams,
        ranges: tuple[Range, ...],
        inputs: tuple[TensorType, ...],
        output: TensorType,
    ) -> Range:
        a, b = ranges
        scales = (params.a_scale, params.a_zero), (params.b_scale, params.b_zero)
        a_terms, b_terms = (aligned(*each) for each in scales)

        def ends(a: Int64Array, b: Int64Array) -> Int64Array:
            acc = a_terms[a + 128] + b_terms[b + 128]
            return clamped(params.out_scale.apply(acc) + params.out_zero, params.clamp)

        return Range(low=ends(a.low, b.low), high=ends(a.high, b.high))

    def accumulator_bound(self, params: AddParams) -> Array:
        """Of the sum of both terms. [add-C4]"""
        terms = [
            int(np.abs(aligned(scale, zero)).max())
            for scale, zero in (
                (params.a_scale, params.a_zero),
                (params.b_scale, params.b_zero),
            )
        ]
        return np.array([params.out_scale.bound(sum(terms))], np.int64)


def _is_short(params: AddParams) -> bool:
    """The dsp loop serves: an input's factor is 1/2, and the output's has the short form."""
    half = Scale(multiplier=1 << 30, exponent=0)
    return half in (params.a_scale, params.b_scale) and params.out_scale.exponent <= -2


def _helium_trips(size: int, period: int) -> Trips:
    """add_mve.c: runs of the second operand, which is repeated where it is short."""
    repeats = HELIUM_REPEATED // period if 2 * period <= HELIUM_REPEATED and period < size else 0
    period *= max(1, repeats)
    lengths = [min(period, size - at) for at in range(0, size, period)]
    return {
        "repeats": repeats,
        "runs": len(lengths),
        "fours": sum(length // 4 for length in lengths),
        "ends": sum(length % 4 > 0 for length in lengths),
    }
