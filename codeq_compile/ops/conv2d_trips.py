# SPDX-License-Identifier: Apache-2.0
"""Trip counts of the convolution kernels: one function a loop nest of runtime_c/src/conv2d*."""

import numpy as np

from codeq_compile.ir.op import Array
from codeq_compile.numerics import INT32_MAX, Int8Array
from codeq_compile.ops import swar
from codeq_compile.ops.base import CHUNK, ROW_CACHE, Requant
from codeq_compile.ops.lanes import (
    DIRECT,
    GROUP,
    LANE_BUDGET,
    LANES,
    Cut,
    Geometry,
    lists_twos,
    magnitudes,
)
from codeq_compile.ops.trips import (
    FRACTION,
    QUAD,
    STEP,
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
    short_quads,
    slow_quads,
    swar_product,
    tiles,
    times,
    total,
    widened,
)


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
    return total(product, times(windows.gathered(channels, channels * groups), groups))


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
    gathered = total(
        windows.gathered(channels, channels * groups),
        widened(windows.pixels, STEP * ceil(rows.length, STEP), 4),
    )
    return total(*products, times(gathered, groups))


def dsp_image(
    windows: Windows, rows: WeightRows, requant: Requant, *, channels: int, is_matrix: bool
) -> Trips:
    """conv2d_dsp.c where windows are read from the image: every weight is decoded once."""
    quads = ceil(rows.count, QUAD)
    vectors = quads * windows.pixels
    short = short_quads(requant, 0, rows.count)
    steps = quads * windows.taps_inside * channels // STEP
    common = total(
        cached_rows(rows, QUAD * quads),
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
        times(cached_rows(of_group, turns * QUAD * quads * pieces), groups)
        if pieces == 1
        else times(cached_rows(of_group, turns * QUAD * quads), groups),
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
        "rows gathered": rows_at_borders if is_in_one_piece else rows,
        "rows filled": windows.pixels * kh - rows,
    }


def sparse(
    geometry: Geometry,
    rows: WeightRows,
    cut: Cut,
    weights: Int8Array,
    requant: Requant,
    *,
    groups: int,
    unit: int,
) -> Trips:
    """conv2d_sparse: strips of words, lists of the weights that are not 0, lanes that add."""
    of_group = rows.count // groups
    strips = geometry.strips(cut.size)
    # lists are kept, or made anew for each strip
    reads = 1 if cut.kept == of_group else strips
    words = geometry.strip_words(cut.size) // geometry.channels
    units = magnitudes(weights, unit)
    split = units.sum(axis=1) > LANE_BUDGET
    segments = np.ones(len(units), np.int64)
    segments[split] = [_segments(row) for row in units[split]]
    computed = _stored(geometry)[2]
    # twos without lists of their own are multiplied
    added = units == 1
    has_twos = np.zeros(len(units), np.bool_)
    if lists_twos(units):
        added |= units == 2
        has_twos = (units == 2).any(axis=1)
    return total(
        times(rows.decoded(), reads),
        loaded(requant, rows.count * reads),
        _stores(geometry, requant, unit, split=split),
        {
            "strips": groups * strips,
            "words gathered": groups * strips * words,
            "channels gathered": groups * strips * words * (geometry.channels // 4),
            "channels left": groups * strips * words * (geometry.channels % 4),
            "rows listed": rows.count * reads,
            "segments listed": int(segments.sum()) * reads,
            "taps listed": rows.count * reads * rows.length // geometry.channels,
            "nonzeros listed": rows.nonzeros * reads,
            "nonzeros listed, split": rows.nonzeros * reads * cut.is_split,
            "rows used": rows.count * strips,
            "rows of strips": rows.count * strips * cut.size[0],
            "groups": rows.count * computed,
            "groups with twos": int(has_twos.sum()) * computed,
            "segments behind the first": int((segments - 1).sum()) * computed,
            "nonzeros added": int(added.sum()) * computed,
            "nonzeros multiplied": int(((units > 0) & ~added).sum()) * computed,
        },
    )


def sparse_direct(
    geometry: Geometry, rows: WeightRows, cut: Cut, requant: Requant, groups: int, unit: int
) -> Trips:
    """conv2d_sparse without lists: each weight is used for the whole image as it is read."""
    times_read = cut.size[1] // DIRECT
    chunks = rows.count * ceil(rows.length, CHUNK)
    words = geometry.strip_words(cut.size) // geometry.channels
    return total(
        loaded(requant, rows.count),
        _stores(geometry, requant, unit, split=np.zeros(rows.count, np.bool_), is_direct=True),
        {
            "strips": groups,
            "words gathered": groups * words,
            "channels gathered": groups * words * (geometry.channels // 4),
            "channels left": groups * words * (geometry.channels % 4),
            "rows direct": rows.count,
            "words begun": rows.count * cut.size[1],
            "chunks direct": chunks * times_read,
            "nonzeros direct": rows.nonzeros * times_read,
            "skips direct": (rows.stream_bytes - chunks - rows.nonzeros) * times_read,
        },
    )


def _stores(
    geometry: Geometry, requant: Requant, unit: int, *, split: Array, is_direct: bool = False
) -> Trips:
    """Outputs of all channels, of which some rows may be `split` into several segments."""
    fours, alone, computed = _stored(geometry, is_direct)
    rectified, short = _store_forms(requant, unit)
    rectified, short = rectified & ~split, short & ~split
    slow = ~(rectified | short)
    return {
        "fours rectified": int(rectified.sum()) * fours,
        "fours short": int(short.sum()) * fours,
        "outputs rectified": int(rectified.sum()) * alone,
        "outputs short": int(short.sum()) * alone,
        "groups slow": int(slow.sum()) * computed,
        "outputs slow": int(slow.sum()) * (4 * fours + alone),
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


def _stored(geometry: Geometry, is_direct: bool = False) -> tuple[int, int, int]:
    """Of a channel: fours of pixels that all parts have, pixels stored alone, and groups.

    Without lists parts may overlap: some pixels are stored twice.
    """
    oh, ow = geometry.image
    rows, columns = geometry.words
    part_h, part_w = (rows, 0) if columns == ow else (0, columns)
    if is_direct:
        part_h, part_w = 0, ceil(ow - columns, LANES - 1)
    parts = np.arange(LANES)
    row = np.arange(rows)[:, None] + parts * part_h
    first = np.arange(0, columns, GROUP)[:, None]
    width = np.minimum(columns, ow - parts * part_w) - first
    width = width.clip(0, GROUP)[None] * (row < oh)[:, None]
    common = int(width.min(axis=2).sum())
    return common, int(width.sum()) - LANES * common, width[..., 0].size


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
