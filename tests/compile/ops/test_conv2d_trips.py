# SPDX-License-Identifier: Apache-2.0
"""Trip counts of convolutions: what is computed is the layer, whatever the kernel."""

import math
from dataclasses import replace

import numpy as np
import pytest

from codeq_compile import cost, passes, target
from codeq_compile.ops.conv2d import Conv2D
from codeq_compile.ops.conv2d_trips import _Runs, _segments
from codeq_compile.ops.lanes import LANE_BUDGET, RUN, Geometry
from codeq_compile.plan import plan
from tests.graphs import one_op_graph, random_weights, s8


def trips(op: Conv2D, image: tuple[int, ...], weights: object, board: str, packing: str):
    graph = passes.run(one_op_graph(op, [s8(*image)], weights=weights))
    decided = plan(graph, target.load(board), packing, ram=1 << 20)  # no kernel for less RAM
    (layer,) = decided.layers
    types = decided.graph.input_types(layer.node), decided.graph.output_type(layer.node)
    return layer, cost.trips(layer.node, *types, layer.packed, layer.kernel)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("groups", [1, 2])
def test_dsp_steps_are_the_taps_inside(rng: np.random.Generator, stride: int, groups: int) -> None:
    """Read from the image no step is spent on padding; gathered patches hold all taps."""
    op = Conv2D(stride=(stride, stride), padding=(1, 1, 1, 1), groups=groups)
    channels = 8 if groups == 1 else 6
    weights = random_weights(rng, (10, 3, 3, channels))
    layer, found = trips(op, (9, 8, groups * channels), weights, "mps2_an386", "dense")
    oh, ow = layer.node.params.output
    inside = sum(
        0 <= y * stride + ky - 1 < 9 and 0 <= x * stride + kx - 1 < 8
        for y in range(oh)
        for x in range(ow)
        for ky in range(3)
        for kx in range(3)
    )

    # three quads of channels, or two a group; a step is eight inputs, 9 x 6 of which take seven
    assert found["steps"] == (3 * inside if groups == 1 else 4 * oh * ow * 7)


@pytest.mark.parametrize("dilation", [1, 2])
def test_dsp_pieces_hold_the_taps_inside(rng: np.random.Generator, dilation: int) -> None:
    """Rows of pixels side by side are one piece; whatever is outside is padding of whole words."""
    op = Conv2D(stride=(2, 1), padding=(1, 1, 2, 1), dilation=(2, dilation))
    weights = random_weights(rng, (10, 3, 3, 3))
    layer, found = trips(op, (9, 8, 3), weights, "mps2_an386", "dense")
    oh, ow = layer.node.params.output
    rows = [sum(0 <= 2 * y + 2 * k - 1 < 9 for k in range(3)) for y in range(oh)]
    columns = [sum(0 <= x + dilation * k - 2 < 8 for k in range(3)) for x in range(ow)]
    border = sum(r < 3 or c < 3 for r in rows for c in columns)

    assert found["pieces"] == sum(rows) * (len(columns) if dilation == 1 else sum(columns))
    assert found["words of padding"] == border * 8
    # a piece of three or more bytes is copied in words that overlap
    alone = [3 * c for c in columns if 3 * c < 4] if dilation == 1 else [3] * sum(columns)
    assert found["bytes copied"] == sum(rows) * sum(alone) if alone else "bytes copied" not in found


@pytest.mark.parametrize("image", [(9, 8, 8), (4, 4, 3), (1, 30, 5)])
@pytest.mark.parametrize("kernel", [(1, 1), (3, 3)])
def test_sparse_kernels_store_every_output(
    rng: np.random.Generator, image: tuple[int, ...], kernel: tuple[int, int]
) -> None:
    """A word at a time, in one of three forms; and each weight is added once a group."""
    op = Conv2D(padding=(kernel[0] // 2,) * 4)
    weights = random_weights(rng, (12, *kernel, image[2]), bits=4, zeros=0.7)
    layer, found = trips(op, image, weights, "mps2_an386", "rle")
    pixels = math.prod(layer.node.params.output)
    words = found.get("words rectified", 0) + found.get("words short", 0)
    outputs = 12 * pixels - found.get("outputs slow", 0)

    assert "conv2d_sparse" == layer.kernel.family
    assert outputs <= 4 * words < outputs + 12 * 4 * max(layer.node.params.output)
    added = found.get("nonzeros added", 0) + found.get("nonzeros multiplied", 0)
    assert np.count_nonzero(weights.values) * found["groups"] / 12 == added


@pytest.mark.parametrize("output", [(1, 4), (4, 1), (5, 7), (8, 8), (3, 17), (25, 5), (2, 150)])
def test_pixels_of_a_channel_are_stored_once(output: tuple[int, int]) -> None:
    """However the image is cut into strips, and parts that are cut short have fewer pixels."""
    geometry = Geometry(
        kernel=(3, 3), stride=(1, 1), dilation=(1, 1), channels=2, output=output, is_flat=False
    )
    for size in geometry.sizes():
        runs = _Runs.of(geometry, size)

        assert math.prod(output) == runs.widths.sum()
        assert math.prod(geometry.words) == runs.words
        assert runs.widths.max() <= RUN
        assert (np.diff(runs.widths, axis=1) <= 0).all(), "the kernel drops the last parts first"
        assert runs.met_anew <= runs.cut <= len(runs.widths)


def test_a_place_is_found_again_where_another_has_been_met() -> None:
    """The kernel remembers one: two at a time in a strip are computed anew for every channel."""
    # parts of 4 rows, of which the last has 3 or 2
    geometry = Geometry(
        kernel=(3, 3), stride=(1, 1), dilation=(1, 1), channels=2, output=(15, 8), is_flat=False
    )
    for size, rows, cut, met_anew in (((1, 8), 15, 1, 0), ((1, 8), 14, 2, 0), ((4, 8), 14, 2, 2)):
        runs = _Runs.of(replace(geometry, output=(rows, 8)), size)

        assert (cut, met_anew) == (runs.cut, runs.met_anew)


@pytest.mark.parametrize("pixels", [7, 9, 11, 36])
def test_a_small_image_is_used_as_it_is_read(rng: np.random.Generator, pixels: int) -> None:
    """Twelve pixels at a time; parts overlap rather than leave lanes empty."""
    weights = random_weights(rng, (12, 1, 1, 40), bits=4, zeros=0.8)
    _, found = trips(Conv2D(), (1, pixels, 40), weights, "mps2_an386", "gap")
    columns = -(-pixels // 4)
    outputs = 4 * (found.get("words rectified", 0) + found.get("words short", 0))

    assert found["gaps direct"] >= np.count_nonzero(weights.values) * -(-columns // 3)
    assert found["twelves direct"] == 12 * -(-columns // 3)
    assert 12 * pixels <= outputs <= 12 * 4 * columns


def test_a_row_is_cut_where_a_lane_would_overflow() -> None:
    """As the kernel cuts it: each segment is as long as it can be."""
    assert 1 == _segments(np.array([LANE_BUDGET]))
    assert 2 == _segments(np.array([LANE_BUDGET, 0, 1]))
    assert 3 == _segments(np.array([100, 100, 100, 100, 100, 100]))


@pytest.mark.parametrize("board", ["microbit", "mps3_an547"])
@pytest.mark.parametrize("groups", [1, 2])
def test_groups_are_convolutions_of_their_own(
    rng: np.random.Generator, board: str, groups: int
) -> None:
    """Together they decode the stream as often as one of all channels would."""
    weights = random_weights(rng, (8, 3, 3, 4), bits=4)
    _, found = trips(Conv2D(groups=groups), (5, 5, 4 * groups), weights, board, "dense")

    at_once = {
        "weights decoded, dense": 1,
        "threes decoded, dense": 3,
        "turns decoded, dense of 4 bits": 16,
    }
    decoded = sum(count * found.get(name, 0) for name, count in at_once.items())

    assert decoded > 0
    assert 0 == decoded % weights.codes.size
