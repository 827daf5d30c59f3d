# SPDX-License-Identifier: Apache-2.0
"""A regular part of a tensor; every n-th element, and backwards, too.  Spec: NUMERICS.md §slice."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from codeq_compile.errors import SpecViolation
from codeq_compile.ir.graph import Node
from codeq_compile.ir.op import Array, CValue, Op, register
from codeq_compile.ir.types import Packed, Range, Shape, TensorType
from codeq_compile.numerics import Int8Array
from codeq_compile.ops.base import single
from codeq_compile.ops.trips import Trips, walked
from codeq_compile.ops.walks import MAX_AXES, Walk, strides


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceParams:
    """No integers beyond the op's own fields."""


@register("slice")
@dataclass(frozen=True, slots=True, kw_only=True)
class Slice(Op[SliceParams]):
    """Elements ``begin, begin + step, …`` of each axis, on the same grid. [slice-C1]

    Parameters
    ----------
    begin, step : tuple of int
        First position and distance of positions on each axis; a step may be negative.
    shape : tuple of int
        Positions on each axis: the output's shape.
    """

    begin: Shape
    step: Shape
    shape: Shape

    def infer(self, node: Node, inputs: tuple[TensorType, ...]) -> TensorType:
        """Output of the given shape on the input's grid.

        Raises
        ------
        SpecViolation
            `[slice-C1]` input, `[slice-C2]` positions.
        """
        x = single("slice-C1", inputs)
        rank = len(x.shape)
        if {len(self.begin), len(self.step), len(self.shape)} != {rank} or rank > MAX_AXES:
            raise SpecViolation(
                "slice-C2", f"begin, step and shape need {rank} axes as {x}, {MAX_AXES} at most"
            )
        for n, first, step, count in zip(x.shape, self.begin, self.step, self.shape, strict=True):
            last = first + (count - 1) * step
            if step == 0 or count < 1 or not (0 <= first < n and 0 <= last < n):
                raise SpecViolation(
                    "slice-C2", f"positions {first} to {last} in steps of {step} are not within {n}"
                )
        return TensorType(shape=self.shape, grid=x.grid)

    def lower(self, node: Node, inputs: tuple[TensorType, ...], output: TensorType) -> SliceParams:
        return SliceParams()

    def simulate(self, params: SliceParams, *inputs: Array) -> Int8Array:
        """Golden of `cq_slice_*`. [slice-C1]"""
        (x,) = inputs
        positions = (self._positions(axis) for axis in range(len(self.shape)))
        part: Int8Array = x[np.ix_(np.arange(len(x)), *positions)]
        return part

    def c_params(
        self,
        params: SliceParams,
        inputs: tuple[TensorType, ...],
        output: TensorType,
        packed: Packed | None,
    ) -> Mapping[str, CValue]:
        return {"walk": self._walk(*inputs).c_params()}

    def trips(
        self,
        params: SliceParams,
        inputs: tuple[TensorType, ...],
        output: TensorType,
        packed: Packed | None,
        family: str,
        isa: str,
    ) -> Trips:
        walk = self._walk(*inputs)
        return walked(walk.extent, walk.stride)

    def output_range(
        self,
        params: SliceParams,
        ranges: tuple[Range, ...],
        inputs: tuple[TensorType, ...],
        output: TensorType,
    ) -> Range:
        channels = self._positions(-1)
        return ranges[0].through(lambda end: end[channels])

    def _walk(self, x: TensorType) -> Walk:
        steps = strides(x.shape)
        return Walk(
            start=sum(first * n for first, n in zip(self.begin, steps, strict=True)),
            extent=self.shape,
            stride=tuple(step * n for step, n in zip(self.step, steps, strict=True)),
        )

    def _positions(self, axis: int) -> Array:
        return self.begin[axis] + self.step[axis] * np.arange(self.shape[axis])
