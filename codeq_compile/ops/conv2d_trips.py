# SPDX-License-Identifier: Apache-2.0
"""Trip counts of the convolution kernels: one function a loop nest of runtime_c/src/conv2d*."""

import math
from dataclasses import dataclass
from itertools import product

import numpy as np

from codeq_compile.ir.op import Array
from codeq_compile.numerics import INT32_MAX, Int8Array
from codeq_compile.ops import swar
from codeq_compile.ops.base import CHUNK, ROW_CACHE, Pair, Requant
from codeq_compile.ops.lanes import (
    DIRECT,
    GROUP,
    LANE_BUDGET,
    LANES,
    RUN,
    Cut,
    Geometry,
    lists_twos,
    magnitudes,
)
from codeq_compile.ops.trips import (
    FRACTION,
    QUAD,
    STEP,
    WORD,
    Trips,
    WeightRows,
    Windows,
    cached_rows,
    ceil,
    clamped,
    factors,
    helium_decoded,
    helium_needs_chunks,
    helium_panels,
    helium_product,
    helium_rows,
    loaded,
    portable_product,
    rectified_loads,
    rectified_quads,
    short_quads,
    slow_quads,
    swar_product,
    tiles,
    times,
    total,
    widened,
)

STEM_STEP = 5
"""Pairs of inputs of a loop step; CQ_STEM_STEP of runtime_c."""


def portable(
    windows: Windows,
    rows: WeightRows,
    requant: Requant,
    *,
    groups: int,
    channels: int,
    tile: int,
    is_matrix: bool,
) -> Trips:
    """conv2d/body.h, and conv2d_1x1/body.h where nothing is gathered."""
    tiling = tiles(windows.pixels, tile)
    product = times(portable_product(rows.group(groups), tiling, requant), groups)
    if is_matrix:
        return product
    return total(product, windows.gathered(channels, channels * groups, tile))


def swar_pairs(
    windows: Windows,
    rows: WeightRows,
    requant: Requant,
    *,
    groups: int,
    channels: int,
    is_matrix: bool,
) -> Trips:
    """conv2d_swar.c: every patch as pairs, then the product."""
    of_group = rows.group(groups)
    tiling = tiles(windows.pixels, swar.tile_vectors(rows.length, windows.pixels))
    products = [
        swar_product(of_group, tiling, requant, group * of_group.count) for group in range(groups)
    ]
    if is_matrix:
        stride = channels * windows.stride[1]
        return total(*products, widened(windows.pixels, rows.length, stride))
    return total(
        *products,
        windows.gathered(channels, channels * groups),
        times(widened(windows.pixels, STEP * ceil(rows.length, STEP), WORD), groups),
    )


def dsp_image(
    windows: Windows, rows: WeightRows, requant: Requant, *, channels: int, is_matrix: bool
) -> Trips:
    """conv2d_dsp.c where windows are read from the image: every weight is decoded once."""
    quads = ceil(rows.count, QUAD)
    vectors = quads * windows.pixels
    short = short_quads(requant, 0, rows.count)
    steps = quads * windows.taps_inside * channels // STEP
    common = total(
        cached_rows(rows),
        clamped(requant, windows.pixels * rows.count),
        loaded(requant, quads, once=1),
        slow_quads(requant, (quads - short) * windows.pixels, rows.count),
        {"quads": quads, "steps": steps},
    )
    if is_matrix:
        return total(common, _matrix(requant, short * windows.pixels, vectors))
    kw = windows.kernel[1]
    border = windows.output[1] - windows.whole_columns
    spans = windows.output[0] * (border + (windows.whole_columns > 0))
    whole_spans = windows.whole_rows * (windows.whole_columns > 0)
    runs = quads * int(windows.rows_inside.sum()) * windows.output[1]
    # one run of whole pixels side by side is a matrix
    is_row = windows.kernel[0] == 1 and windows.stride[1] == kw
    return total(
        common,
        {
            "taps summed": quads * windows.taps,
            "steps summed": quads * rows.length // STEP,
            "rows of outputs": quads * windows.output[0],
            "spans": quads * spans,
            "spans at borders": quads * (spans - whole_spans),
            "taps of borders": quads * (spans - whole_spans) * windows.taps,
        },
        _matrix(requant, short * windows.pixels, vectors)
        if is_row
        else {"vectors in runs": vectors, "runs": runs},
    )


def dsp_patches(
    windows: Windows, rows: WeightRows, requant: Requant, *, groups: int, channels: int, tile: int
) -> Trips:
    """conv2d_dsp.c where patches are gathered: weights are decoded again for each tile."""
    of_group = rows.group(groups)
    quads = ceil(of_group.count, QUAD)
    patch = STEP * ceil(rows.length, STEP)
    turns = ceil(windows.pixels, tile)
    pieces = ceil(rows.length, ROW_CACHE)
    short = sum(short_quads(requant, g * of_group.count, of_group.count) for g in range(groups))
    vectors = groups * quads * windows.pixels
    product = (
        _matrix(requant, short * windows.pixels, vectors)
        if pieces == 1
        else {
            "vectors in runs": vectors * pieces,
            "runs": vectors * pieces,
            "partial sums": vectors,
        }
    )
    return total(
        times(_dsp_gathered(windows, channels, channels * groups, patch), groups),
        *(cached_rows(of_group, group * of_group.count, turns) for group in range(groups)),
        clamped(requant, windows.pixels * rows.count),
        loaded(requant, turns * quads * groups, once=turns * groups),
        slow_quads(requant, (groups * quads - short) * windows.pixels, of_group.count),
        product,
        {
            "tiles": turns * groups,
            "quads": turns * quads * groups,
            "steps": vectors * patch // STEP,
        },
    )


def dsp_stem(
    windows: Windows, rows: WeightRows, requant: Requant, *, channels: int, pad: Pair, band: int
) -> Trips:
    """conv2d_stem_dsp.c: a band of rows of outputs at a time, whose inputs are widened once."""
    (oh, ow), (kh, kw), (sh, sw) = windows.output, windows.kernel, windows.stride
    quads, bands = ceil(rows.count, QUAD), range(0, oh, band)
    ys = [(at * sh - pad[0], (min(oh, at + band) - 1) * sh + kh - pad[0]) for at in bands]
    widened = sum(end - y for y, end in ys)
    inside = sum(max(0, min(end, windows.size[0]) - max(y, 0)) for y, end in ys)
    inputs = ((ow - 1) * sw + kw) * channels
    left = min(pad[1] * channels, inputs)
    met = max(0, min(inputs - left, windows.size[1] * channels))
    rectified = rectified_quads(requant, rows.count, rows.length)
    # what is rectified has a short factor as well
    short = short_quads(requant, 0, rows.count) - rectified
    reads = len(bands) * quads * min(rows.count, QUAD)
    pairs = kh * ceil(kw * channels, 2)
    return total(
        times(
            total(rows.decoded(rows.pieces(rows.length)), rows.sought(rows.length)),
            reads / rows.count,
        ),
        times(rectified_loads(requant, rows.count, rows.length), len(bands)),
        clamped(requant, windows.pixels * rows.count),
        slow_quads(requant, (quads - rectified - short) * windows.pixels, rows.count),
        {
            "bands": len(bands),
            "rows of bands": widened,
            "steps widened": inside * (met // STEP),
            "inputs left": inside * (met % STEP),
            "inputs filled": widened * inputs - inside * met,
            "quads": len(bands) * quads,
            "rows met": reads * rows.are_bytes,
            "places set": pairs,
            "steps cleared": ceil(pairs, STEM_STEP),
            "pairs set": reads * kh * (kw * channels // 2),
            "odd ends set": reads * kh * (kw * channels % 2),
            "rows of outputs": quads * oh,
            "steps": quads * windows.pixels * stem_steps((kh, kw), channels),
            "vectors rectified": rectified * windows.pixels,
            "vectors": short * windows.pixels,
        },
    )


def stem_steps(kernel: tuple[int, int], channels: int) -> int:
    """Steps of five pairs of inputs for a window of conv2d_stem. [conv2d-C12]"""
    return ceil(kernel[0] * ceil(kernel[1] * channels, 2), STEM_STEP)


def _dsp_gathered(windows: Windows, channels: int, pixel: int, patch: int) -> Trips:
    """gather_dsp.h: pieces in words, and padding before them where a window leaves the image."""
    is_in_one_piece = windows.dilation[1] == 1 and channels == pixel
    rows = int(windows.rows_inside.sum())
    inside = windows.columns_inside
    bytes_ = inside * channels if is_in_one_piece else np.full(int(inside.sum()), channels)
    border = windows.output[1] - windows.whole_columns
    return {
        "rows of patches": windows.output[0],
        "patches alike": windows.output[0] * (border + (windows.whole_columns > 0)),
        "patches": windows.pixels,
        "rows gathered": 0 if is_in_one_piece else rows * windows.output[1],
        "pieces": rows * len(bytes_),
        "words behind the third": rows * int(np.ceil((bytes_ - 12).clip(0) / 4).sum()),
        "bytes copied": rows * int(bytes_[bytes_ < 4].sum()),
        "words of padding": (windows.pixels - windows.whole) * patch // 4,
    }


def helium(
    windows: Windows,
    rows: WeightRows,
    requant: Requant,
    *,
    groups: int,
    channels: int,
    tile: int,
    is_matrix: bool,
) -> Trips:
    """conv2d_mve.c: panel by panel, tile by tile; a matrix of pixels in one tile."""
    if is_matrix:
        return helium_product(rows, windows.pixels, requant)
    of_group = rows.group(groups)
    tiling = tiles(windows.pixels, tile)
    turns = sum(count for count, _ in tiling)
    gathered = _helium_gathered(windows, channels, channels * groups)
    if helium_needs_chunks(of_group):
        products = [times(helium_product(of_group, size, requant), count) for count, size in tiling]
        return times(total(gathered, {"tiles": turns}, *products), groups)
    panels = helium_panels(of_group)
    products = [times(helium_rows(of_group, size, requant), count) for count, size in tiling]
    return times(
        total(
            helium_decoded(of_group),
            times(gathered, panels),
            {"panels": panels, "tiles": panels * turns},
            *products,
        ),
        groups,
    )


def _helium_gathered(windows: Windows, channels: int, pixel: int) -> Trips:
    """Patches, copied sixteen bytes at a time."""
    kh, kw = windows.kernel
    is_in_one_piece = windows.dilation[1] == 1 and channels == pixel
    whole = windows.whole if is_in_one_piece else 0
    rows = int(windows.rows_inside.sum()) * windows.output[1]
    rows_at_borders = rows - whole * kh
    columns = windows.columns_inside
    if is_in_one_piece:
        turns = int(np.ceil(columns * channels / 16).sum()) * int(windows.rows_inside.sum())
    else:
        turns = rows * kw * ceil(channels, 16)
    return {
        "patches": windows.pixels,
        "patches at borders": windows.pixels - whole,
        "copies": whole * kh if is_in_one_piece else rows * kw,
        "turns copied": turns,
        "rows gathered" if is_in_one_piece else "rows gathered apart": rows_at_borders,
        "rows filled": windows.pixels * kh - rows,
    }


def sparse(
    geometry: Geometry,
    windows: Windows,
    rows: WeightRows,
    cut: Cut,
    weights: Int8Array,
    requant: Requant,
    *,
    left: int,
    groups: int,
    unit: int,
) -> Trips:
    """conv2d_sparse: strips of words, lists of the weights that are not 0, lanes that add."""
    strips = geometry.strips(cut.size)
    # lists are kept, or made anew for each strip
    reads = 1 if cut.kept == rows.count // groups else strips
    units = magnitudes(weights, unit)
    split = units.sum(axis=1) > LANE_BUDGET
    segments = np.ones(len(units), np.int64)
    segments[split] = [_segments(row) for row in units[split]]
    runs = _Runs.of(geometry, cut.size)
    # twos without lists of their own are multiplied
    added = units == 1
    has_twos = np.zeros(len(units), np.bool_)
    if lists_twos(units):
        added |= units == 2
        has_twos = (units == 2).any(axis=1)
    multiplied = (units > 0) & ~added
    return total(
        _listed(rows, cut, reads),
        loaded(requant, rows.count * reads),
        _gathered(geometry, windows, cut.size, left, groups),
        _stores(runs, requant, unit, split=split),
        {
            "segments behind the first listed": int((segments - 1).sum()) * reads,
            "taps listed": rows.count * reads * rows.length // geometry.channels,
            "others listed": int((units > 1).sum()) * reads,
            "rows used": rows.count * strips,
            "rows of strips": rows.count * geometry.words[0] * geometry.across(cut.size),
            "runs": rows.count * len(runs.widths),
            "runs cut": rows.count * runs.cut,
            "runs cut anew": rows.count * runs.met_anew,
            "groups": rows.count * runs.groups,
            "groups with twos": int(has_twos.sum()) * runs.groups,
            "groups with others": int(multiplied.any(axis=1).sum()) * runs.groups,
            "segments behind the first": int((segments - 1).sum()) * runs.groups,
            "segments behind the first of runs": int((segments - 1).sum()) * len(runs.widths),
            "nonzeros skipped": int((units[split] > 0).sum()) * len(runs.widths),
            "nonzeros added": int(added.sum()) * runs.groups,
            "nonzeros multiplied": int(multiplied.sum()) * runs.groups,
        },
    )


def _listed(rows: WeightRows, cut: Cut, reads: int) -> Trips:
    """Rows that become lists: records of gaps as they stand, any other weights decoded first."""
    assert rows.packed is not None
    common = {"rows listed": rows.count * reads}
    chunks = rows.count * ceil(rows.length, CHUNK)
    if rows.packed.packing == "gap" and not cut.is_split:
        return common | {
            "chunks of gaps listed": chunks * reads,
            "gaps listed": rows.nonzeros * reads,
            "skips listed": (rows.stream_bytes - chunks - rows.nonzeros) * reads,
        }
    return total(
        common,
        times(rows.decoded(), reads),
        {
            "chunks listed": chunks * reads,
            "nonzeros listed": rows.nonzeros * reads,
            "nonzeros listed, split": rows.nonzeros * reads * cut.is_split,
        },
    )


def sparse_direct(
    geometry: Geometry, rows: WeightRows, cut: Cut, requant: Requant, groups: int, unit: int
) -> Trips:
    """conv2d_sparse without lists: each weight is used for the whole image as it is read."""
    times_read = cut.size[1] // DIRECT
    chunks = rows.count * ceil(rows.length, CHUNK)
    runs = _Runs.of(geometry, cut.size, overlap=True)
    return total(
        loaded(requant, rows.count),
        _stores(runs, requant, unit, split=np.zeros(rows.count, np.bool_)),
        {
            "strips": groups,
            "columns gathered": groups * cut.size[1],
            "channels gathered, wide": groups * cut.size[1] * geometry.channels,
            "rows direct": rows.count,
            "twelves direct": chunks * times_read,
            "gaps direct": (rows.stream_bytes - chunks) * times_read,
        },
    )


def _gathered(geometry: Geometry, windows: Windows, size: Pair, left: int, groups: int) -> Trips:
    """Strips of words, four channels of four pixels at a time; `left` columns of padding."""
    gathered, moved = geometry.gathers(size)
    columns = groups * gathered * geometry.pitch(size[1])
    return {
        "strips": groups * geometry.strips(size),
        "slots gathered": groups * gathered,
        "columns alike gathered": groups
        * (gathered // geometry.across(size))
        * _columns_alike(geometry, windows, size, left),
        "columns gathered": columns,
        "channels gathered": columns * (geometry.channels // 4),
        "channels left": columns * (geometry.channels % 4),
        "columns with channels left": columns * (geometry.channels % 4 > 0),
        "words moved": groups * moved * geometry.channels * geometry.pitch(size[1]),
    }


def _columns_alike(geometry: Geometry, windows: Windows, size: Pair, left: int) -> int:
    """Stretches of columns of a row of inputs, in all strips side by side, on which none of the
    four parts enters or leaves the image.
    """
    columns, stride = geometry.words[1], windows.stride[1]
    width = math.prod(windows.size) if geometry.is_flat else windows.size[1]
    part = 0 if columns == geometry.image[1] else columns
    phases = min((windows.kernel[1] - 1) * windows.dilation[1] + 1, stride)
    first = np.arange(0, columns, size[1])[:, None] + part * np.arange(LANES)
    in_phase = np.arange(phases)[:, None] + stride * np.arange(geometry.pitch(size[1]) // phases)
    x = first[:, :, None, None] * stride - left + in_phase
    is_inside = (x >= 0) & (x < width)
    changes = (is_inside[..., 1:] != is_inside[..., :-1]).any(axis=1)
    return len(first) * phases + int(changes.sum())


def _stores(runs: "_Runs", requant: Requant, unit: int, *, split: Array) -> Trips:
    """Outputs of all channels, of which some rows may be `split` into several segments."""
    rectified, short = _store_forms(requant, unit)
    rectified, short = rectified & ~split, short & ~split
    slow = int((~(rectified | short)).sum())
    # the limits of the short form are branches, and a ReLU takes about half of the outputs there
    is_relu = requant.clamp_min >= requant.zero_point
    return {
        "words rectified": int(rectified.sum()) * runs.words,
        "words short, limited" if is_relu else "words short": int(short.sum()) * runs.words,
        "parts ended": (len(requant.bias) - slow) * runs.ended,
        "runs slow": slow * len(runs.widths),
        "groups slow": slow * runs.groups,
        "outputs slow": slow * int(runs.widths.sum()),
    }


def _segments(row: Array) -> int:
    """Parts of a row of magnitudes none of which is more than a lane holds, each as long as it can
    be.
    """
    ends, count, end = np.cumsum(row), 0, 0
    while end < len(row):
        held = int(ends[end - 1]) if end else 0
        end = int(np.searchsorted(ends, held + LANE_BUDGET, side="right"))
        count += 1
    return count


@dataclass(frozen=True, slots=True, kw_only=True)
class _Runs:
    """Words of an output channel that are stored in turn.

    Parameters
    ----------
    widths : int64 array of shape (runs, 4)
        Pixels of each run in each of the four parts.
    cut : int
        Runs that are not in all parts, or shorter than others,
    met_anew : int
        and those of them whose predecessor in the strip is another such run.
    """

    widths: Array
    cut: int
    met_anew: int

    @classmethod
    def of(cls, geometry: Geometry, size: Pair, *, overlap: bool = False) -> "_Runs":
        """Without lists parts `overlap` so that all are whole: some pixels are stored twice."""
        oh, ow = geometry.image
        rows, columns = geometry.words
        part_h, part_w = (rows, 0) if columns == ow else (0, columns)
        if overlap:
            part_h, part_w = 0, ceil(ow - columns, LANES - 1)
        whole_rows = oh - (LANES - 1) * part_h
        run, parts = min(size[1], RUN), np.arange(LANES)
        widths, cut, met_anew = [], 0, 0
        for top, left in product(range(0, rows, size[0]), range(0, columns, size[1])):
            end = min(left + size[1], columns)
            row, start = np.meshgrid(
                np.arange(top, min(top + size[0], rows)), np.arange(left, end, run), indexing="ij"
            )
            row, start = row.reshape(-1, 1), start.reshape(-1, 1)
            pixels = (ow - parts * part_w - start).clip(0, np.minimum(end - start, run))
            widths.append(pixels * (row + parts * part_h < oh))
            # rows that are in all parts are alike
            places = np.where(row < whole_rows, 0, row) * columns + start
            places = places[(widths[-1] < run).any(axis=1)]
            cut += len(places)
            met_anew += int((places != np.roll(places, 1)).sum())
        return cls(widths=np.concatenate(widths), cut=cut, met_anew=met_anew)

    @property
    def words(self) -> int:
        return int(self.widths[:, 0].sum())

    @property
    def groups(self) -> int:
        return int(-(-self.widths[:, 0] // GROUP).sum())

    @property
    def ended(self) -> int:
        """Parts that end before the first one does."""
        return int((self.widths < self.widths[:, :1]).sum())


def _store_forms(requant: Requant, unit: int) -> tuple[Array, Array]:
    """Channels whose sums are stored in the rectifying and in the short form: store.h."""
    right = -factors(requant)[1]
    left = FRACTION + 1 - right
    is_full = (requant.zero_point, requant.clamp_min, requant.clamp_max) == (-128, -128, 127)
    bias = np.abs(requant.bias.astype(np.int64))

    def fits(shift: Array) -> Array:
        room = (INT32_MAX >> shift.clip(0, 31)) - (unit << 16)
        fitting: Array = (shift <= 14) & (bias < room)
        return fitting

    rectified = is_full & (left >= 2) & fits(left)
    short = ~rectified & (right >= 1) & (right <= 20) & fits(np.full_like(left, 2))
    return rectified, short


def _matrix(requant: Requant, short: int, vectors: int) -> Trips:
    """Vectors side by side; those of four channels with short factors in loops of their own."""
    is_relu = requant.clamp_min >= requant.zero_point
    return {
        "vectors rectified": short if is_relu else 0,
        "vectors": 0 if is_relu else short,
        "vectors in runs": vectors - short,
        "runs": vectors - short,
    }
