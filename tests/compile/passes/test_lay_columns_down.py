# SPDX-License-Identifier: Apache-2.0
"""Images of one column."""

from typing import Any

import numpy as np
import pytest

from codeq_compile import passes, target
from codeq_compile.ops.add import Add
from codeq_compile.ops.avgpool2d import AvgPool2D
from codeq_compile.ops.conv2d import Conv2D
from codeq_compile.ops.dwconv2d import DWConv2D
from codeq_compile.ops.maxpool2d import MaxPool2D
from codeq_compile.passes.lay_columns_down import lay_columns_down
from codeq_compile.plan import plan
from tests.compile.passes.equality import applied, kinds
from tests.graphs import random_weights, s8
from tests.strategies import GraphBuilder


@pytest.fixture
def builder(rng: np.random.Generator) -> GraphBuilder:
    """A sequence of 12 with 4 channels, as a column."""
    builder = GraphBuilder(rng)
    builder.input(s8(12, 1, 4))
    return builder


@pytest.mark.parametrize(
    ("op", "shape", "turned"),
    [
        (
            Conv2D(stride=(2, 3), dilation=(2, 1), padding=(1, 2, 0, 0)),
            (5, 3, 1, 4),
            Conv2D(stride=(3, 2), dilation=(1, 2), padding=(0, 0, 1, 2)),
        ),
        (DWConv2D(padding=(1, 1, 0, 0)), (4, 3, 1), DWConv2D(padding=(0, 0, 1, 1))),
        (
            MaxPool2D(kernel=(3, 1), stride=(2, 1), padding=(1, 0, 0, 0)),
            None,
            MaxPool2D(kernel=(1, 3), stride=(1, 2), padding=(0, 0, 1, 0)),
        ),
        (AvgPool2D(kernel=(3, 1), stride=(3, 1)), None, AvgPool2D(kernel=(1, 3), stride=(1, 3))),
    ],
)
def test_a_column_becomes_a_row(
    builder: GraphBuilder, op: Any, shape: tuple[int, ...] | None, turned: Any
) -> None:
    """A padding or stride that is left behind shifts the whole sequence."""
    weights = {} if shape is None else {"weights": random_weights(builder.rng, shape)}

    graph = applied(lay_columns_down, builder.graph(builder.add(op, "x0", **weights)))

    assert ["reshape", op.kind, "reshape"] == kinds(graph)
    assert turned == graph.nodes[1].op


def test_nothing_stands_between_layers_that_were_turned(builder: GraphBuilder) -> None:
    """Two views a layer would fill the listing of a network of sequences."""
    y = builder.add(DWConv2D(), "x0", weights=random_weights(builder.rng, (4, 3, 1)))
    y = builder.add(Conv2D(), y, weights=random_weights(builder.rng, (6, 1, 1, 4)))
    y = builder.add(MaxPool2D(kernel=(2, 1), stride=(2, 1)), y)
    graph = builder.graph(y)

    assert ["reshape", "dwconv2d", "conv2d", "maxpool2d", "reshape"] == kinds(passes.run(graph))
    streamed = passes.run(graph, passes.flow_for(streamed=True))
    assert ["dwconv2d", "conv2d", "maxpool2d"] == kinds(streamed)


@pytest.mark.parametrize(
    ("image", "op", "shape"),
    [
        ((6, 2, 4), DWConv2D(), (4, 3, 1)),
        ((6, 1, 4), DWConv2D(padding=(0, 0, 1, 1)), (4, 3, 3)),
        ((6, 1, 4), DWConv2D(padding=(0, 0, 0, 1)), (4, 3, 1)),
        ((1, 1, 4), DWConv2D(), (4, 1, 1)),
    ],
)
def test_other_images_stay(
    rng: np.random.Generator, image: tuple[int, int, int], op: DWConv2D, shape: tuple[int, ...]
) -> None:
    """Beside a column there must be nothing that a window could meet."""
    builder = GraphBuilder(rng)
    builder.input(s8(*image))
    y = builder.add(op, "x0", weights=random_weights(builder.rng, shape))

    assert ["dwconv2d"] == kinds(applied(lay_columns_down, builder.graph(y)))


def test_the_views_cost_no_memory(builder: GraphBuilder) -> None:
    """A residual sum of two turned layers reads their bytes where they are."""
    a = builder.add(Conv2D(), "x0", weights=random_weights(builder.rng, (4, 1, 1, 4)))
    b = builder.add(Conv2D(), "x0", weights=random_weights(builder.rng, (4, 1, 1, 4)))
    c = builder.add(Add(), a, b)
    graph = builder.graph(builder.add(MaxPool2D(kernel=(2, 1), stride=(2, 1)), c))

    turned, streamed = (
        plan(passes.run(graph, passes.flow_for(streamed=way)), target.load("host"))
        for way in (False, True)
    )

    assert turned.arena_bytes == streamed.arena_bytes
    assert len(turned.layers) == len(streamed.layers)
