# SPDX-License-Identifier: Apache-2.0
"""Nearest-neighbour enlargement of an image.  Spec: NUMERICS.md §upsample2d."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from codeq_compile.errors import SpecViolation
from codeq_compile.ir.graph import Node
from codeq_compile.ir.op import Array, CValue, Op, register
from codeq_compile.ir.types import Packed, Range, TensorType
from codeq_compile.numerics import Int8Array
from codeq_compile.ops.base import Pair, image
from codeq_compile.ops.trips import Trips, copies, total


@dataclass(frozen=True, slots=True, kw_only=True)
class Upsample2DParams:
    """No integers beyond the op's own fields."""


@register("upsample2d")
@dataclass(frozen=True, slots=True, kw_only=True)
class Upsample2D(Op[Upsample2DParams]):
    """Each pixel becomes a block of equal pixels; one grid for both. [upsample2d-C1]

    Parameters
    ----------
    factor : tuple of int (h, w)
        Size of a block in pixels, each >= 1.
    """

    factor: Pair

    def infer(self, node: Node, inputs: tuple[TensorType, ...]) -> TensorType:
        """Output (h · factor_h, w · factor_w, c) on the input's grid.

        Raises
        ------
        SpecViolation
            `[upsample2d-C1]` input, `[upsample2d-C2]` factor.
        """
        h, w, c = image("upsample2d-C1", inputs)
        if min(self.factor) < 1:
            raise SpecViolation(
                "upsample2d-C2", f"the factors {list(self.factor)} must be whole numbers >= 1"
            )
        return TensorType(shape=(h * self.factor[0], w * self.factor[1], c), grid=inputs[0].grid)

    def lower(
        self, node: Node, inputs: tuple[TensorType, ...], output: TensorType
    ) -> Upsample2DParams:
        return Upsample2DParams()

    def simulate(self, params: Upsample2DParams, *inputs: Array) -> Int8Array:
        """Golden of `cq_upsample2d_*`. [upsample2d-C1]"""
        (x,) = inputs
        return x.repeat(self.factor[0], axis=1).repeat(self.factor[1], axis=2)

    def c_params(
        self,
        params: Upsample2DParams,
        inputs: tuple[TensorType, ...],
        output: TensorType,
        packed: Packed | None,
    ) -> Mapping[str, CValue]:
        return {"in": inputs[0].shape, "factor": self.factor}

    def trips(
        self,
        params: Upsample2DParams,
        inputs: tuple[TensorType, ...],
        output: TensorType,
        packed: Packed | None,
        family: str,
        isa: str,
    ) -> Trips:
        (h, w, channels), (fh, fw) = inputs[0].shape, self.factor
        row = w * fw * channels
        pixels = np.arange(h * w)
        y, x = pixels // w, pixels % w
        widened = (y * fh * row + x * fw * channels)[:, None] + channels * np.arange(fw)
        repeated = (np.arange(h) * fh * row)[:, None] + row * np.arange(1, fh)
        source = np.repeat(np.arange(h) * fh * row, fh - 1)
        return total(
            copies(widened.reshape(-1), np.repeat(pixels * channels, fw), channels),
            copies(repeated.reshape(-1), source, row),
            {"pixels": h * w, "rows": h},
        )

    def output_range(
        self,
        params: Upsample2DParams,
        ranges: tuple[Range, ...],
        inputs: tuple[TensorType, ...],
        output: TensorType,
    ) -> Range:
        return ranges[0]
