# SPDX-License-Identifier: Apache-2.0
"""Ranges of tensors: no value ever leaves them, and what is constant is known to be."""

import numpy as np
import pytest
from hypothesis import given

from codeq_compile import ranges
from codeq_compile.ir import Graph, Op, Weights, op_kinds, op_type
from codeq_compile.ir.types import Range
from codeq_compile.ops.add import Add
from codeq_compile.ops.avgpool2d import AvgPool2D
from codeq_compile.ops.concat import Concat
from codeq_compile.ops.conv2d import Conv2D
from codeq_compile.ops.dwconv2d import DWConv2D
from codeq_compile.ops.linear import Linear
from codeq_compile.ops.lut import Lut
from codeq_compile.ops.maxpool2d import MaxPool2D
from codeq_compile.ops.mean import Mean
from codeq_compile.ops.mul import Mul
from codeq_compile.ops.pad import Pad
from codeq_compile.ops.requantize import Requantize
from codeq_compile.ops.reshape import Reshape
from codeq_compile.ops.upsample2d import Upsample2D
from codeq_compile.passes.lower import lower
from codeq_compile.simulate import trace
from tests.graphs import grid, one_op_graph, random_inputs, s8
from tests.strategies import GraphBuilder, graphs


@pytest.mark.slow
@given(graphs(max_nodes=8))
def test_no_value_leaves_its_range(graph: Graph) -> None:
    """A range that is too narrow makes passes and kernels wrong for rare inputs only."""
    lowered = lower(graph)
    proved = ranges.infer(lowered)
    inputs = random_inputs(np.random.default_rng(0), lowered, batch=5)

    for name, values in trace(lowered, inputs).items():
        by_channel = values.reshape(-1, values.shape[-1])
        assert (by_channel >= proved[name].low).all(), name
        assert (by_channel <= proved[name].high).all(), name


def _constants(*values: int) -> Range:
    array = np.array(values, np.int64)
    return Range(low=array, high=array)


def _ones(*shape: int) -> Weights:
    return Weights(codes=np.ones(shape, np.int8), bits=8, scale=np.ones(1, np.float32))


IMAGE = s8(4, 4, 2, scale=1.0, zero_point=0)
UNIT = grid(1.0, 0)
WINDOW = (2, 2)

# op, shapes of further inputs, weights, what constants 3 and -7 become (None: not constant)
CONSTANTS = [
    (Conv2D(), (), _ones(1, 2, 2, 2), [4 * (3 - 7)]),
    (Conv2D(padding=(1, 0, 0, 0)), (), _ones(1, 2, 2, 2), None),
    (Conv2D(groups=2), (), _ones(2, 2, 2, 1), [12, -28]),
    (Conv2D(clamp=(0, 127)), (), _ones(1, 2, 2, 2), [0]),
    (DWConv2D(), (), _ones(4, 1, 2), [6, 6, -14, -14]),
    (DWConv2D(padding=(0, 0, 0, 1)), (), _ones(2, 1, 2), None),
    (DWConv2D(padding=(0, 0, 0, 1), clamp=(10, 20)), (), _ones(2, 1, 2), [10, 10]),
    (Linear(), (), _ones(1, 2), [-4]),
    (Add(), ((4, 4, 2),), None, [6, -14]),
    (Mul(), ((2,),), None, [9, 49]),
    (AvgPool2D(kernel=WINDOW, stride=WINDOW, padding=(1, 1, 1, 1)), (), None, [3, -7]),
    (MaxPool2D(kernel=WINDOW, stride=WINDOW, padding=(1, 1, 1, 1)), (), None, [3, -7]),
    (MaxPool2D(kernel=WINDOW, stride=(1, 1), padding=(2, 0, 0, 0)), (), None, None),
    (Mean(), (), None, [3, -7]),
    (Requantize(clamp=(-5, 5)), (), None, [3, -5]),
    (Lut(), (), None, [-3, 7]),
    (Pad(before=(1, 0, 0), value=3), (), None, None),
    (Pad(before=(0, 0, 1), after=(0, 0, 2), value=9), (), None, [9, 3, -7, 9, 9]),
    (Pad(before=(1, 0, 1)), (), None, None),
    (Concat(), ((4, 4, 2),), None, [3, -7, 3, -7]),
    (Concat(axis=0), ((4, 4, 2),), None, [3, -7]),
    (Reshape(shape=(8, 4)), (), None, [3, -7, 3, -7]),
    (Reshape(shape=(32, 1)), (), None, None),
    (Upsample2D(factor=WINDOW), (), None, [3, -7]),
]


@pytest.mark.parametrize(("op", "others", "weights", "expected"), CONSTANTS, ids=str)
def test_what_constant_channels_become_is_known(
    op: Op, others: tuple, weights: Weights | None, expected: list[int] | None
) -> None:
    """A constant that an op hides keeps a dead channel, its weights and its time."""
    table = np.arange(127, -129, -1).astype(np.int8) if op.has_table else None
    if table is not None:
        table += 1  # -x, but for -128
    inputs = [IMAGE, *(s8(*shape, scale=1.0, zero_point=0) for shape in others)]
    graph = lower(one_op_graph(op, inputs, UNIT, weights=weights, table=table))
    (node,) = graph.nodes

    found = node.op.output_range(
        node.params,
        tuple(_constants(3, -7) for _ in inputs),
        graph.input_types(node),
        graph.output_type(node),
    )

    if expected is None:
        assert not found.is_constant.all()
    else:
        assert expected == found.low.tolist() == found.high.tolist()


def test_every_op_with_channels_says_what_it_makes_of_them() -> None:
    """A new op that leaves it out ends every proof behind it, and nobody would notice."""
    silent = {kind for kind in op_kinds() if op_type(kind).output_range is Op.output_range}

    assert {"argmax", "softmax", "softmax16", "svdf"} == silent


def test_an_unknown_accumulator_proves_nothing() -> None:
    """What would overflow is refused later; until then it may not be taken for a constant."""
    weights = Weights(
        codes=np.zeros((1, 4), np.int8), bits=8, scale=np.full(1, 2.0**20, np.float32)
    )
    graph = lower(
        one_op_graph(
            Linear(),
            [s8(4, scale=1.0, zero_point=0)],
            UNIT,
            weights=weights,
            bias=np.array([1 << 20], np.int32),
        )
    )

    assert not ranges.infer(graph)["y"].is_constant.any()


def test_a_saturated_relu_is_a_constant(rng: np.random.Generator) -> None:
    """The biases of dead units are far below zero: whatever comes, they give the same value."""
    builder = GraphBuilder(rng)
    op = Conv2D(clamp=(-3, 127), padding=(1, 1, 1, 1))
    bias = np.array([0, -2 * 128 * 9], np.int32)
    x = builder.add(
        op, builder.input(s8(3, 3, 1)), weights=_ones(2, 3, 3, 1), bias=bias, output=grid(0.05, -3)
    )
    found = ranges.infer(lower(builder.graph()))[x]

    assert [False, True] == found.is_constant.tolist()
    assert -3 == found.low[1]
