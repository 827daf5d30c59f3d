# SPDX-License-Identifier: Apache-2.0
"""Trip counts of depthwise convolutions: what is computed is the layer, whatever the kernel."""

import math

import numpy as np
import pytest

from codeq_compile import cost, passes, target
from codeq_compile.ops.dwconv2d import DWConv2D
from codeq_compile.plan import plan
from tests.graphs import one_op_graph, random_weights, s8

SHAPES = [(9, 8, 16), (5, 5, 10), (1, 7, 4), (12, 3, 24)]


def trips(board: str, op: DWConv2D, image: tuple[int, ...], weights: object):
    graph = passes.run(one_op_graph(op, [s8(*image)], weights=weights))
    decided = plan(graph, target.load(board), "dense", ram=1 << 20)  # no kernel for less RAM
    (layer,) = decided.layers
    types = decided.graph.input_types(layer.node), decided.graph.output_type(layer.node)
    found = cost.trips(layer.node, *types, layer.packed, layer.kernel)
    return layer.kernel, math.prod(types[1].shape[:2]), found


@pytest.mark.parametrize("image", SHAPES)
@pytest.mark.parametrize("stride", [1, 2])
def test_bands_store_every_output_of_their_channels(
    rng: np.random.Generator, image: tuple[int, ...], stride: int
) -> None:
    """Four channels at a time, the last of which overlap those before; then what is left over."""
    op = DWConv2D(stride=(stride, stride), padding=(1, 1, 1, 1))
    weights = random_weights(rng, (image[2], 3, 3))
    kernel, pixels, found = trips("mps2_an386", op, image, weights)
    stored = sum(times for name, times in found.items() if name.startswith("outputs "))
    channels = 4 * -(-image[2] // 4)

    assert "dwconv2d_3x3" == kernel.family
    # a single output at the end of a row is stored twice
    singles = stored + found.get("slow outputs", 0) - channels * pixels
    assert 0 <= singles <= channels * max(image[:2])


@pytest.mark.parametrize("image", SHAPES)
@pytest.mark.parametrize("kernel", [(3, 3), (5, 1)])
def test_swar_sums_every_output(
    rng: np.random.Generator, image: tuple[int, ...], kernel: tuple[int, int]
) -> None:
    """Windows of 3x3 four at a time as long as there are three, others one by one."""
    op = DWConv2D(padding=(kernel[0] // 2,) * 2 + (kernel[1] // 2,) * 2)
    weights = random_weights(rng, (image[2], *kernel))
    _, pixels, found = trips("microbit", op, image, weights)
    spare = found.get("fours of stride 1", 0)
    sums = found.get("sums", 0) + found.get("singles", 0) + 4 * spare

    # four windows are summed where three are wanted: one sum of the four may be to spare
    assert image[2] * pixels <= sums <= image[2] * pixels + spare


@pytest.mark.parametrize("image", SHAPES)
def test_helium_vectors_hold_every_output(rng: np.random.Generator, image: tuple[int, ...]) -> None:
    """Sixteen lanes of channels, or of pixels where the channels are few."""
    op = DWConv2D(padding=(1, 1, 1, 1))
    _, pixels, found = trips("mps3_an547", op, image, random_weights(rng, (image[2], 3, 3)))
    vectors = found.get("vectors of 3x3", 0) + found.get("vectors rounding up", 0)

    assert image[2] * pixels <= 16 * vectors
    assert -(-image[2] // 16) == found["blocks"]


@pytest.mark.parametrize("image", SHAPES)
def test_the_portable_kernel_meets_every_tap(
    rng: np.random.Generator, image: tuple[int, ...]
) -> None:
    """Inside, at a border, or in a row above or below the image."""
    op = DWConv2D(padding=(1, 1, 1, 1))
    _, pixels, found = trips("host", op, image, random_weights(rng, (image[2], 3, 3)))
    taps = sum(found.get(f"taps {where}", 0) for where in ("inside", "at borders", "outside"))

    assert 9 * image[2] * pixels == taps
