# SPDX-License-Identifier: Apache-2.0
"""Rounding that makes up for its own errors."""

from typing import Any

import numpy as np
import pytest

from codeq_compile.coarsen.rounding import Seen, can_be_coarser, rounded
from codeq_compile.ir import Graph, Node, Weights
from codeq_compile.ir.op import Array, Op
from codeq_compile.ops.conv2d import Conv2D
from codeq_compile.ops.dwconv2d import DWConv2D
from codeq_compile.ops.linear import Linear
from codeq_compile.ops.mean import Mean
from codeq_compile.simulate import simulate
from tests.graphs import grid, lowered, one_op_graph, random_bias, random_weights, s8

CASES: list[tuple[Op[Any], tuple[int, ...], tuple[int, ...]]] = [
    (Linear(), (30,), (9, 30)),
    (Conv2D(padding=(1, 0, 2, 1), stride=(2, 1), dilation=(1, 2)), (7, 9, 5), (6, 3, 2, 5)),
    (Conv2D(groups=3), (5, 5, 6), (9, 2, 2, 2)),
    (DWConv2D(padding=(1, 1, 1, 1)), (6, 6, 4), (8, 3, 3)),
]


def graph_of(rng: np.random.Generator, case: Any, weights: Weights | None = None) -> Graph:
    """One layer whose output grid is so fine that nothing but saturation is lost."""
    op, x, shape = case
    weights = weights or random_weights(rng, shape)
    bias = random_bias(rng, weights)
    return lowered(
        one_op_graph(op, [s8(*x, zero_point=7)], grid(1.0, 0), weights=weights, bias=bias)
    )


def inputs(rng: np.random.Generator, shape: tuple[int, ...], samples: int = 60) -> Array:
    """Values that have to do with each other."""
    common = rng.normal(0.0, 30.0, (samples, *(1 for _ in shape)))
    return np.clip(common + rng.normal(0.0, 15.0, (samples, *shape)), -128, 127).astype(np.int8)


def accumulators(graph: Graph, node: Node, x: Array) -> Array:
    """Real outputs of a layer before any limit, computed from its definition in float64."""
    assert node.weights is not None
    op, weights = node.op, node.weights
    scale = np.broadcast_to(weights.scale, len(weights.codes)).astype(np.float64)
    bias = np.zeros(len(scale)) if node.bias is None else node.bias
    values = weights.values.astype(np.float64)
    x = x.astype(np.float64) - graph.input_types(node)[0].zero_point
    if isinstance(op, Linear):
        return (x @ values.T + bias) * scale
    top, bottom, left, right = op.padding
    x = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))
    kh, kw = values.shape[1:3]
    (sh, sw), (dh, dw) = op.stride, op.dilation
    high = (x.shape[1] - (kh - 1) * dh - 1) // sh + 1
    wide = (x.shape[2] - (kw - 1) * dw - 1) // sw + 1
    total = np.zeros((len(x), high, wide, len(values)))
    groups = op.groups if isinstance(op, Conv2D) else x.shape[3]
    each_in, each_out = x.shape[3] // groups, len(values) // groups
    for out in range(len(values)):
        first = out // each_out * each_in
        for a in range(kh):
            for b in range(kw):
                at = x[:, a * dh :, b * dw :][:, ::sh, ::sw][:, :high, :wide]
                met = at[..., first : first + each_in]
                total[..., out] += met @ values[out, a, b].reshape(each_in)
    return (total + bias) * scale


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("bits", [2, 4, 7])
def test_the_error_is_the_one_that_is_told(rng: np.random.Generator, case: Any, bits: int) -> None:
    """It decides which layer gives up its bits: patches, groups and zero points must be right."""
    graph = graph_of(rng, case)
    (node,) = graph.nodes
    x = inputs(rng, case[1])
    before = accumulators(graph, node, x)

    other, error = rounded(node, Seen.of(node, x, 7, rng), bits)

    moved = (accumulators(graph, other, x) - before) / node.weights.scale
    mean = moved.reshape(-1, moved.shape[-1]).mean(axis=0)
    steps = other.weights.scale / node.weights.scale
    # all places were looked at; the bias takes the mean out, up to half a step of its own
    np.testing.assert_array_less(np.abs(mean), 0.5 * steps + 1e-6)
    spread = np.square(moved - mean).reshape(-1, moved.shape[-1]).mean()
    assert spread <= error * (1 + 1e-9)
    assert bits == other.weights.bits
    assert simulate(lowered(graph.with_nodes((other,))), {"x0": x})["y"].shape[0] == len(x)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_it_is_better_than_the_nearest_levels(rng: np.random.Generator, case: Any) -> None:
    """Else the covariance would be looked at for nothing."""
    graph = graph_of(rng, case)
    (node,) = graph.nodes
    x = inputs(rng, case[1])
    before = accumulators(graph, node, x)
    other, _ = rounded(node, Seen.of(node, x, 7, rng), 4)

    values = node.weights.values.reshape(len(node.weights.codes), -1)
    step = np.abs(values).max(axis=1, keepdims=True) / 7
    codes = np.rint(values / step).astype(np.int8).reshape(node.weights.codes.shape)
    scale = (step.ravel() * node.weights.scale).astype(np.float32)
    bias = np.rint(node.bias / step.ravel()).astype(np.int32)
    nearest = Node(
        name=node.name,
        op=node.op,
        inputs=node.inputs,
        output=node.output,
        weights=Weights(codes=codes, bits=4, scale=scale),
        bias=bias,
    )

    errors = [np.square(accumulators(graph, each, x) - before).mean() for each in (other, nearest)]
    assert errors[0] < errors[1]


def test_zeros_of_a_pruned_layer_stay(rng: np.random.Generator) -> None:
    """They cost nothing in a sparse stream, and would cost much elsewhere."""
    case = CASES[0]
    graph = graph_of(rng, case, random_weights(rng, (9, 30), zeros=0.7))
    (node,) = graph.nodes

    other, _ = rounded(node, Seen.of(node, inputs(rng, case[1]), 7, rng), 3)

    assert not other.weights.values[node.weights.values == 0].any()


def test_a_channel_without_weights_and_inputs_that_never_change_are_no_trouble(
    rng: np.random.Generator,
) -> None:
    """A matrix of zeros has no inverse."""
    weights = random_weights(rng, (9, 30))
    weights.codes[4] = 0
    graph = graph_of(rng, CASES[0], weights)
    (node,) = graph.nodes
    x = np.full((5, 30), 7, np.int8)

    other, error = rounded(node, Seen.of(node, x, 7, rng), 4)

    assert 0.0 == error
    assert not other.weights.codes[4].any()
    moved = np.abs(node.bias * node.weights.scale - other.bias * other.weights.scale)
    np.testing.assert_array_less(moved, 0.51 * other.weights.scale)


def test_rows_too_long_for_a_covariance_take_the_nearest_levels(rng: np.random.Generator) -> None:
    """Time and memory grow with the square and the cube of a row."""
    graph = graph_of(rng, (Linear(), (2100,), (2, 2100)))
    (node,) = graph.nodes

    other, error = rounded(node, Seen.of(node, inputs(rng, (2100,), 4), 7, rng), 6)

    assert 6 == other.weights.bits
    assert error > 0.0


def test_only_what_multiplies_weights_with_inputs_can_be_coarser(rng: np.random.Generator) -> None:
    """A layer that this module does not understand is left as it is."""
    graph = lowered(one_op_graph(Mean(), [s8(3, 3, 4)], s8(3, 3, 4).grid))

    assert not can_be_coarser(graph.nodes[0])
    assert can_be_coarser(graph_of(rng, CASES[0]).nodes[0])
