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
from codeq_compile.ops.base import (
    CHUNK,
    PANEL_BYTES,
    ROW_CACHE,
    SPARSE,
    Padding,
    Pair,
    Requant,
    taps_inside,
)

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


def chunk_lengths(length: int) -> list[int]:
    """Weights of each chunk of a row."""
    return [min(CHUNK, length - at) for at in range(0, length, CHUNK)]


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

    def pieces(self, length: int = CHUNK) -> Array:
        """Weights of each piece of each row in turn."""
        lengths = [min(length, self.length - at) for at in range(0, self.length, length)]
        return np.tile(lengths, self.count)

    def decoded(self, sizes: Array | None = None) -> Trips:
        """All rows, once. [F3]

        Parameters
        ----------
        sizes : int array of shape (n,), optional
            Weights of each call of the decoder, in turn; as `pieces` unless given.
        """
        if self.are_bytes:
            return {}
        sizes = self.pieces() if sizes is None else sizes
        size = self.count * self.length
        prefix, count = ("nonzeros", self.nonzeros) if self.is_sparse else ("weights", size)
        packed = self.packed
        if packed.packing == "dense":
            trips = dict(dense_decoded(packed.bits, np.cumsum(sizes) - sizes, sizes))
        elif packed.packing == "csr":
            trips = self._lists_decoded()
        else:
            trips = {
                f"{prefix} decoded, {packed.packing}": count,
                f"stream bytes decoded, {packed.packing}": self.stream_bytes,
            }
        trips[f"streams decoded, {packed.packing}"] = 1
        trips[f"chunks decoded, {packed.packing}"] = len(sizes)
        if packed.levels is not None:
            trips[f"{prefix} looked up"] = count
        elif packed.gap:
            trips[f"{prefix} mapped"] = count
        if packed.packing == "bitmask":
            trips["masks decoded"] = int((-(-sizes // 16)).sum())
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

    def _lists_decoded(self) -> dict[str, float]:
        """Lists of signs, or of groups of pairs: csr.c."""
        counts = list_counts(self.packed)
        if self.packed.bits == 2:
            return {
                "nonzeros decoded, csr of signs": self.nonzeros,
                "lists decoded, csr of signs": len(counts),
            }
        group = pairs_of_word(self.packed)
        words = -(-counts // group)
        # where a division is no instruction it takes longer the longer its quotient is
        quotients = np.arange(counts.max(initial=0) + 1) // group
        bits = np.cumsum(np.ceil(np.log2(quotients + 1)))
        return {
            "nonzeros decoded, csr of codes": self.nonzeros,
            "nonzeros of pairs decoded, csr of codes": 2 * int(counts.sum()),
            "lists decoded, csr of codes": len(counts),
            "words decoded, csr of codes": int((words - 1).clip(min=0).sum()),
            "quotient bits decoded, csr of codes": float(bits[(counts - 1).clip(min=0)].sum()),
        }

    def quads(self, first: int = 0, *, fill: bool = False) -> list[list[int]]:
        """These rows by fours, from row `first` of the stream on.

        With `fill` all are four: the last ones overlap those before, and if there are fewer the
        last one is repeated.
        """
        end = first + self.count
        starts = range(first, end, QUAD)
        if not fill:
            return [list(range(start, min(start + QUAD, end))) for start in starts]
        whole = [max(first, min(start, end - QUAD)) for start in starts]
        return [[min(start + i, end - 1) for i in range(QUAD)] for start in whole]

    def followed(self, quads: list[list[int]], piece: int, passes: int = 1) -> float:
        """How often these rows are decoded in so many passes over them, four at a time.

        Of a prefix code what stands between the last bookmark before a piece and the piece is
        decoded as well: rows.c.

        Parameters
        ----------
        quads : list of list of int
            Rows; those before the first one have been read.
        piece : int
            Weights of a row that are read at a time.
        """
        often = passes * sum(map(len, quads)) / self.count
        if self.packed.packing != "huffman":
            return often
        marks = {row % QUAD: (row + 1) * self.length for row in range(quads[0][0])}
        before, behind = (self._skipped(marks, quads, piece) for _ in range(2))
        return often + (before + (passes - 1) * behind) / (self.count * self.length)

    def _skipped(self, marks: dict[int, int], quads: list[list[int]], piece: int) -> int:
        """Weights between bookmarks and pieces in one pass, which leaves its own bookmarks."""
        skipped = 0
        for quad in quads:
            for at in range(0, self.length, piece):
                for row in quad:
                    index = row * self.length + at
                    skipped += index - max([0, *(m for m in marks.values() if m <= index)])
                    marks[row % QUAD] = index + min(piece, self.length - at)
        return skipped

    def sought(self, piece: int) -> Trips:
        """What decoding them adds where each piece of a row is found on its own: rows.h."""
        if self.are_bytes:
            return {}
        starts = self.length * np.arange(self.count)[:, None] + np.arange(0, self.length, piece)
        if self.packed.packing == "ternary":
            # of the byte that a row begins in, five weights each
            ahead = starts % 5
            return {
                "weights decoded, ternary": int(ahead.sum()),
                "stream bytes decoded, ternary": int((ahead > 0).sum()),
                "rows read, ternary": starts.size,
                "rows read within a byte, ternary": int((ahead > 0).sum()),
            }
        if self.packed.packing == "huffman":
            longest = self.packed.data[0] & 31
            return {
                "rows followed": starts.size,
                "lengths of rows followed": starts.size * longest,
            }
        within = starts * self.packed.bits % 8 > 0
        return {"rows read": starts.size, "rows read within a byte": int(within.sum())}


def dense_decoded(bits: int, starts: Array, sizes: Array) -> Trips:
    """Fields from some weights on: by threes, what is left one by one.  Fields of 8 bits are bytes.

    Parameters
    ----------
    starts, sizes : int array of shape (n,)
        First weight and number of weights of each call of the decoder.
    """
    if bits == 8:
        return {}
    threes, left = sizes // 3, sizes % 3
    ahead = (starts + 3 * threes) * bits % 8
    return {
        "threes decoded, dense": int(threes.sum()),
        "weights decoded, dense": int(left.sum()),
        "rests decoded, dense": int((left > 0).sum()),
        "ends within a byte decoded, dense": int((ahead > 0).sum()),
        "bytes decoded, dense": int((-(-(left * bits + ahead) // 8) - (ahead > 0)).sum()),
    }


def list_counts(packed: Packed) -> Array:
    """The number with which each list of places begins. [F12]"""
    counts, at = [], 0
    while at < len(packed.data):
        count = packed.data[at]
        words = max(1, ceil(count, pairs_of_word(packed)))
        counts.append(count)
        at += 1 + (count if packed.bits == 2 else 2 * count + WORD * words)
    return np.array(counts)


def pairs_of_word(packed: Packed) -> int:
    """Of records, whose codes one word holds. [F12]"""
    return 16 // packed.bits


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
    short = is_short(requant)[first : first + channels]
    return sum(bool(four.all()) for four in quads_of(short))


def rectified_quads(requant: Requant, channels: int, products: int) -> int:
    """Groups of four channels that dsp kernels store in the rectifying form: rectify_dsp.h."""
    if requant.clamp_min < requant.zero_point:
        return 0
    can = can_rectify(requant, products)[:channels]
    return sum(bool(four.all()) for four in quads_of(can))


def quads_of(channels: NDArray[np.bool_]) -> list[NDArray[np.bool_]]:
    """Channels by fours, the last ones again where fewer are left; none of fewer than four."""
    count = len(channels)
    starts = range(0, count if count >= QUAD else 0, QUAD)
    return [channels[min(start, count - QUAD) :][:QUAD] for start in starts]


def can_rectify(requant: Requant, products: int) -> NDArray[np.bool_]:
    """Channels of so many products whose factors fit the rectifying form."""
    left = FRACTION + 1 + factors(requant)[1]
    most = (INT32_MAX >> left.clip(0, 31)) - products * 128 * 128
    can: NDArray[np.bool_] = (left >= 2) & (left <= MAX_LEFT)
    return can & (np.abs(requant.bias.astype(np.int64)) < most)


def rectified_loads(requant: Requant, channels: int, products: int) -> Trips:
    """Channels by fours, up to the first one that cannot be rectified; then as they are, those of
    fours that have one: cq_rectify_quad() of quad_dsp.c.
    """
    is_relu = requant.clamp_min >= requant.zero_point
    fours = quads_of(can_rectify(requant, products)) if is_relu else []
    tried = sum(QUAD if four.all() else int(four.argmin()) + 1 for four in fours)
    rectified = sum(bool(four.all()) for four in fours)
    unshifted = min(channels, QUAD) * (ceil(channels, QUAD) - rectified)
    return total(
        loaded(requant, tried + unshifted),
        {"channels tried, rectifying": tried, "channels unshifted": unshifted},
    )


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
        return {"outputs stored, computed": channels * count}
    windows = int(fits.sum())
    right, m = -exponent[fits], multiplier[fits]
    missing = 1 + ((right > 7) << 16) + ((m % (1 << 8 + np.minimum(right, 7)) > 0) << 16)
    if requant.clamp_min < requant.zero_point:
        missing += 1 << 23 >> right
    # a ReLU leaves about half of the outputs below the window
    is_relu = requant.clamp_min >= requant.zero_point
    return {
        "windows opened": windows,
        "outputs stored, rectified" if is_relu else "outputs stored, in windows": windows * count,
        "outputs stored, left open": float(missing.sum()) / (1 << 23) * count,
        "outputs stored, computed": (channels - windows) * count,
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
            "chunks met": turns * rows.count * chunks * rows.are_bytes,
            "pairs": pairs * rows.count * chunks,
            "singles": singles * rows.count * chunks,
            f"{prefix} times pairs": pairs * used,
            f"{prefix} times singles": singles * used,
            "outputs": (2 * pairs + singles) * rows.count,
        },
    )


def cached_rows(rows: WeightRows, first: int = 0, passes: int = 1) -> Trips:
    """Rows from `first` on into the row cache of a dsp kernel, four at a time:
    runtime_c/src/product_dsp.h.
    """
    rest = rows.length % STEP
    quads = rows.quads(first, fill=True)
    reads = passes * QUAD * len(quads)
    return total(
        times(rows.decoded(rows.pieces(ROW_CACHE)), rows.followed(quads, ROW_CACHE, passes)),
        times(rows.sought(ROW_CACHE), reads / rows.count),
        {
            "rows met": reads * rows.are_bytes,
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
    tiling = list(tiling)
    passes = sum(count for count, _ in tiling)
    followed = rows.followed(rows.quads(first), piece, passes)
    lengths = [min(piece, rows.length - at) for at in range(0, rows.length, piece)]
    steps = sum(ceil(length, STEP) for length in lengths)
    words = sum(length // 4 for length in lengths)
    aligned = at_words(rows.length) if rows.are_bytes else 1.0
    parts = [times(rows.decoded(rows.pieces(piece)), followed)]
    for count, size in tiling:
        parts.append(
            times(
                total(
                    rows.sought(piece),
                    {
                        "tiles": 1,
                        "quads": quads,
                        "rows met": rows.count * len(lengths) * rows.are_bytes,
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


def helium_product(rows: WeightRows, vectors: int, requant: Requant) -> Trips:
    """Vectors times all rows: runtime_c/src/product_mve.h."""
    decoded = helium_decoded(rows)
    if helium_needs_chunks(rows):
        return total(
            *(
                times(total(decoded, _helium_chunks(rows, size, requant)), count)
                for count, size in tiles(vectors, MAX_TILE)
            )
        )
    panels = helium_panels(rows)
    return total(decoded, helium_rows(rows, vectors, requant), {"panels": panels})


def helium_needs_chunks(rows: WeightRows) -> bool:
    """Four rows are too long for the cache, which then takes chunks of a row."""
    return rows.length > PANEL_BYTES // 2 and not rows.are_bytes


def helium_panels(rows: WeightRows) -> int:
    """How often the cache is filled."""
    return 1 if rows.are_bytes else ceil(rows.count, _panel_rows(rows))


def _panel_rows(rows: WeightRows) -> int:
    """Rows that the cache holds."""
    return QUAD * max(1, PANEL_BYTES // rows.length // QUAD)


def helium_decoded(rows: WeightRows) -> Trips:
    """All rows as int8, zeros included; dense packings by lanes: decode/lanes.c."""
    if rows.is_sparse:
        cleared = {"weights cleared": rows.count * rows.length}
        return total(rows.decoded(helium_sizes(rows)), cleared)
    packed, start = rows.packed, 0
    if packed.packing == "huffman" or packed.bits == 8:
        return rows.decoded(helium_sizes(rows))
    lanes = _ternary_lanes if packed.packing == "ternary" else _dense_lanes
    parts: list[Trips] = []
    for size in helium_sizes(rows).tolist():
        parts.append(lanes(packed, start, size))
        start += size
    return total(*parts)


def _dense_lanes(packed: Packed, start: int, size: int) -> Trips:
    """Fields of 2 and of 4 bits that begin at a byte sixteen at a time, others by eight."""
    is_quick = packed.bits in (2, 4) and start * packed.bits % 8 == 0
    lanes = LANES if is_quick else LANES // 2
    turns, left = divmod(size, lanes)
    behind = np.array([start + turns * lanes])
    trips: dict[str, float] = {
        f"turns decoded, dense of {packed.bits if is_quick else 'other'} bits": turns,
        "chunks decoded, dense": left > 0,
    }
    if left:
        trips |= dense_decoded(packed.bits, behind, np.array([left]))
    if packed.levels is not None or packed.gap:
        used = "looked up" if packed.levels is not None else "mapped"
        trips |= {f"turns {used}": ceil(turns * lanes, LANES), f"weights {used}": left}
    return trips


def _ternary_lanes(packed: Packed, start: int, size: int) -> Trips:
    """Sixteen bytes of five weights each at a time, if there are so many."""
    ahead = min(-start % 5, size)
    whole = (size - ahead) // 5
    turns = ceil(whole, LANES) if whole >= LANES else 0
    left = size - ahead - 5 * whole * (turns > 0)
    return {
        "turns decoded, ternary": turns,
        "chunks decoded, ternary": 2,
        "weights decoded, ternary": ahead + left,
        "stream bytes decoded, ternary": ceil(left, 5),
    }


def helium_sizes(rows: WeightRows) -> Array:
    """Weights of each call of the decoder: panels, or chunks of rows."""
    if helium_needs_chunks(rows):
        return rows.pieces()
    sizes = [
        size
        for count, panel in tiles(rows.count, _panel_rows(rows))
        for _ in range(count)
        for times, size in tiles(panel * rows.length, CHUNK if rows.is_sparse else 1 << 31)
        for _ in range(times)
    ]
    return np.array(sizes)


def helium_rows(rows: WeightRows, vectors: int, requant: Requant) -> Trips:
    """A tile of vectors times rows that are decoded."""
    fours, left = divmod(rows.count, QUAD)
    turns = ceil(rows.length, LANES)
    swept: dict[str, float]
    if vectors == 1 and fours:
        once: float | None = helium_panels(rows)
        swept = {"fours of one": fours, "turns of one": fours * turns, "vectors of one": 1}
    else:
        triples, rest = divmod(vectors, 3)
        once = None
        exponents = factors(requant)[1].reshape(-1, rows.count)[:, : QUAD * fours]
        are_right = exponents.reshape(-1, QUAD).max(axis=1) <= 0
        is_relu = requant.clamp_min >= requant.zero_point
        # of the groups, which are alike
        up = fours * float(are_right.mean()) * is_relu if fours else 0.0
        swept = {
            "fours": fours,
            "fours with triples": fours * (triples > 0),
            "triples": (fours - up) * triples,
            "triples rounding up": up * triples,
            "turns of triples": 2 * fours * triples * turns,
            "singles": (fours - up) * rest,
            "singles rounding up": up * rest,
            "turns of singles": fours * rest * turns,
        }
    return total(swept, loaded(requant, fours, once), times(_helium_left(vectors, turns), left))


def _helium_left(vectors: int, turns: int) -> Trips:
    """One row that is left behind the last four."""
    tiling = tiles(vectors, MAX_TILE)
    of_four = sum(count * (size // QUAD) for count, size in tiling)
    of_one = sum(count * (size % QUAD) for count, size in tiling)
    return {
        "rows left": 1,
        "dots of four": of_four,
        "dots of one": of_one,
        "turns left": (of_four + of_one) * turns,
        "outputs left": vectors,
    }


def _helium_chunks(rows: WeightRows, vectors: int, requant: Requant) -> Trips:
    """A tile times rows that are decoded a chunk at a time."""
    of_four, of_one = divmod(vectors, QUAD)
    lengths = chunk_lengths(rows.length)
    turns = sum(ceil(length, LANES) for length in lengths)
    return total(
        loaded(requant, rows.count),
        {
            "rows in chunks": rows.count,
            "dots of four": rows.count * len(lengths) * of_four,
            "dots of one": rows.count * len(lengths) * of_one,
            "turns left": rows.count * (of_four + of_one) * turns,
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
    origin : tuple of int (y, x)
        First tap of the first window: above or beside the image where there is padding.
    rows_inside, columns_inside : int array of shape (oh,) or (ow,)
        Taps of each window that lie in the image, along one axis.
    """

    size: Pair
    output: Pair
    kernel: Pair
    stride: Pair
    dilation: Pair
    origin: Pair
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
            origin=(-padding[0], -padding[2]),
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
            origin=self.origin[::-1],
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
    def left_out(self) -> int:
        """Of the window of each row of outputs, and of each output's columns: window.h."""
        (kh, kw), (oh, ow) = self.kernel, self.output
        rows, columns = int(self.rows_inside.sum()), int(self.columns_inside.sum())
        return oh * kh - rows + oh * (ow * kw - columns)

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

    def gathered(self, channels: int, pixel: int, tile: int = 1) -> Trips:
        """Patches of all pixels, of each group: runtime_c/src/conv2d/gather.h.

        Parameters
        ----------
        channels, pixel : int
            Of the group, and of the image.
        tile : int
            Patches that lie one behind the other, from a word on.
        """
        groups = pixel // channels
        # groups that are a word apart are alike
        offsets = channels * np.arange(min(groups, WORD))
        is_in_one_piece = self.dilation[1] == 1 and groups == 1
        found = [
            self._pieces(channels, pixel, tile, offset, is_in_one_piece=is_in_one_piece)
            for offset in offsets.tolist()
        ]
        return times(total(*found), groups / len(offsets))

    def _pieces(
        self, channels: int, pixel: int, tile: int, offset: int, *, is_in_one_piece: bool
    ) -> Trips:
        """Of one group, `offset` bytes behind the start of a pixel."""
        (kh, kw), (oh, ow), width = self.kernel, self.output, self.size[1]
        y, x = (
            start + step * np.arange(count)[:, None] + apart * np.arange(taps)
            for start, step, count, apart, taps in zip(
                self.origin, self.stride, self.output, self.dilation, self.kernel, strict=True
            )
        )
        in_tile = np.arange(oh * ow).reshape(oh, 1, ow) % tile
        # axes: rows of outputs, rows of windows, columns of outputs
        to = channels * (self.taps * in_tile + kw * np.arange(kh)[:, None])
        is_inside = (y >= 0) & (y < self.size[0])
        above_or_below = fills(to[~is_inside].reshape(-1), kw * channels)
        to, row = to[is_inside], width * y[is_inside][:, None]
        if not is_in_one_piece:
            to, at = to[..., None] + channels * np.arange(kw), pixel * (row[..., None] + x) + offset
            met = np.broadcast_to((x >= 0) & (x < width), to.shape)
            return total(
                above_or_below,
                copies(to[met], at[met], channels),
                fills(to[~met], channels),
                {"patches": self.pixels, "rows gathered apart": to[..., 0].size},
            )
        left, right = (-x[:, 0]).clip(0, kw), (x[:, -1] + 1 - width).clip(0, kw)
        sizes = channels * (kw - left - right)
        met = sizes > 0
        to, at = to + channels * left, pixel * (row + x[:, 0] + left)
        is_whole = (is_inside.all(axis=1, keepdims=True) & (left + right == 0))[:, None]
        beside = ~np.broadcast_to(is_whole, (oh, kh, ow))[is_inside]
        return total(
            above_or_below,
            copies(to[:, met].reshape(-1), at[:, met].reshape(-1), np.tile(sizes[met], len(to))),
            fills((to - channels * left)[beside], np.tile(channels * left, (len(to), 1))[beside]),
            fills((to + sizes)[beside], np.tile(channels * right, (len(to), 1))[beside]),
            {
                "patches": self.pixels,
                "patches at borders": self.pixels - self.whole,
                "rows gathered": int(beside.sum()),
            },
        )

    def pooled(self, channels: int, lanes: int) -> Trips:
        """Windows of which each channel is reduced, `lanes` channels at a time."""
        blocks = ceil(channels, lanes)
        rows = int(self.rows_inside.sum()) * self.output[1]
        return {
            "rows of outputs": self.output[0],
            "windows": self.pixels,
            "taps left out": self.left_out,
            "blocks": self.pixels * blocks,
            "rows of windows": rows * blocks,
            "taps": self.taps_inside * blocks,
            "outputs": self.pixels * channels,
        }

    def pooled_in_runs(self, channels: int, most: int, unrolled: tuple[int, ...] = ()) -> Trips:
        """Windows side by side, eight channels at a time or one by one: runtime_c/src/pool.h.

        Parameters
        ----------
        channels : int
        most : int
            Taps of a window beyond which its channels are reduced one by one, as fewer than four
            channels are.
        unrolled : tuple of int
            Taps beside each other for which there is a loop of its own.
        """
        windows = self.turned() if self.output[1] == 1 else self
        rows, columns, kernel = windows.rows_inside, windows.columns_inside, windows.kernel[1]
        whole = int((columns == kernel).sum())
        runs = len(rows) * (len(columns) - whole + (whole > 0))
        taps = np.outer(rows, columns)
        rows_of_taps = np.outer(rows, columns > 0)
        are_alone = (taps > most) | (channels < 4)
        have_more = ~are_alone & ~np.isin(columns, unrolled)
        blocks = 0 if most == 0 or channels < 4 else ceil(channels, 8)
        alone = 8 * blocks or channels
        found: dict[str, float] = {
            "rows": len(rows),
            "taps left out": windows.left_out,
            "runs": runs,
            "blocks": runs * blocks,
            "channels alone": runs * channels * (blocks == 0),
            "windows": int(have_more.sum()) * blocks,
            "rows of taps": int(rows_of_taps[have_more].sum()) * blocks,
            "taps": int(taps[have_more].sum()) * blocks,
            "windows alone": int(are_alone.sum()) * alone,
            "rows alone": int(rows_of_taps[are_alone].sum()) * alone,
            "taps alone": int(taps[are_alone].sum()) * alone,
        }
        for count in unrolled:
            are_so_many = ~are_alone & (columns == count)
            found[f"windows of {count} columns"] = int(are_so_many.sum()) * blocks
            found[f"rows of {count} taps"] = int(rows_of_taps[are_so_many].sum()) * blocks
        return found


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
        "memcpy, words": words,
        "memcpy, bytes": int(sizes.sum()) - 4 * words,
    }


def fills(to: Array, sizes: Array | int) -> Trips:
    """Calls of memset: words once the address is that of one."""
    sizes = np.broadcast_to(sizes, to.shape)
    ahead = np.minimum(-to % 4, sizes)
    words = int(((sizes - ahead) // 4).sum())
    return {
        "fills": int((sizes > 0).sum()),
        "fills of nothing": int((sizes == 0).sum()),
        "fills of words": int((sizes - ahead >= 4).sum()),
        "memset, bytes ahead": int(ahead.sum()),
        "memset, words": words,
        "memset, bytes": int((sizes - ahead).sum()) - 4 * words,
    }


def walked(extent: Shape, stride: Shape) -> Trips:
    """Nested loops over a tensor, the innermost last: runtime_c/src/walk.h. "loops" are those over
    rows.
    """
    count = extent[-1]
    starts = np.zeros(1, np.int64)
    for n, step in zip(extent[:-1], stride[:-1], strict=True):
        starts = (starts[:, None] + step * np.arange(n)).reshape(-1)
    loops = {"loops": math.prod(extent[:-2])}
    if stride[-1] == 1:
        return total(loops, copies(count * np.arange(len(starts)), starts, count))
    return total(loops, {"rows": len(starts), "elements": len(starts) * count})
