# SPDX-License-Identifier: Apache-2.0
"""Filters over features and time, with a memory of past inferences.  Spec: NUMERICS.md §svdf."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from codeq_compile.errors import SpecViolation
from codeq_compile.ir.graph import Node
from codeq_compile.ir.op import Array, CArray, CValue, Op, register
from codeq_compile.ir.types import DType, Grid, Packed, TensorType
from codeq_compile.numerics import INT32_MAX, Int8Array, Int32Array, Int64Array, clamp_to_int8
from codeq_compile.ops.base import Scale, c_weights, row_bytes
from codeq_compile.ops.products import blas_dtype


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SvdfParams:
    """Integers of one layer.

    Parameters
    ----------
    weights : int8 array of shape (filters, inputs)
    start : int32 array of shape (filters,)
        Of the features' accumulators: minus the input's zero point times the sum of weights.
    bias : int32 array of shape (units,)
    memory : int
        Inferences that a filter sees.
    state : Grid
        Of the features that are remembered.
    feature_scale, out_scale : Scale
    out_zero : int
    """

    weights: Int8Array = field(repr=False)
    start: Int32Array = field(repr=False)
    bias: Int32Array = field(repr=False)
    memory: int
    state: Grid
    feature_scale: Scale
    out_scale: Scale
    out_zero: int


@register("svdf")
@dataclass(frozen=True, slots=True, kw_only=True)
class Svdf(Op[SvdfParams]):
    """A feature a filter, its last values weighted over time, filters summed to units. [svdf-C1]

    The second input holds the time weights, (filters, memory), the oldest first.

    Parameters
    ----------
    rank : int
        Filters that are summed to one output.
    state_scale : float
        Of the features; exactly a float32.
    state_zero : int, default 0
        Their zero point.
    float32_scales : bool, default False
        Both factors are formed in float32, as TFLite did until 2026. [svdf-C7]
    """

    rank: int
    state_scale: float
    state_zero: int = 0
    float32_scales: bool = False

    has_weights = True
    packings = ("dense",)

    def infer(self, node: Node, inputs: tuple[TensorType, ...]) -> TensorType:
        """Output (units,).

        Raises
        ------
        SpecViolation
            `[svdf-C1]` inputs, `[svdf-C2]` weights, `[svdf-C3]` bias, `[svdf-C4]` state.
        """
        if len(inputs) != 2 or inputs[0].dtype is not DType.S8 or inputs[1].dtype is DType.S32:
            got = ", ".join(map(str, inputs))
            raise SpecViolation("svdf-C1", f"an int8 vector and time weights are due, not ({got})")
        x, time = inputs
        assert node.weights is not None
        shape = node.weights.codes.shape
        if (
            len(x.shape) != 1
            or shape[1:] != x.shape
            or time.shape[:1] != shape[:1]
            or len(time.shape) != 2
            or self.rank < 1
            or shape[0] % self.rank
            or len(node.weights.scale) != 1
        ):
            raise SpecViolation(
                "svdf-C2",
                f"weights {list(shape)} of one scale and time weights {list(time.shape)} of rank "
                f"{self.rank} do not fit the input {x}",
            )
        units = shape[0] // self.rank
        if node.bias is not None and node.bias.shape != (units,):
            raise SpecViolation("svdf-C3", "one bias a unit is needed")
        state = self._grid(time)
        if time.zero_point != 0 or (state.bits == 16 and state.zero_point != 0):
            raise SpecViolation("svdf-C4", "time weights and 16-bit states have zero point 0")
        return TensorType(shape=(units,))

    def lower(self, node: Node, inputs: tuple[TensorType, ...], output: TensorType) -> SvdfParams:
        x, time = inputs
        assert node.weights is not None
        weights = node.weights.values
        state = self._grid(time)
        start = -x.zero_point * weights.sum(axis=1, dtype=np.int64)
        bias = np.zeros(output.elements) if node.bias is None else node.bias
        return SvdfParams(
            weights=weights,
            start=start.astype(np.int32),
            bias=bias.astype(np.int32),
            memory=time.shape[1],
            state=state,
            feature_scale=self._factor(x.scale, float(node.weights.scale[0]), state.scale),
            out_scale=self._factor(state.scale, time.scale, output.scale),
            out_zero=output.zero_point,
        )

    def simulate(self, params: SvdfParams, *inputs: Array) -> Int8Array:
        """Golden of `cq_svdf_*`; the batch is a sequence of inferences. [svdf-C1]"""
        x, time = inputs
        zero = params.state.zero_point
        rows = params.weights.astype(blas_dtype(params.weights))
        acc = (x.astype(rows.dtype) @ rows.T).astype(np.int64) + params.start
        low, high = params.state.limits
        features = _wrapped(
            zero + np.clip(params.feature_scale.apply(acc), low, high), params.state.bits
        )
        before = np.full((params.memory - 1, features.shape[1]), zero)
        remembered = sliding_window_view(np.concatenate([before, features]), params.memory, axis=0)
        sums = (time.astype(np.int64) * (remembered - zero)).sum(axis=2)
        units = sums.reshape(len(x), -1, self.rank).sum(axis=2) + params.bias
        scaled = params.out_scale.apply(_wrapped(units, 32)) + params.out_zero
        return clamp_to_int8(scaled, -128, 127)

    def c_params(
        self,
        params: SvdfParams,
        inputs: tuple[TensorType, ...],
        output: TensorType,
        packed: Packed | None,
    ) -> Mapping[str, CValue]:
        filters, features = params.weights.shape
        return {
            "inputs": features,
            "filters": filters,
            "rank": self.rank,
            "memory": params.memory,
            "state_bits": params.state.bits,
            "state_zero": params.state.zero_point,
            "weights": c_weights(packed),
            "start": CArray(name="start", c_type="int32_t", data=params.start),
            "bias": CArray(name="bias", c_type="int32_t", data=params.bias),
            "feature_scale": params.feature_scale.c_params(),
            "out_scale": params.out_scale.c_params(),
            "out_zero": params.out_zero,
        }

    def macs(self, params: SvdfParams, output: TensorType) -> int:
        return params.weights.size + len(params.weights) * params.memory

    def scratch_bytes(
        self,
        params: SvdfParams,
        inputs: tuple[TensorType, ...],
        output: TensorType,
        packed: Packed | None,
        family: str,
        isa: str = "ref",
    ) -> int:
        """The decoded weights of one filter, in chunks. [svdf-C5]"""
        return row_bytes(packed, params.weights.shape[1])

    def state_bytes(self, params: SvdfParams) -> int:
        return len(params.weights) * params.memory * params.state.bits // 8

    def state_fill(self, params: SvdfParams) -> int:
        return params.state.zero_point & 0xFF

    def accumulator_bound(self, params: SvdfParams) -> Array:
        """Of the features; the sums over time wrap around, and are shifted right. [svdf-C6]"""
        magnitude = np.abs(params.weights.astype(np.int64)).sum(axis=1)
        features = np.abs(params.start.astype(np.int64)) + 128 * magnitude
        shifted = [params.feature_scale.bound(int(bound)) for bound in features]
        return np.array([*shifted, params.out_scale.bound(INT32_MAX)], np.int64)

    def _factor(self, a: float, b: float, y: float) -> Scale:
        """``a · b / y``, left to right. [svdf-C7]"""
        real = np.float32 if self.float32_scales else np.float64
        with np.errstate(over="ignore"):
            return Scale.of(float(real(a) * real(b) / real(y)))

    def _grid(self, time: TensorType) -> Grid:
        """The state is as wide as the time weights."""
        return Grid(scale=self.state_scale, zero_point=self.state_zero, bits=time.dtype.bits)


def _wrapped(values: Int64Array, bits: int) -> Int64Array:
    """The signed integers of some bits that are equal modulo 2^bits."""
    half = np.int64(1) << (bits - 1)
    result: Int64Array = ((values + half) & ((half << 1) - 1)) - half
    return result
