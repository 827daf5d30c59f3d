# SPDX-License-Identifier: Apache-2.0
"""How a sparse convolution is cut: twin of runtime_c/src/conv2d_sparse.  [conv2d-C7]"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from codeq_compile.ir.op import Array
from codeq_compile.numerics import Int8Array
from codeq_compile.ops.base import CHUNK, Pair, align4
from codeq_compile.ops.bounds import lane_budget

LANES = 4
"""Pixels a word."""
GROUP = 4
"""Words that are computed together."""
LANE_BUDGET = lane_budget(high=128)
"""Largest sum of magnitudes whose signed lane holds any sum, 128 being the largest magnitude of an
input; CQ_LANE_BUDGET of runtime_c."""
ROW_BYTES = 32
"""Of `struct cq_row`."""
MAX_ENTRIES = 0xFFFF
"""Of a stack."""
_ADD, _GROUP, _RUN, _DECODE, _READ, _USE, _GATHER, _MOVE = 15, 125, 120, 20, 250, 90, 9, 2
"""Instructions on Cortex-M4, rounded: a weight for a group of sixteen pixels; an output channel of
a group, and of a run of groups; a weight and a row that are decoded; a row that is used for a
strip; a word that is gathered, and that is moved."""
DIRECT = 3
"""Words that are computed together where weights are used as they are read."""
RUN = 32
"""Words of a row that are stored together, at most."""
_DIRECT_MOST = 15
"""Words of an image without lists, at most."""
_DIRECT, _DIRECT_ROW, _DIRECT_WORD = 15, 200, 35
"""The same of twelve pixels: a weight; a row, and a word of its outputs."""
_FEW = 4
"""Weights of 2 in a row that are multiplied as any other."""
_NEAR = 1.06
"""A cut that costs so many times the least is as good, if it needs less scratch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """A convolution as strips see it.

    Parameters
    ----------
    kernel, stride, dilation : tuple of int (h, w)
    channels : int
        Input channels of a group.
    output : tuple of int (h, w)
    is_flat : bool
        Pointwise with stride 1 and no padding: the image is one row.
    """

    kernel: Pair
    stride: Pair
    dilation: Pair
    channels: int
    output: Pair
    is_flat: bool

    @property
    def image(self) -> Pair:
        """Rows and columns of the output; a flat image is one row."""
        return (1, self.output[0] * self.output[1]) if self.is_flat else self.output

    @property
    def words(self) -> Pair:
        """Rows and columns of output words in one of the four parts."""
        h, w = self.image
        above = -(-h // LANES), w
        beside = h, -(-w // LANES)
        return min(above, beside, key=lambda part: part[0] * -(-part[1] // GROUP))

    def strip_words(self, size: Pair) -> int:
        """Words of input that `size` rows and columns of output words meet, all channels."""
        return self.slots(size[0]) * self.channels * self.pitch(size[1])

    def slots(self, rows: int) -> int:
        """Rows of input words that `rows` rows of output words meet."""
        tap_step = 1 if rows == 1 else self.dilation[0]
        return (rows - 1) * self.stride[0] + (self.kernel[0] - 1) * tap_step + 1

    def pitch(self, columns: int) -> int:
        """Words of a channel in a slot that `columns` columns of output words meet."""
        reach = (self.kernel[1] - 1) * self.dilation[1] + 1
        span = (columns - 1) * self.stride[1] + reach
        return min(reach, self.stride[1]) * -(-span // self.stride[1])

    def gathers(self, size: Pair) -> tuple[int, int]:
        """Slots that are gathered, and that are moved because the strip above has them."""
        slots = self.slots(size[0])
        across = self.across(size)
        down = self.strips(size) // across
        fresh, rest = divmod(size[0] * self.stride[0], self.dilation[0] if size[0] == 1 else 1)
        if across > 1 or rest:
            fresh = slots
        fresh = min(fresh, slots)
        return across * (slots + (down - 1) * fresh), (down - 1) * (slots - fresh)

    def sizes(self) -> Iterator[Pair]:
        """Every (rows, columns) of a strip, columns a multiple of the group."""
        rows, columns = self.words
        for r in range(1, rows + 1):
            for c in range(GROUP, columns + GROUP, GROUP):
                yield r, c

    def across(self, size: Pair) -> int:
        """Strips of this size side by side."""
        return -(-self.words[1] // size[1])

    def strips(self, size: Pair) -> int:
        """Strips of this size in the image."""
        return -(-self.words[0] // size[0]) * self.across(size)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lists:
    """Entries of two bytes in each of the three stacks.

    Parameters
    ----------
    ones, twos, others : int
        For weights 1 and -1, for 2 and -2, and for the others.
    """

    ones: int
    twos: int
    others: int

    @property
    def bytes(self) -> int:
        return align4(2 * (self.ones + self.twos + self.others))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """`struct cq_sparse`: a strip of output words, and the lists that are kept.

    Parameters
    ----------
    size : tuple of int (rows, columns)
    kept : int
        Weight rows whose lists are kept: all of a group, decoded once; 1, decoded anew for each
        strip; or 0, each weight being used for the whole image as it is read.
    lists : Lists
        Room for the lists of these rows.
    is_split : bool
        Some row is more than a lane holds, and is cut into segments.
    scratch_bytes : int
    """

    size: Pair
    kept: int
    lists: Lists
    is_split: bool
    scratch_bytes: int

    def c_params(self) -> Mapping[str, int]:
        return {
            "rows": self.size[0],
            "columns": self.size[1],
            "kept": self.kept,
            "ones": self.lists.ones,
            "twos": self.lists.twos,
            "others": self.lists.others,
            "is_split": int(self.is_split),
        }


def magnitudes(weights: Int8Array, unit: int) -> Array:
    """Weights without sign, counted in units: int64 array of shape (rows, weights)."""
    return np.abs(weights.reshape(len(weights), -1).astype(np.int64)) // unit


def lists_twos(rows: Array) -> bool:
    """Whether weights of 2 and -2 have lists of their own: there are enough of them to be added in
    one doubled sum, which takes as long as four of them do otherwise.
    """
    return int((rows == 2).sum()) > _FEW * len(rows)


def list_sizes(rows: Array) -> Array:
    """Entries that each row needs, as in `Lists`: int64 array of shape (rows, 3).

    Parameters
    ----------
    rows : int64 array of shape (rows, weights)
        From `magnitudes`.
    """
    # two neighbouring segments hold more than the budget together
    segments = 1 + 2 * (rows.sum(axis=1) // (LANE_BUDGET + 1))
    least = 3 if lists_twos(rows) else 2
    ones, twos, others = ((rows == 1), (rows == 2) & (least > 2), (rows >= least))
    return np.stack(
        [
            ones.sum(axis=1) + 2 * segments,
            twos.sum(axis=1) + 2 * segments * (least > 2),
            2 * others.sum(axis=1) + 3 * segments,
        ],
        axis=1,
    )


def cuts(geometry: Geometry, rows: Array, groups: int) -> Iterator[Cut]:
    """Every way to cut a convolution.

    Parameters
    ----------
    geometry : Geometry
    rows : int64 array of shape (output channels, weights)
        From `magnitudes`.
    groups : int
        Of output channels, one after the other.
    """
    fixed = _fixed_bytes(geometry)
    in_group = len(rows) // groups
    sizes = list_sizes(rows)
    one = sizes.max(axis=0)
    all_ = sizes.reshape(groups, in_group, 3).sum(axis=1).max(axis=0)
    is_split = bool(rows.sum(axis=1).max() > LANE_BUDGET)
    for kept, entries in {1: one, in_group: all_}.items():
        if max(entries) > MAX_ENTRIES:
            continue
        room = Lists(ones=int(entries[0]), twos=int(entries[1]), others=int(entries[2]))
        for size in geometry.sizes():
            strip = 4 * geometry.strip_words(size)
            if strip <= MAX_ENTRIES:
                scratch = strip + fixed + ROW_BYTES * kept + room.bytes
                yield Cut(
                    size=size,
                    kept=kept,
                    lists=room,
                    is_split=is_split,
                    scratch_bytes=scratch,
                )


def direct_cut(geometry: Geometry, weights: Int8Array, unit: int) -> Cut | None:
    """A small image without lists; None where it is not small, or lanes might overflow."""
    columns = DIRECT * -(-geometry.words[1] // DIRECT)
    most = int(magnitudes(weights, unit).sum(axis=1).max())
    is_small = geometry.is_flat and columns <= _DIRECT_MOST
    # up to four pixels are not side by side
    if not is_small or geometry.image[1] <= LANES or most > LANE_BUDGET:
        return None
    size = (1, columns)
    return Cut(
        size=size,
        kept=0,
        lists=Lists(ones=0, twos=0, others=0),
        is_split=False,
        scratch_bytes=8 * geometry.strip_words(size) + _fixed_bytes(geometry),
    )


def _fixed_bytes(geometry: Geometry) -> int:
    """Of scratch beside the strip and the lists."""
    taps = geometry.kernel[0] * geometry.kernel[1]
    chunk = min(taps * geometry.channels, CHUNK)
    return align4(geometry.channels) + align4(2 * chunk) + 4 * taps


def best_cut(
    geometry: Geometry,
    weights: Int8Array,
    *,
    groups: int,
    unit: int,
    limit: int,
    has_gaps: bool = False,
) -> Cut | None:
    """Of the cuts with at most `limit` bytes of scratch that are about the fastest, the smallest.

    Where no cut is so small, the smallest; None if every strip is too long for 16-bit offsets.
    With `has_gaps` weights are in the packing that can be used as it is read.
    """
    possible = list(cuts(geometry, magnitudes(weights, unit), groups))
    if has_gaps and (direct := direct_cut(geometry, weights, unit)):
        possible.append(direct)
    if not possible:
        return None
    in_group = len(weights) // groups
    nonzeros = int(np.count_nonzero(weights)) // groups
    decoded = _DECODE * nonzeros + _READ * in_group
    rows, columns = geometry.words
    computed = rows * -(-columns // GROUP) * (_ADD * nonzeros + _GROUP * in_group)

    def cost(cut: Cut) -> int:
        if cut.kept == 0:
            words = cut.size[1]
            added = words // DIRECT * _DIRECT * nonzeros
            gathered = _GATHER * geometry.strip_words(cut.size)
            return added + in_group * (_DIRECT_ROW + _DIRECT_WORD * words) + gathered
        strips = geometry.strips(cut.size)
        times = 1 if cut.kept == in_group else strips
        runs = cut.size[0] * -(-cut.size[1] // RUN)
        gathered, moved = geometry.gathers(cut.size)
        slot = geometry.channels * geometry.pitch(cut.size[1])
        return (
            computed
            + times * decoded
            + strips * (_USE + _RUN * runs) * in_group
            + (_GATHER * gathered + _MOVE * moved) * slot
        )

    fitting = [cut for cut in possible if cut.scratch_bytes <= limit]
    if not fitting:
        return min(possible, key=lambda cut: (cut.scratch_bytes, cost(cut)))
    enough = _NEAR * min(map(cost, fitting))
    return min(
        (cut for cut in fitting if cost(cut) <= enough),
        key=lambda cut: (cut.scratch_bytes, cost(cut)),
    )
