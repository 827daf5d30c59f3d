# SPDX-License-Identifier: Apache-2.0
"""Dense linear kernels where they could break: full sums, ends of rows, what is not a grid."""

import numpy as np
import pytest

from codeq_compile.ir import Weights
from codeq_compile.kernels import Kernel
from codeq_compile.numerics import Int8Array
from codeq_compile.ops.linear import Linear
from codeq_compile.packing import pack
from codeq_compile.simulate import simulate
from tests.graphs import Case, grid, lowered, one_op_graph, random_int8, s8
from tests.runtime.binding import Runtime
from tests.runtime.matrix import Job


def check(runtime: Runtime, weights: Weights, x: Int8Array, isa: str) -> None:
    """Dense weights times vectors (batch, rows, features): C gives what the simulation gives."""
    # the largest sum there can be is the last output below the limit
    largest = max(1, int(np.abs(weights.values.astype(np.int64)).sum(axis=1).max()))
    scale = largest * float(weights.scale.max())
    kind = s8(*x.shape[1:], scale=1.0, zero_point=0)
    graph = lowered(one_op_graph(Linear(), [kind], grid(scale, 0), weights=weights))
    (node,) = graph.nodes
    job = Job(
        kernel=Kernel(family="linear", act="s8", bits=weights.bits, packing="dense", isa=isa),
        case=Case(name=isa, op=node.op, inputs=graph.input_types(node)),
        graph=graph,
        packed=pack(weights, "dense"),
        inputs=(x,),
        expected=np.asarray(simulate(graph, {"x0": x})["y"]),
    )
    for sample, expected in enumerate(job.expected):
        np.testing.assert_array_equal(expected, runtime.run(job, sample))


def vectors(rng: np.random.Generator, rows: int, length: int) -> Int8Array:
    """All -128, all 127, alternating, random: (4, rows, length)."""
    shape = (rows, length)
    alternating = np.where(np.arange(length) % 2, 127, -128)
    samples = [np.full(shape, -128), np.full(shape, 127), np.tile(alternating, (rows, 1))]
    return np.stack([*samples, random_int8(rng, shape)]).astype(np.int8)


@pytest.mark.parametrize("isa", ["dsp", "swar"])
@pytest.mark.parametrize("bits", range(2, 8))
def test_sums_of_the_largest_products_are_exact(runtime, rng, bits, isa):
    """Weights stand above their units while they are multiplied: one product too many overflows."""
    largest = 2 ** (bits - 1) - 1
    for length in (256, 264, 512, 640):
        full = np.full(length, largest)
        alternating = np.where(np.arange(length) % 2, largest, -largest)
        random = rng.integers(-largest, largest + 1, length)
        codes = np.stack([full, -full, alternating, random, -alternating]).astype(np.int8)
        weights = Weights(codes=codes, bits=bits, scale=np.full(5, 0.01, np.float32))

        check(runtime, weights, vectors(rng, 1, length), isa)


@pytest.mark.parametrize("isa", ["dsp", "swar"])
@pytest.mark.parametrize("features", range(1, 10))
@pytest.mark.parametrize("length", [2, 4, 8, 12, 16, 20, 40, 264])
def test_rows_end_anywhere_in_a_step(runtime, rng, length, features, isa):
    """What stands behind a row are the next row's weights, or nothing at all."""
    for bits in (1, 2, 3, 4, 6):
        levels = (-7, 100) if bits == 1 else None
        top = 2 ** (bits - 1) - 1
        low, high = (0, 1) if bits == 1 else (-top, top)
        codes = rng.integers(low, high + 1, (features, length)).astype(np.int8)
        weights = Weights(
            codes=codes, bits=bits, levels=levels, scale=np.full(features, 0.01, np.float32)
        )

        check(runtime, weights, vectors(rng, 2, length), isa)


@pytest.mark.parametrize("isa", ["dsp", "swar"])
@pytest.mark.parametrize(
    ("bits", "gap", "levels"),
    [
        (1, 0, (127, -128)),
        (1, 0, (0, 1)),
        (2, 126, None),
        (2, 0, (-5, 0, 3)),
        (3, 4, None),
        (4, 3, None),
        (4, 0, tuple(range(-8, 8))),
        (8, 27, None),
    ],
)
def test_codes_that_are_not_weights_are_mapped(runtime, rng, bits, gap, levels, isa):
    """A gap or a table that is left out gives another model than the one that was trained."""
    for length in (24, 300):
        top = min(2 ** (bits - 1) - 1, 127 - gap)
        low, high = (-top, top) if levels is None else (0, len(levels) - 1)
        codes = rng.integers(low, high + 1, (6, length)).astype(np.int8)
        weights = Weights(
            codes=codes, bits=bits, gap=gap, levels=levels, scale=np.full(6, 0.01, np.float32)
        )

        check(runtime, weights, vectors(rng, 2, length), isa)
