# SPDX-License-Identifier: Apache-2.0
"""Axes in another order.  Spec: NUMERICS.md §transpose."""

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
class TransposeParams:
    """No integers beyond the op's own fields."""


@register("transpose")
@dataclass(frozen=True, slots=True, kw_only=True)
class Transpose(Op[TransposeParams]):
    """The same elements with the axes exchanged, on the same grid. [transpose-C1]

    Parameters
    ----------
    axes : tuple of int
        For each axis of the output the axis of the input that it is, without the batch.
    """

    axes: Shape

    def infer(self, node: Node, inputs: tuple[TensorType, ...]) -> TensorType:
        """Output of the exchanged extents on the input's grid.

        Raises
        ------
        SpecViolation
            `[transpose-C1]` input, `[transpose-C2]` axes.
        """
        x = single("transpose-C1", inputs)
        if sorted(self.axes) != list(range(len(x.shape))) or len(x.shape) > MAX_AXES:
            raise SpecViolation(
                "transpose-C2",
                f"{list(self.axes)} is no order of the axes of {x}, or there are more than "
                f"{MAX_AXES}",
            )
        return TensorType(shape=tuple(x.shape[axis] for axis in self.axes), grid=x.grid)

    def lower(
        self, node: Node, inputs: tuple[TensorType, ...], output: TensorType
    ) -> TransposeParams:
        return TransposeParams()

    def simulate(self, params: TransposeParams, *inputs: Array) -> Int8Array:
        """Golden of `cq_transpose_*`. [transpose-C1]"""
        (x,) = inputs
        return np.ascontiguousarray(x.transpose(0, *(axis + 1 for axis in self.axes)))

    def c_params(
        self,
        params: TransposeParams,
        inputs: tuple[TensorType, ...],
        output: TensorType,
        packed: Packed | None,
    ) -> Mapping[str, CValue]:
        return {"walk": self._walk(*inputs).c_params()}

    def trips(
        self,
        params: TransposeParams,
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
        params: TransposeParams,
        ranges: tuple[Range, ...],
        inputs: tuple[TensorType, ...],
        output: TensorType,
    ) -> Range:
        (x,) = ranges
        if self.axes[-1] == len(self.axes) - 1:
            return x
        return x.merged(output.shape[-1])

    def _walk(self, x: TensorType) -> Walk:
        steps = strides(x.shape)
        return Walk(
            extent=tuple(x.shape[axis] for axis in self.axes),
            stride=tuple(steps[axis] for axis in self.axes),
        )
