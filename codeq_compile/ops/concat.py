# SPDX-License-Identifier: Apache-2.0
"""Tensors joined along one axis.  Spec: NUMERICS.md §concat."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from codeq_compile.errors import SpecViolation
from codeq_compile.ir.graph import Node
from codeq_compile.ir.op import Array, CArray, CValue, Op, register
from codeq_compile.ir.types import Packed, Range, TensorType
from codeq_compile.numerics import Int8Array
from codeq_compile.ops.base import int8_inputs
from codeq_compile.ops.trips import Trips, copies, total


@dataclass(frozen=True, slots=True, kw_only=True)
class ConcatParams:
    """`axis` counts from 0 and without the batch."""

    axis: int


@register("concat")
@dataclass(frozen=True, slots=True, kw_only=True)
class Concat(Op[ConcatParams]):
    """Inputs one after the other along an axis; one grid for all. [concat-C1]

    Parameters
    ----------
    axis : int, default -1
        Of the tensor without its batch dimension; negative counts from the end.
    """

    axis: int = -1

    variadic = True

    def infer(self, node: Node, inputs: tuple[TensorType, ...]) -> TensorType:
        """Output as long along the axis as all inputs together, on their grid.

        Raises
        ------
        SpecViolation
            `[concat-C1]` inputs, `[concat-C2]` axis, `[concat-C3]` shapes, `[concat-C4]` grids.
        """
        int8_inputs("concat-C1", inputs, max(1, len(inputs)))
        first = inputs[0]
        if not -len(first.shape) <= self.axis < len(first.shape):
            raise SpecViolation("concat-C2", f"{first} has no axis {self.axis}")
        axis = self.axis % len(first.shape)
        if len({(x.shape[:axis], x.shape[axis + 1 :]) for x in inputs}) > 1:
            shapes = ", ".join(map(str, inputs))
            raise SpecViolation("concat-C3", f"({shapes}) differ outside axis {self.axis}")
        if any(x.grid != first.grid for x in inputs):
            raise SpecViolation(
                "concat-C4", "the inputs have several grids: requantize them to the output's first"
            )
        length = sum(x.shape[axis] for x in inputs)
        shape = (*first.shape[:axis], length, *first.shape[axis + 1 :])
        return TensorType(shape=shape, grid=first.grid)

    def lower(self, node: Node, inputs: tuple[TensorType, ...], output: TensorType) -> ConcatParams:
        return ConcatParams(axis=self.axis % len(output.shape))

    def simulate(self, params: ConcatParams, *inputs: Array) -> Int8Array:
        """Golden of `cq_concat_*`. [concat-C1]"""
        return np.concatenate(inputs, axis=params.axis + 1)

    def c_params(
        self,
        params: ConcatParams,
        inputs: tuple[TensorType, ...],
        output: TensorType,
        packed: Packed | None,
    ) -> Mapping[str, CValue]:
        inner = np.array([math.prod(x.shape[params.axis :]) for x in inputs], np.int32)
        return {
            "count": len(inputs),
            "outer": math.prod(output.shape[: params.axis]),
            "inner": CArray(name="inner", c_type="int32_t", data=inner),
        }

    def trips(
        self,
        params: ConcatParams,
        inputs: tuple[TensorType, ...],
        output: TensorType,
        packed: Packed | None,
        family: str,
        isa: str,
    ) -> Trips:
        inner = np.array([math.prod(x.shape[params.axis :]) for x in inputs])
        blocks = np.arange(math.prod(output.shape[: params.axis]))[:, None]
        to = blocks * inner.sum() + np.cumsum(inner) - inner
        sizes = np.broadcast_to(inner, to.shape)
        copied = copies(to.reshape(-1), (blocks * inner).reshape(-1), sizes.reshape(-1))
        return total(copied, {"blocks": len(blocks)})

    def output_range(
        self,
        params: ConcatParams,
        ranges: tuple[Range, ...],
        inputs: tuple[TensorType, ...],
        output: TensorType,
    ) -> Range:
        lows, highs = [x.low for x in ranges], [x.high for x in ranges]
        if params.axis == len(output.shape) - 1:
            return Range(low=np.concatenate(lows), high=np.concatenate(highs))
        return Range(low=np.min(lows, axis=0), high=np.max(highs, axis=0))
