# SPDX-License-Identifier: Apache-2.0
"""Position of the largest value along the last axis.  Spec: NUMERICS.md §argmax."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from codeq_compile.ir.graph import Node
from codeq_compile.ir.op import Array, CValue, Op, register
from codeq_compile.ir.types import DType, Packed, TensorType
from codeq_compile.numerics import Int32Array
from codeq_compile.ops.base import single
from codeq_compile.ops.trips import Trips


@dataclass(frozen=True, slots=True, kw_only=True)
class ArgmaxParams:
    """No integers beyond the shapes."""


@register("argmax")
@dataclass(frozen=True, slots=True, kw_only=True)
class Argmax(Op[ArgmaxParams]):
    """Index of the largest value of each row, the first of equals. [argmax-C1]"""

    def infer(self, node: Node, inputs: tuple[TensorType, ...]) -> TensorType:
        """Output s32 without the last axis; (1,) for a vector.

        Raises
        ------
        SpecViolation
            `[argmax-C1]` input.
        """
        x = single("argmax-C1", inputs)
        return TensorType(shape=x.shape[:-1] or (1,), dtype=DType.S32)

    def lower(self, node: Node, inputs: tuple[TensorType, ...], output: TensorType) -> ArgmaxParams:
        return ArgmaxParams()

    def simulate(self, params: ArgmaxParams, *inputs: Array) -> Int32Array:
        """Golden of `cq_argmax_*`. [argmax-C1]"""
        (x,) = inputs
        index: Int32Array = x.argmax(axis=-1).astype(np.int32)
        return index.reshape(len(x), *(x.shape[1:-1] or (1,)))

    def c_params(
        self,
        params: ArgmaxParams,
        inputs: tuple[TensorType, ...],
        output: TensorType,
        packed: Packed | None,
    ) -> Mapping[str, CValue]:
        return {"rows": output.elements, "depth": inputs[0].shape[-1]}

    def trips(
        self,
        params: ArgmaxParams,
        inputs: tuple[TensorType, ...],
        output: TensorType,
        packed: Packed | None,
        family: str,
        isa: str,
    ) -> Trips:
        return {"rows": output.elements, "elements": inputs[0].elements}
