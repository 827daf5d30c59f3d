# SPDX-License-Identifier: Apache-2.0
"""swar kernels where lanes, halves and windows are at their limits."""

import itertools
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codeq_compile import numerics
from codeq_compile.ir import Weights
from codeq_compile.ir.op import Array, Op
from codeq_compile.kernels import Kernel, rows
from codeq_compile.ops.conv2d import Conv2D
from codeq_compile.ops.dwconv2d import DWConv2D
from codeq_compile.ops.linear import Linear
from codeq_compile.packing import pack
from codeq_compile.simulate import simulate
from tests.graphs import Case, lowered, one_op_graph, s8
from tests.runtime.binding import Runtime
from tests.runtime.matrix import Job, jobs
from tests.runtime.test_numerics import EDGES, INT32, wide

BYTES = {
    family: Kernel(family=family, act="s8", isa="swar", bits=8, packing="dense")
    for family in ("conv2d", "dwconv2d", "linear")
}


@pytest.fixture(scope="module")
def shims(runtime: Runtime, library: Path) -> Any:
    """The shims of shim_swar.c, and the ffi that makes their arguments."""
    text = (Path(__file__).parent / "c" / "shims.h").read_text()
    for name in ("rounding_doubling_high_mul_halves", "store_outputs"):
        runtime.ffi.cdef(
            re.findall(rf"^void shim_{name}\([^;]*;", text, re.MULTILINE)[0], override=True
        )
    return runtime.ffi.dlopen(str(library))


def test_the_high_multiply_from_halves_equals_its_twin(shims, runtime, rng):
    """Cores without a long product compute every factor this way. [N2.4]"""
    pairs = [pair for pair in itertools.product(EDGES, EDGES) if pair != (INT32[0], INT32[0])]
    for a, b in (np.array(pairs).T, np.stack([wide(rng, *INT32), wide(rng, *INT32)])):
        columns = [np.ascontiguousarray(column, np.int32) for column in (a, b)]
        out = np.empty(len(a), np.int32)

        shims.shim_rounding_doubling_high_mul_halves(
            len(a),
            *(runtime.ffi.from_buffer("int32_t[]", column) for column in columns),
            runtime.ffi.from_buffer("int32_t[]", out, require_writable=True),
        )

        np.testing.assert_array_equal(numerics.rounding_doubling_high_mul(*columns), out)


def _outputs(shims: Any, runtime: Runtime, acc: Array, numbers: tuple[int, ...]) -> Array:
    acc = np.ascontiguousarray(acc, np.int32)
    out = np.empty(len(acc), np.int8)
    shims.shim_store_outputs(
        len(acc),
        runtime.ffi.from_buffer("int32_t[]", acc),
        runtime.ffi.new("int32_t[]", numbers),
        runtime.ffi.from_buffer("int8_t[]", out, require_writable=True),
    )
    return out


def _steps(multiplier: int, exponent: int, low: int, high: int) -> Array:
    """Accumulators next to every step of the output, and at the ends of what may occur."""
    limit = INT32[1] >> max(exponent, 0)
    values = np.arange(low - 2, high + 3)[:, None] - 0.5
    steps = np.round(values * 2.0 ** (31 - exponent) / max(multiplier, 1))
    near = np.concatenate([(steps + np.arange(-2, 3)).ravel(), EDGES])
    return np.clip(near, -limit, limit).astype(np.int64)


@pytest.mark.parametrize("exponent", range(-31, 5))
def test_every_step_of_the_output_is_where_the_numerics_put_it(shims, runtime, rng, exponent):
    """An estimate that is trusted too near to a step is one output off. [N4.2]"""
    multipliers = [
        1 << 30,
        (1 << 31) - 1,
        0x5555_5555,
        0xFFFF << 15,
        *rng.integers(2**30, 2**31, 4),
    ]
    for multiplier in [0, *map(int, multipliers)]:
        for zero_point, low, high in LIMITS:
            acc = _steps(multiplier, exponent, low - zero_point, high - zero_point)
            exact = numerics.requantize(acc, np.int64(multiplier), np.int64(exponent))

            np.testing.assert_array_equal(
                np.clip(exact + zero_point, low, high),
                _outputs(shims, runtime, acc, (multiplier, exponent, zero_point, low, high)),
                err_msg=f"{multiplier} 2^{exponent}, zero point {zero_point}, {low}..{high}",
            )


LIMITS = [
    (-128, -128, 127),
    (5, -128, 127),
    (127, -128, 127),
    (0, 0, 6),
    (-3, -3, 127),
    (-100, 50, 50),
]
"""Zero point and limits: of a ReLU, of no activation, and of hardly any output."""


def _extreme(values: tuple[int, ...], count: int) -> Array:
    return np.resize(np.array(values, np.int8), count)


def _job(op: Op[Any], shape: tuple[int, ...], weights: Array, x: Array) -> Job:
    """One layer of 8-bit weights with inputs given value by value."""
    packed_weights = Weights(codes=weights, bits=8, scale=np.full(len(weights), 0.01, np.float32))
    graph = lowered(one_op_graph(op, [s8(*shape)], weights=packed_weights))
    data = x.reshape(1, *shape)
    return Job(
        kernel=BYTES[op.kind],
        case=Case(name="extreme", op=op, inputs=(s8(*shape),)),
        graph=graph,
        packed=pack(packed_weights, "dense"),
        inputs=(data,),
        expected=np.asarray(simulate(graph, {"x0": data})["y"]),
    )


EXTREMES = [(-128,), (127,), (-128, 127), (127, -128), (-128, -128, 127), (-127, 127, 1, 0, -1)]


@pytest.mark.parametrize("x", EXTREMES, ids=str)
@pytest.mark.parametrize("w", EXTREMES, ids=str)
def test_no_lane_overflows_at_the_extremes(runtime: Runtime, x, w):
    """Imported weights may be -128: two products with -128 are 2^15, which a lane cannot hold."""
    for length in (1, 2, 3, 4, 7, 8, 9, 129):
        linear = _extreme(w, 5 * length).reshape(5, length)
        pointwise = linear.reshape(5, 1, 1, length)
        taps = _extreme(w, 18).reshape(2, 3, 3)
        columns = length + 2
        for job in (
            _job(Linear(), (length,), linear, _extreme(x, length)),
            _job(Conv2D(), (3, 3, length), pointwise, _extreme(x, 9 * length)),
            _job(DWConv2D(), (3, columns, 2), taps, _extreme(x, 6 * columns)),
        ):
            np.testing.assert_array_equal(job.expected[0], runtime.run(job, 0), err_msg=str(job))


@pytest.mark.parametrize("kernel", [k for k in rows() if k.isa == "swar"], ids=str)
def test_aligned_inputs_give_the_same(runtime: Runtime, kernel: Kernel):
    """Words are loaded where addresses allow it, bytes elsewhere: the tests of all kernels see the
    second way only, and most models the first."""
    for job in jobs(kernel):
        np.testing.assert_array_equal(
            job.expected[0], runtime.run(job, 0, misaligned=False), err_msg=str(job)
        )
