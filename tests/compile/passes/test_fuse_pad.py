# SPDX-License-Identifier: Apache-2.0
"""Borders of zeros before convolutions."""

import numpy as np
import pytest

from codeq_compile.ops.conv2d import Conv2D
from codeq_compile.ops.dwconv2d import DWConv2D
from codeq_compile.ops.maxpool2d import MaxPool2D
from codeq_compile.ops.pad import Pad
from codeq_compile.passes.fuse_pad import fuse_pad
from tests.compile.passes.equality import applied, kinds
from tests.graphs import random_weights, s8
from tests.strategies import GraphBuilder

BORDER = Pad(before=(1, 2, 0), after=(3, 4, 0))


@pytest.fixture
def builder(rng: np.random.Generator) -> GraphBuilder:
    """An input of 5 x 4 x 2."""
    builder = GraphBuilder(rng)
    builder.input(s8(5, 4, 2))
    return builder


def conv2d(builder: GraphBuilder, source: str) -> str:
    op = Conv2D(padding=(1, 0, 0, 1))
    return builder.add(op, source, weights=random_weights(builder.rng, (3, 2, 2, 2)))


def test_each_side_becomes_the_padding_of_that_side(builder: GraphBuilder) -> None:
    """A swapped side shifts the whole image."""
    y = conv2d(builder, builder.add(BORDER, "x0"))
    graph = applied(fuse_pad, builder.graph(y))

    assert ["conv2d"] == kinds(graph)
    assert Conv2D(padding=(1 + 1, 0 + 3, 0 + 2, 1 + 4)) == graph.nodes[0].op


def test_depthwise_convolutions_pad_themselves_too(builder: GraphBuilder) -> None:
    """MobileNet is full of them."""
    layer = random_weights(builder.rng, (2, 3, 3))
    y = builder.add(DWConv2D(stride=(2, 2)), builder.add(BORDER, "x0"), weights=layer)

    assert ["dwconv2d"] == kinds(applied(fuse_pad, builder.graph(y)))


def test_borders_around_borders_are_absorbed_together(builder: GraphBuilder) -> None:
    """'same' padding of a stride-2 layer is often exported as two pads."""
    pads = builder.add(Pad(after=(1, 1, 0)), builder.add(BORDER, "x0"))

    assert ["conv2d"] == kinds(applied(fuse_pad, builder.graph(conv2d(builder, pads))))


def test_the_zero_point_written_out_is_a_zero_too(builder: GraphBuilder) -> None:
    """s8 of tests has the zero point -3."""
    y = conv2d(builder, builder.add(Pad(before=(1, 1, 0), value=-3), "x0"))

    assert ["conv2d"] == kinds(applied(fuse_pad, builder.graph(y)))


@pytest.mark.parametrize(
    "pad",
    [Pad(before=(1, 1, 0), value=0), Pad(before=(0, 0, 1)), Pad(after=(0, 0, 1))],
    ids=["another value", "channels before", "channels after"],
)
def test_what_a_convolution_cannot_pad_stays(builder: GraphBuilder, pad: Pad) -> None:
    """A convolution pads with real zeros, above, below, left and right."""
    padded = builder.add(pad, "x0")
    channels = builder.tensors[padded].shape[2]
    layer = random_weights(builder.rng, (3, 2, 2, channels))
    graph = applied(fuse_pad, builder.graph(builder.add(Conv2D(), padded, weights=layer)))

    assert ["pad", "conv2d"] == kinds(graph)


def test_other_readers_keep_the_pad(builder: GraphBuilder) -> None:
    """A pooling layer pads with something else."""
    padded = builder.add(BORDER, "x0")
    pool = builder.add(MaxPool2D(kernel=(2, 2), stride=(2, 2)), padded)
    graph = applied(fuse_pad, builder.graph(pool, conv2d(builder, padded)))

    assert ["pad", "maxpool2d", "conv2d"] == kinds(graph)
    assert ("x0",) == graph.nodes[2].inputs


def test_a_padded_output_stays_an_output(builder: GraphBuilder) -> None:
    """The caller asked for it."""
    padded = builder.add(BORDER, "x0")

    assert ["pad", "conv2d"] == kinds(
        applied(fuse_pad, builder.graph(padded, conv2d(builder, padded)))
    )
