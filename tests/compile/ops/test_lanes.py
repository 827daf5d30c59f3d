# SPDX-License-Identifier: Apache-2.0
"""How sparse convolutions are cut: room for every row, and never more scratch than was allowed."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeq_compile.numerics import Int8Array
from codeq_compile.ops.bounds import lane_segments
from codeq_compile.ops.lanes import (
    GROUP,
    LANE_BUDGET,
    LANES,
    Geometry,
    best_cut,
    cuts,
    list_sizes,
    lists_twos,
    magnitudes,
)


def geometry(
    kernel: tuple[int, int] = (3, 3),
    stride: tuple[int, int] = (1, 1),
    dilation: tuple[int, int] = (1, 1),
    channels: int = 16,
    output: tuple[int, int] = (32, 32),
) -> Geometry:
    return Geometry(
        kernel=kernel,
        stride=stride,
        dilation=dilation,
        channels=channels,
        output=output,
        is_flat=kernel == stride == (1, 1),
    )


def sparse(rng: np.random.Generator, shape: tuple[int, ...], zeros: float = 0.8) -> Int8Array:
    values = rng.integers(-7, 8, shape)
    values[rng.random(shape) < zeros] = 0
    return values.astype(np.int8)


@pytest.mark.parametrize(
    ("kernel", "stride", "dilation"),
    list(itertools.product([(1, 1), (3, 3), (1, 5)], [(1, 1), (2, 2), (3, 1)], [(1, 1), (2, 3)])),
)
def test_a_strip_has_a_word_for_every_input_that_its_outputs_meet(kernel, stride, dilation) -> None:
    """A word too few is read from what lies behind the strip."""
    cut = geometry(kernel, stride, dilation, channels=1)
    for rows, columns in [(1, 4), (1, 8), (3, 4), (2, 12)]:
        met = {
            (row * stride[0] + ky * dilation[0], column * stride[1] + kx * dilation[1])
            for row, column in np.ndindex(rows, columns)
            for ky, kx in np.ndindex(kernel)
        }

        # several rows of outputs share the rows between, whether or not they meet all of them
        assert len(met) <= cut.strip_words((rows, columns))
        between = (max(y for y, _ in met) + 1) * (max(x for _, x in met) + stride[1])
        assert cut.strip_words((rows, columns)) <= between


@given(h=st.integers(1, 40), w=st.integers(1, 40), flat=st.booleans())
def test_the_four_parts_cover_the_output(h: int, w: int, flat: bool) -> None:
    """A pixel in no part would never be computed."""
    kernel = (1, 1) if flat else (3, 3)
    rows, columns = geometry(kernel, output=(h, w)).words

    height, width = (1, h * w) if flat else (h, w)
    assert (LANES * rows >= height and columns == width) or (
        rows == height and LANES * columns >= width
    )
    # and no cut of one axis has fewer groups
    groups = rows * -(-columns // GROUP)
    assert groups <= -(-height // LANES) * -(-width // GROUP)
    assert groups <= height * -(-width // (LANES * GROUP))


@given(
    row=st.lists(st.integers(-128, 127), min_size=1, max_size=400),
    unit=st.sampled_from([1, 3]),
)
def test_lists_have_room_for_the_segments_of_any_row(row: list[int], unit: int) -> None:
    """The kernel cuts rows as it meets them: the bound must hold for every order of weights."""
    weights = np.array([row], np.int8)
    counted = magnitudes(weights, unit)
    ((ones, twos, others),) = list_sizes(counted)

    segments = max(
        1, len(lane_segments((counted[0] * (counted[0] <= LANE_BUDGET)).astype(np.int16)))
    )
    assert (counted == 1).sum() + 2 * segments <= ones
    least = 3 if lists_twos(counted) else 2
    assert twos == 0 if least == 2 else (counted == 2).sum() + 2 * segments <= twos
    assert 2 * (counted >= least).sum() + 3 * segments <= others


@pytest.mark.parametrize("stride", [1, 2, 4])
@pytest.mark.parametrize("dilation", [1, 2, 3])
def test_a_row_of_inputs_is_gathered_once_where_strips_lie_below_each_other(stride, dilation):
    """What the strip above has is moved instead, which costs a fifth."""
    layer = geometry((3, 3), (stride, 1), (dilation, 1), channels=4, output=(40, 8))
    for size in layer.sizes():
        gathered, moved = layer.gathers(size)
        rows = layer.words[0]
        met = {
            first * stride + slot * (dilation if size[0] == 1 else 1)
            for first in range(0, rows, size[0])
            for slot in range(layer.slots(size[0]))
        }
        is_aligned = size[0] > 1 or stride % dilation == 0

        assert gathered + moved == layer.strips(size) * layer.slots(size[0])
        if layer.across(size) > 1 or not is_aligned:
            assert 0 == moved
        else:
            assert len(met) == gathered


def test_the_largest_sum_of_a_lane_is_not_split() -> None:
    """One segment more costs a convolution half of its speed."""
    for total, expected in ((LANE_BUDGET, False), (LANE_BUDGET + 1, True)):
        weights = np.ones((1, 1, 1, total), np.int8)
        cut = best_cut(geometry((1, 1), channels=total), weights, groups=1, unit=1, limit=1 << 16)

        assert cut is not None
        assert expected == cut.is_split


def test_more_room_is_never_slower_and_is_used_only_where_it_pays(rng) -> None:
    """The planner offers what the arena has left."""
    weights = sparse(rng, (32, 3, 3, 16))
    previous = 0
    sizes = []
    for limit in (0, 2000, 4000, 8000, 1 << 16):
        cut = best_cut(geometry(), weights, groups=1, unit=1, limit=limit)
        assert cut is not None
        assert cut.scratch_bytes >= previous
        assert cut.scratch_bytes <= limit or limit == 0
        previous = cut.scratch_bytes
        sizes.append(cut.scratch_bytes)

    assert sizes[0] == min(cut.scratch_bytes for cut in cuts(geometry(), magnitudes(weights, 1), 1))
    assert sizes[-1] < 1 << 15  # not all that was offered


def test_a_row_that_no_offset_reaches_across_is_not_cut(rng) -> None:
    """Entries of the lists have 16 bits. [conv2d-C7]"""
    weights = sparse(rng, (1, 3, 3, 1000))

    assert best_cut(geometry(channels=1000), weights, groups=1, unit=1, limit=1 << 20) is None
    assert best_cut(geometry(channels=900), weights[..., :900], groups=1, unit=1, limit=0)


def test_the_lists_of_a_group_are_kept_for_that_group_only(rng) -> None:
    """Groups follow each other in the stream, and their lists in the same room."""
    weights = sparse(rng, (8, 3, 3, 4))
    grouped = {cut.kept for cut in cuts(geometry(channels=4), magnitudes(weights, 1), 4)}

    assert {1, 2} == grouped
