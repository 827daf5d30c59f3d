# SPDX-License-Identifier: Apache-2.0
"""The proof that int32 is enough. [N4.3]"""

import numpy as np
import pytest

from codeq_compile.errors import ModelError
from codeq_compile.ir import Graph, Weights
from codeq_compile.ops.linear import Linear
from codeq_compile.passes.bound_accumulators import bound_accumulators
from codeq_compile.passes.lower import lower
from tests.graphs import grid, one_op_graph, s8


def linear(bias: int, *, factor: float = 0.25, weight: int = 1) -> Graph:
    """One output of four weights; the last of two channels has the bias."""
    weights = Weights(codes=np.full((2, 4), weight, np.int8), bits=8, scale=np.ones(1, np.float32))
    return lower(
        one_op_graph(
            Linear(),
            [s8(4, scale=factor, zero_point=0)],
            grid(1.0, 0),
            weights=weights,
            bias=np.array([0, bias], np.int32),
        )
    )


def test_the_last_value_that_fits_is_accepted() -> None:
    """4 weights of 1 and inputs down to -128: the bound is bias + 512."""
    graph = linear((1 << 31) - 1 - 512)

    assert graph is bound_accumulators(graph)


def test_one_more_is_refused_with_layer_channel_and_way_out() -> None:
    """On the device it would wrap around and nobody would know."""
    message = (
        r'(?s)"layer" \(linear\): 1 of 2 channels; channel 1 could reach 2147483648,.*narrower'
    )

    with pytest.raises(ModelError, match=message):
        bound_accumulators(linear((1 << 31) - 512))


def test_the_left_shift_counts() -> None:
    """A factor of 2^20 shifts the accumulator by 21 bits before the multiplier. [N4.3]"""
    bound_accumulators(linear(0, factor=2.0**20))
    limit = (1 << (31 - 21)) - 512

    bound_accumulators(linear(limit - 1, factor=2.0**20))
    with pytest.raises(ModelError, match=r"could reach 2147483648"):
        bound_accumulators(linear(limit, factor=2.0**20))


@pytest.mark.parametrize("bias", [0, 1000, -1000])
def test_the_bound_is_reached_by_no_input(bias: int, rng: np.random.Generator) -> None:
    """Compared with all partial sums of random and extreme inputs, in random orders."""
    weights = rng.integers(-127, 128, (1, 40)).astype(np.int8)
    graph = one_op_graph(
        Linear(),
        [s8(40, zero_point=17)],
        grid(1.0, 0),
        weights=Weights(codes=weights, bits=8, scale=np.ones(1, np.float32)),
        bias=np.array([bias], np.int32),
    )
    node = lower(graph).nodes[0]
    bound = node.op.accumulator_bound(node.params)
    start = bias - 17 * int(weights.astype(int).sum())
    worst = 0
    for _ in range(200):
        order = rng.permutation(40)
        x = rng.choice([-128, 127, 0, 17], 40)
        sums = start + np.cumsum(weights[0][order].astype(int) * x[order])
        worst = max(worst, abs(start), int(np.abs(sums).max()))
    extreme = start + np.abs(weights.astype(int)).sum() * 128

    assert bound is not None
    assert worst <= bound[0]
    assert abs(extreme) <= bound[0]
