# SPDX-License-Identifier: Apache-2.0
"""Depthwise convolutions whose input has one channel."""

import numpy as np
import pytest

from codeq_compile import passes
from codeq_compile.ops.conv2d import Conv2D
from codeq_compile.ops.dwconv2d import DWConv2D
from codeq_compile.passes.widen_depthwise import widen_depthwise
from tests.compile.passes.equality import applied, kinds
from tests.graphs import random_weights, s8
from tests.strategies import GraphBuilder


@pytest.mark.parametrize("filters", [4, 9])
def test_filters_of_one_channel_are_a_convolution(rng: np.random.Generator, filters: int) -> None:
    """The first layer of a keyword spotter: its depthwise kernel takes seven times as long."""
    builder = GraphBuilder(rng)
    builder.input(s8(9, 7, 1))
    shape = {"stride": (2, 1), "dilation": (1, 2), "padding": (1, 0, 2, 1), "clamp": (-100, 90)}
    layer = random_weights(builder.rng, (filters, 4, 3))
    y = builder.add(DWConv2D(**shape, multiplier_bits=13), "x0", weights=layer)

    graph = applied(widen_depthwise, builder.graph(y))

    assert Conv2D(**shape, multiplier_bits=13) == graph.nodes[0].op


@pytest.mark.parametrize(("channels", "filters"), [(2, 4), (1, 3)])
def test_others_stay(rng: np.random.Generator, channels: int, filters: int) -> None:
    """Filters of a channel each would be mostly zeros, and three would cost as much as four."""
    builder = GraphBuilder(rng)
    builder.input(s8(5, 4, channels))
    y = builder.add(DWConv2D(), "x0", weights=random_weights(builder.rng, (filters, 3, 3)))

    assert ["dwconv2d"] == kinds(applied(widen_depthwise, builder.graph(y)))


def test_what_dead_channels_leave_is_looked_at(rng: np.random.Generator) -> None:
    """Pruning a depthwise layer down to one channel makes it such a layer."""
    builder = GraphBuilder(rng)
    builder.input(s8(5, 4, 2))
    first = random_weights(builder.rng, (2, 1, 1, 2))
    first.codes[1] = 0
    y = builder.add(Conv2D(), "x0", weights=first, bias=np.zeros(2, np.int32))
    y = builder.add(DWConv2D(), y, weights=random_weights(builder.rng, (8, 3, 3)))
    last = random_weights(builder.rng, (3, 1, 1, 8))
    y = builder.add(Conv2D(), y, weights=last)

    assert ["conv2d"] * 3 == kinds(passes.run(builder.graph(y)))
