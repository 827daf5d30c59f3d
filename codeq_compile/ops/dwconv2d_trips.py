# SPDX-License-Identifier: Apache-2.0
"""Trip counts of the depthwise kernels: one function a loop nest of runtime_c/src/dwconv2d*."""

from dataclasses import replace

import numpy as np

from codeq_compile.ops import swar
from codeq_compile.ops.base import Requant
from codeq_compile.ops.trips import (
    QUAD,
    Trips,
    WeightRows,
    Windows,
    ceil,
    clamped,
    loaded,
    rectified_loads,
    rectified_quads,
    short_quads,
    slow_quads,
    times,
    total,
    windowed,
)

LANES = 16
"""Channels that an mve kernel takes at a time."""


def portable(windows: Windows, rows: WeightRows, requant: Requant) -> Trips:
    """dwconv2d/body.h: pixel by pixel, inside or at a border."""
    channels, (kh, kw) = rows.count, windows.kernel
    border = windows.pixels - windows.whole
    rows_at_border = border * kh
    # above and below the image
    outside = windows.pixels * kh - int(windows.rows_inside.sum()) * windows.output[1]
    return total(
        rows.decoded(),
        loaded(requant, channels),
        {
            "rows": channels,
            "rows of outputs": channels * windows.output[0],
            "outputs inside": channels * windows.whole,
            "outputs at borders": channels * border,
            "rows of windows inside": channels * windows.whole * kh,
            "rows of windows at borders": channels * rows_at_border,
            "taps inside": channels * windows.whole * windows.taps,
            "taps at borders": channels * (rows_at_border - outside) * kw,
            "taps outside": channels * outside * kw,
        },
    )


def swar_rows(windows: Windows, rows: WeightRows, requant: Requant) -> Trips:
    """dwconv2d_swar.c: rows of one channel as words, then sums of one row of outputs."""
    channels, (oh, ow) = rows.count, windows.output
    reach, reach_w = (
        (k - 1) * d + 1 for k, d in zip(windows.kernel, windows.dilation, strict=True)
    )
    width = ow * windows.stride[1] + reach_w
    read = reach + (oh - 1) * min(reach, windows.stride[0])
    inside = min(read, windows.size[0])
    blocks = ceil(oh, max(1, max(swar.SUMS, ow) // ow))
    common = total(
        rows.decoded(),
        loaded(requant, channels),
        {
            "rows": channels,
            "weights widened": channels * windows.taps,
            "rows widened": channels * read,
            "words widened": channels * inside * min(width, windows.size[1]),
            "words filled": channels * (read * width - inside * min(width, windows.size[1])),
            "rows of outputs": channels * oh,
            "blocks stored": channels * blocks,
        },
        windowed(requant, 0, channels, oh * ow),
    )
    is_3x3 = windows.kernel == (3, 3) and windows.dilation == (1, 1) and windows.stride[1] <= 2
    if is_3x3:
        fours = (ow + 1) // 4
        return total(
            common,
            {
                f"fours of stride {windows.stride[1]}": channels * oh * fours,
                "singles": channels * oh * max(0, ow - 4 * fours),
            },
        )
    return total(
        common,
        {
            "sums": channels * windows.pixels,
            "rows of windows": channels * windows.pixels * windows.kernel[0],
            "taps": channels * windows.pixels * windows.taps,
        },
    )


def dsp_windows(windows: Windows, rows: WeightRows, requant: Requant, *, multiplier: int) -> Trips:
    """dwconv2d_dsp.c: window by window, four channels at a time."""
    channels, taps, (oh, ow) = rows.count, windows.taps, windows.output
    quads = ceil(channels, QUAD)
    short = short_quads(requant, 0, channels)
    is_word = multiplier == 1 and channels >= QUAD
    runs = windows.whole_rows * (windows.whole_columns > 0) if is_word else 0
    whole = windows.whole if is_word else 0
    border = windows.output[1] - windows.whole_columns
    # each row's windows, and each output's columns unless it continues a run
    columns = runs * (border + 1) + (oh - runs) * ow
    rows_met = int(windows.rows_inside.sum()) * ow - whole * windows.kernel[0]
    return total(
        times(total(rows.decoded(), rows.sought(rows.length)), QUAD * quads / channels),
        loaded(requant, quads, once=1),
        clamped(requant, windows.pixels * channels),
        slow_quads(requant, (quads - short) * windows.pixels, channels),
        {
            "quads": quads,
            "weights widened": QUAD * quads * taps,
            "rows of outputs": quads * oh,
            "columns": quads * columns,
            "taps left out": quads * windows.left_out,
            "runs": quads * runs,
            "vectors in runs": quads * whole,
            "rows in runs": quads * whole * windows.kernel[0],
            "taps in runs": quads * whole * taps,
            "vectors": quads * (windows.pixels - whole),
            "rows of windows": quads * rows_met,
            "rows outside": quads * ((windows.pixels - whole) * windows.kernel[0] - rows_met),
            "taps inside" if is_word else "taps gathered": quads
            * (windows.taps_inside - whole * taps),
            "taps outside": quads * (windows.pixels * taps - windows.taps_inside),
        },
    )


def dsp_bands(windows: Windows, rows: WeightRows, requant: Requant, *, band: int) -> Trips:
    """dwconv2d_3x3_dsp.c: planes of four channels, a band of so many rows of outputs at a time."""
    quads = ceil(rows.count, QUAD)
    (oh, ow), (sh, sw) = windows.output, windows.stride
    columns = (ow + 1) // 2 + 1 if sw == 1 else ow + 1
    bands = ceil(oh, band)
    shared = max(0, 3 - sh)
    inside, pads = _banded(windows, band, shared)
    # the only band of an image keeps its padding
    padded = columns * (1 if bands == 1 else quads)
    rectified = rectified_quads(requant, rows.count, windows.taps)
    # what is rectified has a short factor as well
    short = short_quads(requant, 0, rows.count) - rectified
    # the rows of four channels are read as one
    fours_of_rows = replace(
        rows,
        count=quads,
        length=QUAD * rows.length,
        stream_bytes=rows.stream_bytes * QUAD * quads / rows.count,
    )
    stored: list[Trips] = []
    for is_rectified, count in ((True, QUAD * rectified), (False, QUAD * short)):
        # a single output at the end is a pair whose right one it overwrites
        fours = ow // 4 if (sh, sw) == (1, 1) and is_rectified else 0
        strided = ow // 2 if sw == 2 else 0
        pairs = ceil(ow - 4 * fours - 2 * strided, 2)
        loops = (fours + strided > 0) + (pairs > 0)
        stored.append(
            {
                "loops": count * bands * loops,
                "columns": count * bands * (fours + strided + pairs),
                "outputs in fours": count * oh * 4 * fours,
                "outputs in strided pairs": count * oh * 2 * strided,
                "outputs in pairs": count * oh * 2 * pairs,
                "short outputs": 0 if is_rectified else count * oh * 2 * (strided + pairs),
            }
        )
    return total(
        fours_of_rows.decoded(),
        fours_of_rows.sought(fours_of_rows.length),
        rectified_loads(requant, rows.count, windows.taps),
        clamped(requant, windows.pixels * rows.count),
        slow_quads(requant, (quads - rectified - short) * windows.pixels, rows.count),
        {
            "quads": quads,
            "columns widened": quads * bands * columns,
            "words widened": quads * inside * columns,
            "columns filled": padded * sum(each > 0 for each in pads),
            "words filled": padded * sum(pads),
            "bands": quads * bands,
            "words scrolled": quads * (bands - 1) * shared * columns * QUAD,
        },
        *stored,
    )


def _banded(windows: Windows, band: int, shared: int) -> tuple[int, list[int]]:
    """Rows of inputs that all bands together widen, and the rows of padding above and below those
    of each band.
    """
    inside, pads = 0, []
    for first in range(0, windows.output[0], band):
        y = first * windows.stride[0] + windows.origin[0]
        end = (min(band, windows.output[0] - first) - 1) * windows.stride[0] + 3
        ready = shared if first else 0
        above = min(max(-y, ready), end)
        below = min(max(windows.size[0] - y, above), end)
        inside += below - above
        pads += [above - ready, end - below]
    return inside, pads


def helium_strips(
    windows: Windows,
    rows: WeightRows,
    requant: Requant,
    *,
    multiplier: int,
    pixel: int,
    longest: int,
) -> Trips:
    """dwconv2d_mve.c: sixteen lanes of channels, or of pixels where there are few channels.

    Parameters
    ----------
    multiplier : int
        Output channels of an input channel.
    pixel, longest : int
        Bytes of a pixel in the strip, and columns of outputs that it serves.
    """
    channels, (oh, ow), stride = rows.count, windows.output, windows.stride[1]
    reach_h, reach_w = (
        (k - 1) * d + 1 for k, d in zip(windows.kernel, windows.dilation, strict=True)
    )
    at_once = LANES // pixel
    blocks, segments = ceil(channels, LANES), ceil(ow, longest)
    lengths = [min(longest, ow - at) for at in range(0, ow, longest)]
    vectors = sum(ceil(length, at_once) for length in lengths) * oh * blocks
    # rows of the padded image are copied once, or again where a segment begins
    y = np.unique(windows.stride[0] * np.arange(oh)[:, None] + np.arange(reach_h))
    filled, y = len(y), y + windows.origin[0]
    inside = int(((y >= 0) & (y < windows.size[0])).sum())
    # columns of each segment, and those of them beside the image and in it
    held = (np.array(lengths) - 1) * stride + reach_w
    first = longest * stride * np.arange(segments) + windows.origin[1]
    left = (-first).clip(0, held)
    right = (first + held - windows.size[1]).clip(0, held - left)
    held_inside = int((held - left - right).sum())
    beside = int((-(-np.array([left, right]) * pixel // LANES)).sum())
    padded = int((-(-held * pixel // LANES)).sum())
    is_whole = multiplier == 1 and channels == pixel
    is_3x3 = windows.kernel == (3, 3)
    is_up = requant.clamp_min >= requant.zero_point and int(requant.exponent.max()) <= 0
    copied = blocks * inside * held_inside
    product = (
        {
            "vectors of 3x3": vectors * (not is_up),
            "vectors rounding up": vectors * is_up,
        }
        if is_3x3
        else {
            "vectors": vectors,
            "rows of windows": vectors * windows.kernel[0],
            "taps": vectors * windows.taps,
        }
    )
    return total(
        rows.decoded(windows.taps * np.diff([*range(0, channels, LANES), channels])),
        loaded(requant, channels),
        {
            "blocks": blocks,
            "channels": channels,
            "lanes": blocks * LANES,
            "taps transposed": blocks * windows.taps * 4,
            "segments": blocks * segments,
            "rows of outputs": blocks * segments * oh,
            "rows copied": blocks * segments * inside,
            "rows outside": blocks * segments * (filled - inside),
            "turns copied": copied * pixel / LANES if is_whole else 0,
            "pixels copied": copied if multiplier == 1 and not is_whole else 0,
            "pixels spread": copied if multiplier > 1 else 0,
            "rows spread": blocks * segments * inside if multiplier > 1 else 0,
            "turns filled": blocks * (inside * beside + (filled - inside) * padded),
        },
        product,
    )
