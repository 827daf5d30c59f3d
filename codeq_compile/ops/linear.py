# SPDX-License-Identifier: Apache-2.0
"""Fully connected layer along the last axis.  Spec: NUMERICS.md §linear."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from codeq_compile.errors import SpecViolation
from codeq_compile.ir.graph import Node
from codeq_compile.ir.op import Array, CValue, Op, register
from codeq_compile.ir.types import Packed, Range, TensorType
from codeq_compile.numerics import Int8Array
from codeq_compile.ops import swar
from codeq_compile.ops.base import (
    CHUNK,
    Pair,
    Requant,
    align4,
    c_weights,
    check_clamp,
    decoded_bytes,
    make_requant,
    panel_bytes,
    row_bytes,
    single,
    weighted_bound,
)
from codeq_compile.ops.bounds import accumulators
from codeq_compile.ops.products import blas_dtype, blocks


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LinearParams:
    """Integers of one fully connected layer; `weights` is int8 of shape (out, in)."""

    weights: Int8Array = field(repr=False)
    requant: Requant


@register("linear")
@dataclass(frozen=True, slots=True, kw_only=True)
class Linear(Op[LinearParams]):
    """Product of the last axis with int8 weights (out, in); other axes are kept. [linear-C1]

    Parameters
    ----------
    clamp : tuple of int (min, max), default (-128, 127)
        Output limits of a fused activation.
    multiplier_bits : int, default 31
        Top bits that multipliers keep: with 13 or 5 a factor is two bytes or one. [N2.3] [N4.4]
    float32_product : bool, default False
        The product of input and weight scale is rounded to float32, as TFLite did until 2026.
        [linear-C8]
    """

    clamp: Pair = (-128, 127)
    multiplier_bits: int = 31
    float32_product: bool = False

    has_weights = True
    packings = ("dense", "ternary", "bitmask", "rle", "gap", "huffman")

    def infer(self, node: Node, inputs: tuple[TensorType, ...]) -> TensorType:
        """Output (..., out features).

        Raises
        ------
        SpecViolation
            `[linear-C1]` input, `[linear-C2]` weights, `[linear-C3]` bias, `[linear-C4]` clamp.
        """
        x = single("linear-C1", inputs)
        assert node.weights is not None
        shape = node.weights.codes.shape
        if len(shape) != 2 or shape[1] != x.shape[-1]:
            raise SpecViolation(
                "linear-C2",
                f"weights {list(shape)} must be (out features, {x.shape[-1]}) for input {x}: "
                "flatten the input, or export the layer again",
            )
        if node.bias is not None and node.bias.shape != shape[:1]:
            raise SpecViolation("linear-C3", "one bias an output feature is needed")
        check_clamp("linear-C4", self.clamp)
        return TensorType(shape=(*x.shape[:-1], shape[0]))

    def lower(self, node: Node, inputs: tuple[TensorType, ...], output: TensorType) -> LinearParams:
        assert node.weights is not None
        return LinearParams(
            weights=node.weights.values,
            requant=make_requant(
                weights=node.weights,
                bias=node.bias,
                input_type=inputs[0],
                output_type=output,
                clamp=self.clamp,
                multiplier_bits=self.multiplier_bits,
                float32_product=self.float32_product,
            ),
        )

    def simulate(self, params: LinearParams, *inputs: Array) -> Int8Array:
        """Golden of `cq_linear_*`. [linear-C1]"""
        (x,) = inputs
        out_features, in_features = params.weights.shape
        dtype = blas_dtype(params.weights)
        requantized = params.requant.prepare(self.accumulator_bound(params), 1)
        columns: Array = params.weights.astype(dtype).T
        rows = x.reshape(-1, in_features)
        result = np.empty((len(rows), out_features), np.int8)
        for block in blocks(len(rows), max(in_features, out_features)):
            products: Array = rows[block].astype(dtype) @ columns
            requantized(products[:, None], result[block][:, None])
        return result.reshape(*x.shape[:-1], out_features)

    def c_params(
        self,
        params: LinearParams,
        inputs: tuple[TensorType, ...],
        output: TensorType,
        packed: Packed | None,
    ) -> Mapping[str, CValue]:
        out_features, in_features = params.weights.shape
        return {
            "rows": inputs[0].elements // in_features,
            "in_features": in_features,
            "out_features": out_features,
            "weights": c_weights(packed),
            "requant": params.requant.c_params(),
        }

    def families(self, params: LinearParams) -> tuple[str, ...]:
        return ("linear_sparse", "linear")

    def macs(self, params: LinearParams, output: TensorType) -> int:
        return output.elements * int(params.weights.shape[1])

    def scratch_bytes(
        self,
        params: LinearParams,
        inputs: tuple[TensorType, ...],
        output: TensorType,
        packed: Packed | None,
        family: str,
        isa: str = "ref",
    ) -> int:
        """Decoded weights: a chunk of a row, or a panel of rows. [linear-C5] [linear-C6]"""
        if family == "linear_sparse":
            return 0
        if isa == "dsp":
            return _dsp_scratch_bytes(params, packed)
        out_features, in_features = map(int, params.weights.shape)
        if isa == "mve":
            return panel_bytes(packed, in_features, out_features)
        if isa == "swar":
            rows = inputs[0].elements // in_features
            if rows == 1:  # [linear-C7]
                return swar.pair_bytes(in_features) + row_bytes(packed, in_features)
            return swar.product_bytes(packed, in_features, rows)
        return row_bytes(packed, in_features)

    def output_range(
        self,
        params: LinearParams,
        ranges: tuple[Range, ...],
        inputs: tuple[TensorType, ...],
        output: TensorType,
    ) -> Range:
        return params.requant.output_range(accumulators(params.requant, params.weights, *ranges))

    def accumulator_bound(self, params: LinearParams) -> Array:
        return weighted_bound(params.requant, params.weights)


def _dsp_scratch_bytes(params: LinearParams, packed: Packed | None) -> int:
    """A vector of 16 bits a value, then four decoded chunks. [linear-C6]"""
    return 2 * align4(int(params.weights.shape[1])) + (CHUNK * 4 if decoded_bytes(packed, 1) else 0)
