# SPDX-License-Identifier: Apache-2.0
"""Sparse linear kernels where they could break: lists of every length, every way to an output."""

from collections.abc import Sequence

import numpy as np
import pytest

from codeq_compile.ir import Weights
from codeq_compile.ir.op import Array
from codeq_compile.kernels import Kernel
from codeq_compile.numerics import Int8Array
from codeq_compile.ops.linear import Linear
from codeq_compile.packing import pack
from codeq_compile.simulate import simulate
from tests.graphs import Case, grid, lowered, one_op_graph, random_int8, s8
from tests.runtime.binding import Runtime
from tests.runtime.matrix import Job

LARGEST = {2: 1, 4: 7, 8: 127}


def check(
    runtime: Runtime,
    codes: Int8Array,
    x: Int8Array,
    *,
    kernel: tuple[str, int, str],
    gap: int = 0,
    factors: Sequence[float] = (0.004,),
    bias: Array | None = None,
) -> None:
    """A stream of records times vectors (batch, rows, features): C gives what Python does."""
    packing, bits, isa = kernel
    scale = np.array(factors, np.float32)
    weights = Weights(
        codes=codes, bits=bits, gap=gap, scale=np.resize(scale, _scales(codes, scale))
    )
    kind = s8(*x.shape[1:], scale=1.0, zero_point=0)
    graph = lowered(one_op_graph(Linear(), [kind], grid(1.0, 3), weights=weights, bias=bias))
    (node,) = graph.nodes
    packed = pack(weights, packing)
    assert bits == packed.bits
    job = Job(
        kernel=Kernel(family="linear_sparse", act="s8", bits=bits, packing=packing, isa=isa),
        case=Case(name=isa, op=node.op, inputs=graph.input_types(node)),
        graph=graph,
        packed=packed,
        inputs=(x,),
        expected=np.asarray(simulate(graph, {"x0": x})["y"]),
    )
    for sample, expected in enumerate(job.expected):
        np.testing.assert_array_equal(expected, runtime.run(job, sample))


def _scales(codes: Int8Array, factors: Array) -> int:
    return 1 if len(factors) == 1 else len(codes)


def staircase(rng: np.random.Generator, bits: int, rows: int, length: int) -> Int8Array:
    """Row i has i weights that are not zero, spread over its blocks at random."""
    codes = np.zeros((rows, length), np.int8)
    largest = LARGEST[bits]
    for i, row in enumerate(codes):
        places = rng.permutation(length)[: min(i, length)]
        row[places] = rng.integers(1, largest + 1, len(places)) * rng.choice([-1, 1], len(places))
    # rows of a few records alone could be of one magnitude
    codes[-1, :2] = largest, -max(1, largest - 1)
    return codes


def vectors(rng: np.random.Generator, rows: int, length: int) -> Int8Array:
    """All -128, all 127, random: (3, rows, length)."""
    shape = (rows, length)
    return np.stack([np.full(shape, -128), np.full(shape, 127), random_int8(rng, shape)]).astype(
        np.int8
    )


KERNELS = [
    (packing, bits, isa)
    for isa in ("dsp", "swar")
    for packing, bits in (("csr", 2), ("csr", 4), ("csr", 8), ("gap", 2), ("gap", 4))
]


@pytest.mark.parametrize("kernel", KERNELS, ids=str)
def test_lists_of_every_length_are_whole(runtime, rng, kernel):
    """An unrolled loop is entered at one of its cases: each must be tried, and further turns."""
    for rows, length in [(75, 100), (131, 128), (130, 256), (70, 300)]:
        codes = staircase(rng, kernel[1], rows, length)
        bias = rng.integers(-3000, 3000, rows).astype(np.int32)

        check(runtime, codes, vectors(rng, 1, length), kernel=kernel, bias=bias)


@pytest.mark.parametrize("kernel", [each for each in KERNELS if each[2] == "dsp"], ids=str)
@pytest.mark.parametrize("bias", [0, 100, 30_000, 2_000_000])
def test_every_factor_and_bias_is_exact(runtime, rng, kernel, bias):
    """Short factors, a shift of one, none, to the left; one for all or one each; any bias."""
    rows, length = 37, 64
    codes = staircase(rng, kernel[1], rows, length)
    biases = rng.integers(-bias, bias + 1, rows).astype(np.int32)
    x = vectors(rng, 2, length)

    for factors in ([0.004], [0.3], [0.7], [1.4], [5.5], [0.004, 0.02], [0.3, 0.7, 5.5, 1e-9]):
        check(runtime, codes, x, kernel=kernel, factors=factors, bias=biases)


@pytest.mark.parametrize("isa", ["dsp", "swar"])
@pytest.mark.parametrize("gap", [1, 126])
def test_signs_count_in_units_of_their_magnitude(runtime, rng, gap, isa):
    """All non-zeros of such a layer are gap + 1 or its opposite."""
    for packing in ("csr", "gap"):
        for length in (40, 300):
            codes = staircase(rng, 2, 30, length)
            bias = rng.integers(-300, 300, 30).astype(np.int32)

            check(
                runtime,
                codes,
                vectors(rng, 1, length),
                kernel=(packing, 2, isa),
                gap=gap,
                bias=bias,
            )


@pytest.mark.parametrize("isa", ["dsp", "swar"])
@pytest.mark.parametrize("bits", [4, 8])
def test_sums_of_the_largest_products_are_exact(runtime, rng, bits, isa):
    """Codes of 4 bits stand above their units while they are multiplied."""
    largest = LARGEST[bits]
    for length in (256, 512):
        alternating = np.where(np.arange(length) % 2, largest, 1 - largest)
        codes = np.stack([np.full(length, largest), alternating, -alternating]).astype(np.int8)

        check(runtime, codes, vectors(rng, 1, length), kernel=("csr", bits, isa), factors=[1e-5])
