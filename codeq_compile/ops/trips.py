# SPDX-License-Identifier: Apache-2.0
"""How often the loops that several kernels share are executed: decoding, products, requantization.

A trip count says how often something is done in one call of a kernel, and follows from the loop
nest of its C alone; `codeq_compile.cost` knows what each costs on a core.  Names that begin with
"nonzeros" are proportional to the weights that are not 0, "stream bytes" to the bytes in flash.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from codeq_compile.ir.op import Array
from codeq_compile.ir.types import Packed, Shape, TensorType
from codeq_compile.numerics import INT32_MAX, Int64Array
from codeq_compile.ops import swar
from codeq_compile.ops.base import CHUNK, PANEL_BYTES, SPARSE, Padding, Pair, Requant, taps_inside

Trips = Mapping[str, float]

WORD = 4
"""Bytes."""
STEP = 8
"""Inputs of a loop step of dsp and swar kernels."""
LANES = 16
"""Bytes of a Helium register."""
QUAD = 4
"""Weight rows at a time."""
MAX_TILE = 8
"""Vectors that a `ref` kernel keeps sums of; CQ_MAX_TILE of runtime_c."""
FRACTION = 12
"""Bits below the output in the rectifying form; CQ_FRACTION of runtime_c."""
MAX_LEFT = 8
"""Bits by which dsp kernels shift 8-bit weights to the left in the rectifying form."""
WINDOW_MIN = 4
"""Outputs of a channel from which on a window pays; CQ_WINDOW_MIN of runtime_c."""


def total(*parts: Trips) -> Trips:
    """The sum, name by name."""
    summed: dict[str, float] = {}
    for part in parts:
        for name, times in part.items():
            summed[name] = summed.get(name, 0.0) + times
    return summed


def times(part: Trips, factor: float) -> Trips:
    """All of it so many times."""
    return {name: factor * each for name, each in part.items()}


def ceil(a: int, b: int) -> int:
    """a / b, rounded up."""
    return -(-a // b)


def at_words(step: int) -> float:
    """Share of the places 0, step, 2 step, ... that are places of words."""
    return math.gcd(step, WORD) / WORD


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightRows:
    """Weights as a kernel meets them: rows of a stream.

    Parameters
    ----------
    packed : Packed
    count, length : int
        WeightRows, and weights of a row.
    nonzeros : int
        Weights that are not 0.
    stream_bytes : int
        Of these rows, without a table of levels.
    """

    packed: Packed
    count: int
    length: int
    nonzeros: int
    stream_bytes: float

    @classmethod
    def of(cls, packed: Packed | None, weights: Array) -> "WeightRows":
        """One row an output channel."""
        assert packed is not None, "an op with weights is counted after packing"
        return cls(
            packed=packed,
            count=len(weights),
            length=weights[0].size,
            nonzeros=int(np.count_nonzero(weights)),
            stream_bytes=len(packed.data),
        )

    def group(self, groups: int) -> "WeightRows":
        """The rows of one of some groups, all groups being alike."""
        return replace(
            self,
            count=self.count // groups,
            nonzeros=self.nonzeros // groups,
            stream_bytes=self.stream_bytes / groups,
        )

    @property
    def is_sparse(self) -> bool:
        """The decoder gives the weights that are not 0 with their places."""
        return self.packed.packing in SPARSE

    @property
    def are_bytes(self) -> bool:
        """The bytes in flash are the weights: nothing is decoded."""
        packed = self.packed
        is_plain = packed.gap == 0 and packed.levels is None
        return packed.packing == "dense" and packed.bits == 8 and is_plain

    def decoded(self) -> Trips:
        """All rows, once. [F3]"""
        if self.are_bytes:
            return {}
        size = self.count * self.length
        prefix, count = ("nonzeros", self.nonzeros) if self.is_sparse else ("weights", size)
        packed = self.packed
        trips: dict[str, float] = {
            f"{prefix} decoded, {packed.packing}": count,
            f"stream bytes decoded, {packed.packing}": self.stream_bytes,
        }
        if packed.levels is not None:
            trips[f"{prefix} looked up"] = count
        elif packed.gap:
            trips[f"{prefix} mapped"] = count
        if packed.packing == "bitmask":
            trips["masks decoded"] = ceil(size, 16)
        if packed.packing == "huffman":
            # what is no table and no low bits is read bit by bit [F11]
            low, longest = packed.data[0] >> 5, packed.data[0] & 31
            table = 1 + longest + sum(packed.data[1 : 1 + longest])
            read = self.stream_bytes * (1.0 - table / len(packed.data))
            trips["stream bytes read by bits"] = read - low * count / 8
        if packed.packing == "rle":
            # what is not zero on a 2-bit grid is its sign [F4]
            field_bits = 1 if packed.bits == 2 and packed.levels is None else packed.bits
            runs = (8 * self.stream_bytes - count * field_bits) / packed.run_bits
            trips["nonzeros and runs without one"] = runs
        return trips


# -- Requantization -------------------------------------------------------------------------------


def factors(requant: Requant) -> tuple[Int64Array, Int64Array]:
    """Multiplier and exponent of every channel."""
    shape = requant.bias.shape
    multiplier, exponent = requant.multiplier, requant.exponent
    return (
        np.broadcast_to(multiplier.astype(np.int64), shape),
        np.broadcast_to(exponent.astype(np.int64), shape),
    )


def is_short(requant: Requant) -> NDArray[np.bool_]:
    """Channels whose factors dsp kernels apply in the short form: requant_dsp.h."""
    multiplier, exponent = factors(requant)
    short: NDArray[np.bool_] = (exponent <= -2) | (multiplier == 0)
    return short


def loaded(requant: Requant, loads: float, once: float | None = None) -> Trips:
    """`loads` channels, or groups of them, whose tables are unpacked. [N4.4]

    With `once` a factor that serves all channels is unpacked so many times only.
    """
    tables = requant.c_params()
    is_shared = len(requant.multiplier) == 1
    factors = loads if once is None or not is_shared else once
    is_narrow = tables["exponent"] is None or tables["multiplier_bytes"] != 4
    return {
        "factors loaded": 0 if is_shared else factors,
        "factors loaded, shared": factors if is_shared else 0,
        "factors loaded, narrow": factors * is_narrow,
        f"biases loaded, of {tables['bias_bytes']} bytes": loads,
    }


def slow_quads(requant: Requant, vectors: int, channels: int) -> Trips:
    """Vectors whose outputs in up to four channels are computed one by one by a dsp kernel."""
    outputs = vectors * min(channels, QUAD)
    narrow = loaded(requant, outputs)["factors loaded, narrow"]
    return {
        "slow vectors": vectors,
        "slow outputs": outputs,
        "slow outputs of narrow factors": narrow,
    }


def short_quads(requant: Requant, first: int, channels: int) -> int:
    """Groups of four channels whose factors dsp kernels apply in the short form.

    The last group of four begins where it ends with the last channel.
    """
    if channels < QUAD:
        return 0
    short = is_short(requant)[first : first + channels]
    starts = [min(start, channels - QUAD) for start in range(0, channels, QUAD)]
    return sum(bool(short[start : start + QUAD].all()) for start in starts)


def rectified_quads(requant: Requant, channels: int, products: int) -> int:
    """Groups of four channels that dsp kernels store in the rectifying form: rectify_dsp.h."""
    if channels < QUAD or requant.clamp_min < requant.zero_point:
        return 0
    left = FRACTION + 1 + factors(requant)[1]
    most = (INT32_MAX >> left.clip(0, 31)) - products * 128 * 128
    can = (left >= 2) & (left <= MAX_LEFT) & (np.abs(requant.bias.astype(np.int64)) < most)
    starts = [min(start, channels - QUAD) for start in range(0, channels, QUAD)]
    return sum(bool(can[start : start + QUAD].all()) for start in starts)


def clamped(requant: Requant, outputs: int) -> Trips:
    """Outputs that a dsp kernel limits afterwards."""
    if (requant.clamp_min, requant.clamp_max) == (-128, 127):
        return {}
    return {"words clamped": outputs // 4, "bytes left to clamp": outputs % 4}


def windowed(requant: Requant, first: int, channels: int, count: int) -> Trips:
    """`count` outputs of each of some channels, stored by a swar kernel: requant_swar.h.

    An estimate decides most outputs; those that it leaves open, a share that follows from the
    factor's bits, are computed in full.
    """
    multiplier, exponent = (each[first : first + channels] for each in factors(requant))
    fits = (exponent <= -1) & (exponent >= -20) & (multiplier >= 1 << 30)
    if count < WINDOW_MIN:
        return {"outputs computed": channels * count}
    windows = int(fits.sum())
    right, m = -exponent[fits], multiplier[fits]
    missing = 1 + ((right > 7) << 16) + ((m % (1 << 8 + np.minimum(right, 7)) > 0) << 16)
    if requant.clamp_min < requant.zero_point:
        missing += 1 << 23 >> right
    return {
        "windows opened": windows,
        "outputs in windows": windows * count,
        "outputs left open": float(missing.sum()) / (1 << 23) * count,
        "outputs computed": (channels - windows) * count,
    }


# -- Products -------------------------------------------------------------------------------------


def tiles(vectors: int, tile: int) -> list[Pair]:
    """(how many, of how many vectors) of full tiles and of the one that is cut short."""
    full, rest = divmod(vectors, tile)
    return [(count, size) for count, size in ((full, tile), (1, rest)) if count and size]


def portable_product(rows: WeightRows, tiling: Iterable[Pair], requant: Requant) -> Trips:
    """Tiles of vectors times all rows, a chunk at a time: runtime_c/src/product.h."""
    chunks = ceil(rows.length, CHUNK)
    used = rows.nonzeros if rows.is_sparse else rows.count * rows.length
    prefix = "nonzeros" if rows.is_sparse else "weights"
    turns = sum(count for count, _ in tiling)
    pairs = sum(count * (size // 2) for count, size in tiling)
    singles = sum(count * (size % 2) for count, size in tiling)
    return total(
        times(rows.decoded(), turns),
        loaded(requant, turns * rows.count),
        {
            "tiles": turns,
            "rows": turns * rows.count,
            "chunks": turns * rows.count * chunks,
            "pairs": pairs * rows.count * chunks,
            "singles": singles * rows.count * chunks,
            f"{prefix} times pairs": pairs * used,
            f"{prefix} times singles": singles * used,
            "outputs": (2 * pairs + singles) * rows.count,
        },
    )


def cached_rows(rows: WeightRows, reads: int) -> Trips:
    """`reads` rows into the row cache of a dsp kernel: runtime_c/src/product_dsp.h."""
    rest = rows.length % STEP
    return total(
        times(rows.decoded(), reads / rows.count),
        {
            ("rows met" if rows.are_bytes else "rows read"): reads,
            "steps cached": reads * (rows.length // STEP),
            "ends cached": reads * (rest > 0),
            "weights of ends": reads * rest,
        },
    )


def swar_product(
    rows: WeightRows, tiling: Iterable[Pair], requant: Requant, first: int = 0
) -> Trips:
    """Tiles of pairs times four rows at a time: runtime_c/src/product_swar.h."""
    quads = ceil(rows.count, QUAD)
    piece = swar.piece(rows.length)
    lengths = [min(piece, rows.length - at) for at in range(0, rows.length, piece)]
    steps = sum(ceil(length, STEP) for length in lengths)
    words = sum(length // 4 for length in lengths)
    aligned = at_words(rows.length) if rows.are_bytes else 1.0
    parts: list[Trips] = []
    for count, size in tiling:
        parts.append(
            times(
                total(
                    rows.decoded(),
                    {
                        "tiles": 1,
                        "quads": quads,
                        ("rows met" if rows.are_bytes else "rows read"): rows.count * len(lengths),
                        "words cached": rows.count * words * aligned,
                        "bytes cached": rows.count * words * (1.0 - aligned),
                        "ends cached": quads * QUAD * (2 * steps) - rows.count * words,
                        "sums": quads * len(lengths) * size,
                        "steps": quads * steps * size,
                        "channels": rows.count,
                    },
                    loaded(requant, rows.count),
                    windowed(requant, first, rows.count, size),
                ),
                count,
            )
        )
    return total(*parts)


def widened(vectors: int, length: int, stride: int) -> Trips:
    """Inputs as pairs of 16 bits, `stride` bytes from one vector to the next."""
    words = length // 4
    aligned = at_words(stride)
    return {
        "vectors widened": vectors,
        "words widened": vectors * words * aligned,
        "bytes widened": vectors * words * (1.0 - aligned),
        "ends widened": vectors * (2 * ceil(length, STEP) - words),
    }


def helium_product(
    rows: WeightRows, vectors: int, requant: Requant, panels: int | None = None
) -> Trips:
    """Vectors times all rows: runtime_c/src/product_mve.h."""
    if helium_needs_chunks(rows):
        return total(
            *(
                times(_helium_chunks(rows, size, requant), count)
                for count, size in tiles(vectors, MAX_TILE)
            )
        )
    panels = helium_panels(rows) if panels is None else panels
    return total(helium_decoded(rows), helium_rows(rows, vectors, requant), {"panels": panels})


def helium_needs_chunks(rows: WeightRows) -> bool:
    """Four rows are too long for the cache, which then takes chunks of a row."""
    return rows.length > PANEL_BYTES // 2 and not rows.are_bytes


def helium_panels(rows: WeightRows) -> int:
    """How often the cache is filled."""
    return (
        1 if rows.are_bytes else ceil(rows.count, QUAD * max(1, PANEL_BYTES // rows.length // QUAD))
    )


def helium_decoded(rows: WeightRows) -> Trips:
    """All rows as int8, zeros included."""
    scattered = {"weights cleared": rows.count * rows.length} if rows.is_sparse else {}
    return total(rows.decoded(), scattered)


def helium_rows(rows: WeightRows, vectors: int, requant: Requant) -> Trips:
    """A tile of vectors times rows that are decoded."""
    fours, left = divmod(rows.count, QUAD)
    turns = ceil(rows.length, LANES)
    if vectors == 1 and fours:
        swept = {"fours of one": fours, "turns of one": fours * turns, "vectors of one": 1}
    else:
        triples, rest = divmod(vectors, 3)
        is_up = requant.clamp_min >= requant.zero_point and int(requant.exponent.max()) <= 0
        swept = {
            "fours": fours,
            "fours with triples": fours * (triples > 0),
            "triples": fours * triples * (not is_up),
            "triples rounding up": fours * triples * is_up,
            "turns of triples": 2 * fours * triples * turns,
            "singles": fours * rest * (not is_up),
            "singles rounding up": fours * rest * is_up,
            "turns of singles": fours * rest * turns,
        }
    return total(swept, loaded(requant, fours), times(_helium_left(vectors, turns), left))


def _helium_left(vectors: int, turns: int) -> Trips:
    """One row that is left behind the last four."""
    dots = sum(count * (size // QUAD + size % QUAD) for count, size in tiles(vectors, MAX_TILE))
    return {
        "rows left": 1,
        "dots left": dots,
        "turns left": dots * turns,
        "outputs left": vectors,
    }


def _helium_chunks(rows: WeightRows, vectors: int, requant: Requant) -> Trips:
    """A tile times rows that are decoded a chunk at a time."""
    dots = vectors // QUAD + vectors % QUAD
    lengths = [min(CHUNK, rows.length - at) for at in range(0, rows.length, CHUNK)]
    turns = sum(ceil(length, LANES) for length in lengths)
    return total(
        helium_decoded(rows),
        loaded(requant, rows.count),
        {
            "rows in chunks": rows.count,
            "chunks": rows.count * len(lengths),
            "dots of chunks": rows.count * len(lengths) * dots,
            "turns left": rows.count * dots * turns,
            "outputs left": rows.count * vectors,
        },
    )


# -- Windows --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """A sliding window over an image.

    Parameters
    ----------
    size, output : tuple of int (h, w)
    kernel, stride, dilation : tuple of int (h, w)
    rows_inside, columns_inside : int array of shape (oh,) or (ow,)
        Taps of each window that lie in the image, along one axis.
    """

    size: Pair
    output: Pair
    kernel: Pair
    stride: Pair
    dilation: Pair
    rows_inside: Array
    columns_inside: Array

    @classmethod
    def of(
        cls,
        image: TensorType,
        kernel: Pair,
        stride: Pair,
        dilation: Pair = (1, 1),
        padding: Padding = (0, 0, 0, 0),
    ) -> "Windows":
        rows, columns = taps_inside(image.shape, kernel, stride, dilation, padding)
        return cls(
            size=(image.shape[0], image.shape[1]),
            output=(len(rows), len(columns)),
            kernel=kernel,
            stride=stride,
            dilation=dilation,
            rows_inside=rows.sum(axis=1),
            columns_inside=columns.sum(axis=1),
        )

    def turned(self) -> "Windows":
        """The same with columns for rows."""
        return Windows(
            size=self.size[::-1],
            output=self.output[::-1],
            kernel=self.kernel[::-1],
            stride=self.stride[::-1],
            dilation=self.dilation[::-1],
            rows_inside=self.columns_inside,
            columns_inside=self.rows_inside,
        )

    @property
    def pixels(self) -> int:
        """Of the output."""
        return self.output[0] * self.output[1]

    @property
    def taps(self) -> int:
        """Of one window."""
        return self.kernel[0] * self.kernel[1]

    @property
    def taps_inside(self) -> int:
        """Of all windows together, without padding."""
        return int(self.rows_inside.sum() * self.columns_inside.sum())

    @property
    def whole_rows(self) -> int:
        """WeightRows of outputs whose windows stay inside above and below."""
        return int((self.rows_inside == self.kernel[0]).sum())

    @property
    def whole_columns(self) -> int:
        return int((self.columns_inside == self.kernel[1]).sum())

    @property
    def whole(self) -> int:
        """Output pixels whose windows lie inside."""
        return self.whole_rows * self.whole_columns

    def gathered(self, channels: int, pixel: int) -> Trips:
        """Patches of all pixels: runtime_c/src/conv2d/gather.h.

        Parameters
        ----------
        channels, pixel : int
            Of the group, and of the image.
        """
        kh, kw = self.kernel
        is_in_one_piece = self.dilation[1] == 1 and channels == pixel
        rows = int(self.rows_inside.sum()) * self.output[1]
        at_borders = rows - self.whole * kh * is_in_one_piece
        run = kw * channels if is_in_one_piece else channels
        aligned = at_words(pixel) * at_words(run)
        words = self.taps_inside * channels / WORD * aligned * (run >= WORD)
        inside = self.taps_inside * channels
        return {
            "patches": self.pixels,
            "patches at borders": self.pixels - self.whole * is_in_one_piece,
            "copies": self.whole * kh if is_in_one_piece else rows * kw,
            "rows gathered": at_borders,
            "rows filled": self.pixels * kh - rows,
            "words copied": words,
            "bytes copied": inside - WORD * words,
            "bytes filled": self.pixels * self.taps * channels - inside,
        }

    def pooled(self, channels: int, lanes: int) -> Trips:
        """Windows of which each channel is reduced, `lanes` channels at a time."""
        blocks = ceil(channels, lanes)
        rows = int(self.rows_inside.sum()) * self.output[1]
        return {
            "windows": self.pixels,
            "taps left out": self.pixels * self.taps - self.taps_inside,
            "blocks": self.pixels * blocks,
            "rows of windows": rows * blocks,
            "taps": self.taps_inside * blocks,
            "outputs": self.pixels * channels,
        }

    def pooled_in_runs(self, channels: int, most: int) -> Trips:
        """Windows side by side, eight channels at a time or one by one: runtime_c/src/pool.h.

        Parameters
        ----------
        channels : int
        most : int
            Taps of a window beyond which its channels are reduced one by one, as fewer than four
            channels are.
        """
        rows, columns, kernel = self.rows_inside, self.columns_inside, self.kernel[1]
        if self.output[1] == 1:
            rows, columns, kernel = columns, rows, self.kernel[0]
        whole = int((columns == kernel).sum())
        runs = len(rows) * (len(columns) - whole + (whole > 0))
        taps = np.outer(rows, columns)
        rows_of_taps = np.outer(rows, columns > 0)
        are_alone = (taps > most) | (channels < 4)
        have_more = ~are_alone & (columns != 2) & (columns != 3)
        blocks = 0 if most == 0 or channels < 4 else ceil(channels, 8)
        alone = 8 * blocks or channels
        return {
            "rows": len(rows),
            "runs": runs,
            "blocks": runs * blocks,
            "channels alone": runs * channels * (blocks == 0),
            "windows": int((~are_alone).sum()) * blocks,
            "rows of two taps": int(rows_of_taps[~are_alone & (columns == 2)].sum()) * blocks,
            "rows of three taps": int(rows_of_taps[~are_alone & (columns == 3)].sum()) * blocks,
            "rows of taps": int(rows_of_taps[have_more].sum()) * blocks,
            "taps": int(taps[have_more].sum()) * blocks,
            "windows alone": int(are_alone.sum()) * alone,
            "rows alone": int(rows_of_taps[are_alone].sum()) * alone,
            "taps alone": int(taps[are_alone].sum()) * alone,
        }


# -- Moving bytes ---------------------------------------------------------------------------------


def copies(to: Array, source: Array, sizes: Array | int) -> Trips:
    """Calls of memcpy: words where both ends stand at one, else bytes.

    Parameters
    ----------
    to, source : int array of shape (n,)
        Distances from a word.
    sizes : int or int array of shape (n,)
    """
    sizes = np.broadcast_to(sizes, to.shape)
    aligned = (to % 4 == 0) & (source % 4 == 0)
    words = int((sizes[aligned] // 4).sum())
    return {
        "copies": len(to),
        "copies of words": int(aligned.sum()),
        "words copied": words,
        "bytes copied": int(sizes.sum()) - 4 * words,
    }


def fills(to: Array, sizes: Array | int) -> Trips:
    """Calls of memset: words once the address is that of one."""
    sizes = np.broadcast_to(sizes, to.shape)
    ahead = np.minimum(-to % 4, sizes)
    words = int(((sizes - ahead) // 4).sum())
    return {
        "fills": len(to),
        "words filled": words,
        "bytes filled": int(sizes.sum()) - 4 * words,
    }


def walked(extent: Shape, stride: Shape) -> Trips:
    """Nested loops over a tensor, the innermost last: runtime_c/src/walk.h."""
    count = extent[-1]
    starts = np.zeros(1, np.int64)
    for n, step in zip(extent[:-1], stride[:-1], strict=True):
        starts = (starts[:, None] + step * np.arange(n)).reshape(-1)
    if stride[-1] == 1:
        return copies(count * np.arange(len(starts)), starts, count)
    return {"rows": len(starts), "elements": len(starts) * count}
