# SPDX-License-Identifier: Apache-2.0
"""Element-wise sum of two grids.  Spec: NUMERICS.md §add."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

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
class AddParams(SumParams):
    """Integers of one sum.

    Parameters
    ----------
    has_room : bool
        For a table of terms. [add-C5]
    """

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
        return params.golden(a, b, 1)

    def c_params(
        self,
        params: AddParams,
        inputs: tuple[TensorType, ...],
        output: TensorType,
        packed: Packed | None,
    ) -> Mapping[str, CValue]:
        return params.c_params(inputs)

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
        return params.range(a, b, 1)

    def accumulator_bound(self, params: AddParams) -> Array:
        """Of the sum of both terms. [add-C4]"""
        return params.bound()


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
