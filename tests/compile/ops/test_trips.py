# SPDX-License-Identifier: Apache-2.0
"""Trip counts that kernels share, against counting one by one."""

import numpy as np
import pytest

from codeq_compile.ops.base import make_requant
from codeq_compile.ops.trips import (
    WeightRows,
    Windows,
    at_words,
    copies,
    fills,
    portable_product,
    short_quads,
    swar_product,
    tiles,
    total,
    walked,
    windowed,
)
from codeq_compile.packing import pack
from tests.graphs import random_weights, s8


def rows_of(rng: np.random.Generator, packing: str, **options: float) -> WeightRows:
    weights = random_weights(rng, (6, 3, 3, 5), bits=4, **options)
    return WeightRows.of(pack(weights, packing), weights.values)


def requant_of(rng: np.random.Generator, channels: int = 6):
    weights = random_weights(rng, (channels, 45), bits=8)
    return make_requant(
        weights=weights,
        bias=None,
        input_type=s8(1),
        output_type=s8(1, scale=0.9),
        clamp=(-128, 127),
        multiplier_bits=31,
    )


def test_sums_are_by_name() -> None:
    """A loop that two parts of a kernel share is counted for both."""
    assert {"a": 3, "b": 2, "c": 1} == total({"a": 1, "b": 2}, {"a": 2, "c": 1})


@pytest.mark.parametrize(("vectors", "tile"), [(1, 8), (8, 8), (9, 8), (23, 5)])
def test_tiles_hold_all_vectors(vectors: int, tile: int) -> None:
    """The last one may be cut short."""
    found = tiles(vectors, tile)

    assert vectors == sum(count * size for count, size in found)
    assert all(0 < size <= tile for _, size in found)


@pytest.mark.parametrize("packing", ["dense", "bitmask", "rle"])
def test_a_stream_is_decoded_once_a_tile(rng: np.random.Generator, packing: str) -> None:
    """Sparse packings decode what is not zero, dense ones every weight."""
    rows = rows_of(rng, packing, zeros=0.6)
    product = portable_product(rows, tiles(20, 8), requant_of(rng))
    name, count = ("nonzeros", rows.nonzeros) if packing != "dense" else ("weights", 6 * 45)

    assert 3 * count == product[f"{name} decoded, {packing}"]
    assert 3 * rows.stream_bytes == product[f"stream bytes decoded, {packing}"]
    assert 10 * count == product[f"{name} times pairs"]
    assert 20 * 6 == product["outputs"]


def test_bytes_that_are_weights_are_not_decoded(rng: np.random.Generator) -> None:
    """They are used where they lie in flash."""
    weights = random_weights(rng, (6, 45), bits=8)

    assert {} == WeightRows.of(pack(weights, "dense"), weights.values).decoded()


def test_runs_without_a_weight_are_counted(rng: np.random.Generator) -> None:
    """A run that is longer than its field takes another record, and its time."""
    weights = random_weights(rng, (4, 400), bits=8, zeros=0.99)
    packed = pack(weights, "rle")
    rows = WeightRows.of(packed, weights.values)
    records = rows.decoded()["nonzeros and runs without one"]
    gaps = np.diff(np.flatnonzero(weights.values.ravel() != 0), prepend=-1) - 1
    expected = (gaps // ((1 << packed.run_bits) - 1) + 1).sum()

    # what the filling of the last byte and zeros behind the last weight take is little
    assert expected <= records <= expected + 20 / packed.run_bits + 400


def test_the_last_four_channels_overlap_those_before(rng: np.random.Generator) -> None:
    """dsp kernels compute some channels twice instead of fewer than four."""
    requant = requant_of(rng, channels=6)

    assert (requant.exponent <= -2).all()
    assert 2 == short_quads(requant, 0, 6)
    assert 0 == short_quads(requant, 0, 3)


def test_outputs_are_in_windows_or_computed(rng: np.random.Generator) -> None:
    """Each is stored once, and few channels have no window."""
    requant = requant_of(rng, channels=8)
    many, few = windowed(requant, 0, 8, 10), windowed(requant, 0, 8, 3)

    assert 8 * 10 == many["outputs in windows"] + many["outputs computed"]
    assert 0 < many["outputs left open"] < many["outputs in windows"]
    assert {"outputs computed": 24} == few


@pytest.mark.parametrize("step", [1, 2, 3, 4, 6, 8, 12])
def test_the_share_of_places_at_words(step: int) -> None:
    """A row whose length is no multiple of a word begins at one now and then."""
    places = step * np.arange(12)

    assert (places % 4 == 0).mean() == at_words(step)


def test_a_swar_product_meets_every_weight_of_a_piece(rng: np.random.Generator) -> None:
    """Steps are of eight inputs, and the last is filled up."""
    rows = rows_of(rng, "dense")
    product = swar_product(rows, tiles(9, 4), requant_of(rng))

    assert 9 * 2 * 6 == product["steps"]  # vectors, quads, ceil(45 / 8)
    assert 3 * 6 * 11 == product["words cached"]  # tiles, rows, 45 / 4


@pytest.mark.parametrize("stride", [(1, 1), (2, 1), (2, 3)])
@pytest.mark.parametrize("padding", [(0, 0, 0, 0), (1, 1, 1, 1), (2, 0, 1, 3)])
def test_windows_are_counted_as_one_by_one(
    stride: tuple[int, int], padding: tuple[int, int, int, int]
) -> None:
    """Taps in the image, windows that leave it, bytes that are copied and filled."""
    size, kernel, channels = (7, 5), (3, 2), 4
    windows = Windows.of(s8(*size, channels), kernel, stride, padding=padding)
    inside, whole = 0, 0
    for oy in range(windows.output[0]):
        for ox in range(windows.output[1]):
            taps = [
                0 <= oy * stride[0] - padding[0] + ky < size[0]
                and 0 <= ox * stride[1] - padding[2] + kx < size[1]
                for ky in range(kernel[0])
                for kx in range(kernel[1])
            ]
            inside += sum(taps)
            whole += all(taps)
    gathered = windows.gathered(channels, channels)
    patches = windows.pixels * 6 * channels

    assert (inside, whole) == (windows.taps_inside, windows.whole)
    assert windows.pixels - whole == gathered["patches at borders"]
    assert inside * channels == 4 * gathered["words copied"] + gathered["bytes copied"]
    assert patches - inside * channels == gathered["bytes filled"]
    assert inside == windows.pooled(channels, lanes=4)["taps"]


@pytest.mark.parametrize(
    ("size", "padding", "runs"),
    [((7, 7), (0, 0, 0, 0), 3), ((7, 6), (1, 1, 1, 1), 4 * 3), ((9, 2), (1, 1, 0, 0), 3)],
    ids=["whole", "at-borders", "series"],
)
def test_pooled_windows_form_runs(
    size: tuple[int, int], padding: tuple[int, int, int, int], runs: int
) -> None:
    """Whole windows side by side are one call: beneath each other where they are one column."""
    windows = Windows.of(s8(*size, 1), (3, 2), (2, 2), padding=padding)
    wide = windows.pooled_in_runs(12, most=windows.taps)
    narrow = windows.pooled_in_runs(3, most=windows.taps)
    large = windows.pooled_in_runs(12, most=1)
    alone = windows.pooled_in_runs(12, most=0)
    in_rows = 2 * wide["rows of two taps"] + 3 * wide["rows of three taps"]

    assert (runs, 2 * runs, 2 * windows.pixels) == (wide["runs"], wide["blocks"], wide["windows"])
    assert 2 * windows.taps_inside == wide["taps"] + in_rows
    assert (0, 3 * windows.taps_inside) == (narrow["windows"], narrow["taps alone"])
    assert (0, 16 * windows.taps_inside) == (large["windows"], large["taps alone"])
    assert (0, 12 * windows.taps_inside) == (alone["windows"], alone["taps alone"])
    assert (0, 12 * runs) == (alone["blocks"], alone["channels alone"])


def test_copies_are_of_words_where_both_ends_stand_at_one() -> None:
    """What is left, and everything else, goes byte by byte."""
    found = copies(np.array([0, 4, 8]), np.array([0, 1, 4]), np.array([9, 8, 3]))

    assert {"copies": 3, "copies of words": 2, "words copied": 2, "bytes copied": 12} == found


def test_fills_reach_a_word_first() -> None:
    """memset needs one end only."""
    found = fills(np.array([0, 3]), np.array([8, 9]))

    assert {"fills": 2, "words filled": 4, "bytes filled": 1} == found


def test_a_walk_copies_rows_or_elements() -> None:
    """WeightRows in one piece are copied, others are read one by one."""
    rows = walked((2, 3, 8), (100, 16, 1))

    assert (6, 12) == (rows["copies"], rows["words copied"])
    assert {"rows": 6, "elements": 48} == walked((2, 3, 8), (1, 2, 6))
