# SPDX-License-Identifier: Apache-2.0
"""Trip counts that kernels share, against counting one by one."""

from dataclasses import replace

import numpy as np
import pytest

from codeq_compile.ops.base import make_requant
from codeq_compile.ops.trips import (
    FRACTION,
    MAX_LEFT,
    WeightRows,
    Windows,
    at_words,
    copies,
    dense_decoded,
    fills,
    helium_decoded,
    helium_sizes,
    portable_product,
    rectified_loads,
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

    assert 3 * 6 == product[f"chunks decoded, {packing}"]
    if packing == "bitmask":
        assert 3 * 6 * 3 == product["masks decoded"]  # sixteen bits each
    if packing == "dense":
        assert (3 * count, 0) == (3 * product["threes decoded, dense"], 45 % 3)
    else:
        assert 3 * count == product[f"{name} decoded, {packing}"]
        assert 3 * rows.stream_bytes == product[f"stream bytes decoded, {packing}"]
    assert 10 * count == product[f"{name} times pairs"]
    assert 20 * 6 == product["outputs"]


def test_bytes_that_are_weights_are_not_decoded(rng: np.random.Generator) -> None:
    """They are used where they lie in flash."""
    weights = random_weights(rng, (6, 45), bits=8)

    assert {} == WeightRows.of(pack(weights, "dense"), weights.values).decoded()


@pytest.mark.parametrize("packing", ["dense", "ternary"])
@pytest.mark.parametrize("length", [45, 300])
def test_rows_that_are_sought_begin_within_a_byte(
    rng: np.random.Generator, packing: str, length: int
) -> None:
    """A field before the first takes time, and so do up to four ternary weights."""
    weights = random_weights(rng, (7, length), bits=2)
    found = WeightRows.of(pack(weights, packing), weights.values).sought(256)
    starts = [row * length + at for row in range(7) for at in range(0, length, 256)]
    ahead = [start % (5 if packing == "ternary" else 4) for start in starts]

    which = ", ternary" if packing == "ternary" else ""
    assert len(starts) == found["rows read" + which]
    assert sum(map(bool, ahead)) == found["rows read within a byte" + which]
    if packing == "ternary":
        assert sum(ahead) == found["weights decoded, ternary"]


@pytest.mark.parametrize("bits", [1, 3, 5, 7])
def test_fields_behind_threes_are_taken_from_bytes(rng: np.random.Generator, bits: int) -> None:
    """A byte is read when its first bit is needed, and what is left of one is taken first."""
    starts, sizes = rng.integers(0, 100, 20), rng.integers(1, 30, 20)
    found = dense_decoded(bits, starts, sizes)
    bytes_read = within = 0
    for start, size in zip(starts.tolist(), sizes.tolist(), strict=True):
        at = (start + size - size % 3) * bits
        within += at % 8 > 0
        read = {bit // 8 for bit in range(at, (start + size) * bits)}
        bytes_read += len(read - ({at // 8} if at % 8 else set()))

    assert bytes_read == found["bytes decoded, dense"]
    assert within == found["ends within a byte decoded, dense"]
    assert sizes.sum() == 3 * found["threes decoded, dense"] + found["weights decoded, dense"]


def test_a_prefix_code_is_followed_from_its_start_where_nothing_marks_the_place(
    rng: np.random.Generator,
) -> None:
    """The rows of a group behind the first are found again in every pass but their first."""
    weights = random_weights(rng, (12, 30), bits=4)
    rows = WeightRows.of(pack(weights, "huffman"), weights.values)
    group = rows.group(2)

    assert 5 == rows.followed(rows.quads(), 30, passes=5)
    assert 5 + 4 * 6 / 6 == group.followed(group.quads(6), 30, passes=5)
    # three of four rows are followed to their ends for the rows behind them
    assert 1 + 3 / 4 * 20 / 30 == pytest.approx(rows.followed(rows.quads(), 10))


def test_rows_by_fours_overlap_where_all_are_filled(rng: np.random.Generator) -> None:
    """dsp kernels read four rows always, the last one again where there are fewer."""
    rows = rows_of(rng, "dense").group(1)

    assert [[3, 4, 5, 6], [7, 8]] == rows.quads(3)
    assert [[3, 4, 5, 6], [5, 6, 7, 8]] == rows.quads(3, fill=True)
    assert [[3, 4, 4, 4]] == rows.group(3).quads(3, fill=True)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_lists_of_places_are_counted(rng: np.random.Generator, bits: int) -> None:
    """As many as rows have blocks, with all weights that are not 0."""
    weights = random_weights(rng, (9, 300), bits=bits, zeros=0.8)
    found = WeightRows.of(pack(weights, "csr"), weights.values).decoded()
    of = "signs" if bits == 2 else "codes"

    assert 9 * (3 if bits == 2 else 2) == found[f"lists decoded, csr of {of}"]
    assert np.count_nonzero(weights.values) == found[f"nonzeros decoded, csr of {of}"]
    if bits > 2:
        fillers = (
            found["nonzeros of pairs decoded, csr of codes"]
            - found["nonzeros decoded, csr of codes"]
        )
        assert 0 <= fillers <= found["lists decoded, csr of codes"]


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


def test_channels_are_tried_up_to_the_first_that_cannot_be_rectified(
    rng: np.random.Generator,
) -> None:
    """What was loaded before it was loaded for nothing."""
    requant = requant_of(rng, channels=6)
    exponent = np.full(6, MAX_LEFT - FRACTION - 1, np.int8)
    exponent[2] += 1  # is shifted too far: the third of channels 0 to 3, the first of 2 to 5
    relu = replace(requant, exponent=exponent, zero_point=-128, clamp_min=-128)
    found = rectified_loads(relu, 6, 9)

    assert (3 + 1, 2 * 4) == (found["channels tried, rectifying"], found["channels unshifted"])


def test_outputs_are_in_windows_or_computed(rng: np.random.Generator) -> None:
    """Each is stored once, and few channels have no window."""
    requant = requant_of(rng, channels=8)
    many, few = windowed(requant, 0, 8, 10), windowed(requant, 0, 8, 3)

    (name,) = {"outputs stored, rectified", "outputs stored, in windows"} & set(many)
    assert ("outputs stored, rectified" == name) == (requant.clamp_min >= requant.zero_point)
    assert 8 * 10 == many[name] + many["outputs stored, computed"]
    assert 0 < many["outputs stored, left open"] < many[name]
    assert {"outputs stored, computed": 24} == few


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
    filled = gathered["memset, bytes ahead"] + gathered["memset, bytes"]
    assert inside * channels == 4 * gathered["memcpy, words"] + gathered["memcpy, bytes"]
    assert patches - inside * channels == 4 * gathered["memset, words"] + filled
    assert inside == windows.pooled(channels, lanes=4)["taps"]


@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize(("channels", "tile"), [(4, 1), (3, 1), (3, 4)])
def test_pieces_of_patches_are_copied_as_one_by_one(
    dilation: int, groups: int, channels: int, tile: int
) -> None:
    """What the pixels of a row are copied in, and which pieces lie at words at both ends."""
    (h, w), (kh, kw), pixel = (6, 5), (3, 2), channels * groups
    windows = Windows.of(s8(h, w, pixel), (kh, kw), (2, 1), (1, dilation), padding=(1, 1, 1, 1))
    oh, ow = windows.output
    pieces = []
    for group in range(groups):
        for index in range(oh * ow):
            to = index % tile * kh * kw * channels
            for ky in range(kh):
                y = index // ow * 2 - 1 + ky
                inside = [
                    0 <= y < h and 0 <= index % ow - 1 + kx * dilation < w for kx in range(kw)
                ]
                for kx in np.flatnonzero(inside):
                    at = (y * w + index % ow - 1 + kx * dilation) * pixel + group * channels
                    pieces.append((to + (ky * kw + kx) * channels, at, channels))
                    if dilation == groups == 1 and inside[kx - 1] and kx > 0:
                        (before, start, size), _ = pieces[-2:]
                        pieces[-2:] = [(before, start, size + channels)]
    found = windows.gathered(channels, pixel, tile)
    to, at, sizes = map(np.array, zip(*pieces, strict=True))

    assert copies(to, at, sizes).items() <= found.items()


@pytest.mark.parametrize("bits", [2, 3, 4])
@pytest.mark.parametrize("shape", [(6, 37), (130, 37), (5, 1100)])
def test_lanes_decode_what_fills_registers(
    rng: np.random.Generator, bits: int, shape: tuple[int, int]
) -> None:
    """All weights once, and few of them one by one."""
    weights = random_weights(rng, shape, bits=bits)
    found = helium_decoded(WeightRows.of(pack(weights, "dense"), weights.values))
    by_16 = found.get(f"turns decoded, dense of {bits} bits", 0)
    by_8 = found.get("turns decoded, dense of other bits", 0)
    left = 3 * found["threes decoded, dense"] + found["weights decoded, dense"]

    assert weights.codes.size == 16 * by_16 + 8 * by_8 + left
    assert left <= 15 * len(helium_sizes(WeightRows.of(pack(weights, "dense"), weights.values)))
    assert (by_16 > 0) == (bits != 3)


def test_ternary_lanes_decode_every_weight(rng: np.random.Generator) -> None:
    """A panel that begins within a byte takes what is left of that first."""
    weights = random_weights(rng, (130, 37), bits=2)
    found = helium_decoded(WeightRows.of(pack(weights, "ternary"), weights.values))

    # sixteen bytes a turn, of which the last may overlap those before
    met = 80 * found["turns decoded, ternary"] + found["weights decoded, ternary"]
    assert 130 * 37 <= met < 130 * 37 + 3 * 80
    # panels of 52 rows: one by one are the weights of bytes that two of them share
    assert 5 * sum(52 * 37 * panel % 5 > 0 for panel in (1, 2)) == found["weights decoded, ternary"]


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
    wide = windows.pooled_in_runs(12, most=windows.taps, unrolled=(2, 3))
    narrow = windows.pooled_in_runs(3, most=windows.taps)
    large = windows.pooled_in_runs(12, most=1)
    alone = windows.pooled_in_runs(12, most=0)
    in_rows = 2 * wide["rows of 2 taps"] + 3 * wide["rows of 3 taps"]
    met = wide["windows"] + wide["windows of 2 columns"] + wide["windows of 3 columns"]

    assert (runs, 2 * runs, 2 * windows.pixels) == (wide["runs"], wide["blocks"], met)
    assert 2 * windows.taps_inside == wide["taps"] + in_rows
    assert (0, 3 * windows.taps_inside) == (narrow["windows"], narrow["taps alone"])
    assert (0, 16 * windows.taps_inside) == (large["windows"], large["taps alone"])
    assert (0, 12 * windows.taps_inside) == (alone["windows"], alone["taps alone"])
    assert (0, 12 * runs) == (alone["blocks"], alone["channels alone"])


def test_copies_are_of_words_where_both_ends_stand_at_one() -> None:
    """What is left, and everything else, goes byte by byte."""
    found = copies(np.array([0, 4, 8]), np.array([0, 1, 4]), np.array([9, 8, 3]))

    assert {"copies": 3, "copies of words": 2, "memcpy, words": 2, "memcpy, bytes": 12} == found


def test_fills_reach_a_word_first() -> None:
    """memset needs one end only."""
    found = fills(np.array([0, 3, 3]), np.array([8, 9, 4]))

    assert (3, 2, 4) == (found["fills"], found["fills of words"], found["memset, words"])
    assert (2, 3) == (found["memset, bytes ahead"], found["memset, bytes"])


def test_a_walk_copies_rows_or_elements() -> None:
    """WeightRows in one piece are copied, others are read one by one."""
    rows = walked((2, 3, 8), (100, 16, 1))

    assert (6, 12) == (rows["copies"], rows["memcpy, words"])
    assert {"loops": 2, "rows": 6, "elements": 48} == walked((2, 3, 8), (1, 2, 6))
