# SPDX-License-Identifier: Apache-2.0
"""Another shape for the same bytes; flatten too.  Spec: NUMERICS.md §reshape."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from codeq_compile.errors import SpecViolation
from codeq_compile.ir.graph import Node
from codeq_compile.ir.op import Array, CValue, Op, register
from codeq_compile.ir.types import Packed, Range, Shape, TensorType
from codeq_compile.ops.base import single


@dataclass(frozen=True, slots=True, kw_only=True)
class ReshapeParams:
    """No integers: the bytes stay as they are."""


@register("reshape")
@dataclass(frozen=True, slots=True, kw_only=True)
class Reshape(Op[ReshapeParams]):
    """The input's elements in the same order, on the same grid. [reshape-C1]

    Parameters
    ----------
    shape : tuple of int
        Of the output, without the batch dimension.
    """

    shape: Shape

    is_view = True

    def infer(self, node: Node, inputs: tuple[TensorType, ...]) -> TensorType:
        """Output of the given shape on the input's grid.

        Raises
        ------
        SpecViolation
            `[reshape-C1]` input, `[reshape-C2]` number of elements.
        """
        x = single("reshape-C1", inputs)
        if min(self.shape, default=0) < 1 or math.prod(self.shape) != x.elements:
            raise SpecViolation(
                "reshape-C2", f"{x} has {x.elements} elements and cannot become {list(self.shape)}"
            )
        return TensorType(shape=self.shape, grid=x.grid)

    def lower(
        self, node: Node, inputs: tuple[TensorType, ...], output: TensorType
    ) -> ReshapeParams:
        return ReshapeParams()

    def simulate(self, params: ReshapeParams, *inputs: Array) -> Array:
        """The same elements. [reshape-C1]"""
        (x,) = inputs
        return x.reshape(len(x), *self.shape)

    def c_params(
        self,
        params: ReshapeParams,
        inputs: tuple[TensorType, ...],
        output: TensorType,
        packed: Packed | None,
    ) -> Mapping[str, CValue]:
        return {}

    def output_range(
        self,
        params: ReshapeParams,
        ranges: tuple[Range, ...],
        inputs: tuple[TensorType, ...],
        output: TensorType,
    ) -> Range:
        (x,) = ranges
        channels = math.lcm(len(x.low), output.shape[-1])
        # after so many elements both channels start again
        low, high = (
            np.resize(end, channels).reshape(-1, output.shape[-1]) for end in (x.low, x.high)
        )
        return Range(low=low.min(axis=0), high=high.max(axis=0))
