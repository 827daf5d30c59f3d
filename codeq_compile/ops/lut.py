# SPDX-License-Identifier: Apache-2.0
"""Any int8 function as a table of 256 bytes.  Spec: NUMERICS.md §lut."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from codeq_compile.errors import SpecViolation
from codeq_compile.ir.graph import Node
from codeq_compile.ir.op import Array, Band, CArray, CValue, Op, Rows, register
from codeq_compile.ir.types import Grid, Packed, Range, TensorType
from codeq_compile.numerics import Int8Array
from codeq_compile.ops.base import elementwise_band, single
from codeq_compile.ops.elementwise import INT8, lookup


def tabulate(
    function: Callable[[NDArray[np.float64]], NDArray[np.float64]], x: Grid, y: Grid
) -> Int8Array:
    """The table of a real function between two grids, made once, at export. [lut-C3]

    Parameters
    ----------
    function : callable
        Element-wise on float64 arrays.
    x, y : Grid
        Of the input and of the output.

    Returns
    -------
    int8 array of shape (256,)
        The value of every input, from -128 to 127.
    """
    return y.quantize(function(x.scale * (INT8 - x.zero_point).astype(np.float64)))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LutParams:
    """`table` is int8 of shape (256,), for inputs -128 to 127."""

    table: Int8Array = field(repr=False)


@register("lut")
@dataclass(frozen=True, slots=True, kw_only=True)
class Lut(Op[LutParams]):
    """Each value replaced by the node's table. [lut-C1]"""

    in_place = (0,)
    has_table = True

    def infer(self, node: Node, inputs: tuple[TensorType, ...]) -> TensorType:
        """Output of the input's shape.

        Raises
        ------
        SpecViolation
            `[lut-C1]` input, `[lut-C2]` table.
        """
        x = single("lut-C1", inputs)
        if node.table is None or node.table.shape != (256,) or node.table.dtype != np.int8:
            raise SpecViolation("lut-C2", "the layer needs a table of 256 int8 values")
        return TensorType(shape=x.shape)

    def lower(self, node: Node, inputs: tuple[TensorType, ...], output: TensorType) -> LutParams:
        assert node.table is not None
        return LutParams(table=node.table)

    def simulate(self, params: LutParams, *inputs: Array) -> Int8Array:
        """Golden of `cq_lut_*`. [lut-C1]"""
        (x,) = inputs
        return lookup(params.table, x)

    def c_params(
        self,
        params: LutParams,
        inputs: tuple[TensorType, ...],
        output: TensorType,
        packed: Packed | None,
    ) -> Mapping[str, CValue]:
        return {
            "size": output.elements,
            "table": CArray(name="table", c_type="int8_t", data=params.table),
        }

    def band(
        self, params: LutParams, inputs: tuple[TensorType, ...], output: TensorType, rows: Rows
    ) -> Band | None:
        return elementwise_band(self, params, inputs, output, rows)

    def output_range(
        self,
        params: LutParams,
        ranges: tuple[Range, ...],
        inputs: tuple[TensorType, ...],
        output: TensorType,
    ) -> Range:
        (x,) = ranges
        met = [
            params.table[low : high + 1]
            for low, high in zip(x.low + 128, x.high + 128, strict=True)
        ]
        return Range(
            low=np.array([values.min() for values in met], np.int64),
            high=np.array([values.max() for values in met], np.int64),
        )
