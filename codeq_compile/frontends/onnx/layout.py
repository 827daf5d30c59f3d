# SPDX-License-Identifier: Apache-2.0
"""How a tensor's elements stand in memory: ONNX counts channels first, codeq stores them last.

A tensor's elements have an order in ONNX, the last axis running fastest, and another one in memory.
A layout says how both belong together; so reshapes and transposes cost nothing until a layer needs
the elements in an order of its own.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from codeq_compile.ir.types import Shape
from codeq_compile.numerics import Int64Array


@dataclass(frozen=True, slots=True)
class Layout:
    """Factors of a tensor's number of elements, and the order of the factors in memory.

    Parameters
    ----------
    extents : tuple of int
        The factors in the order of ONNX, each more than 1; an axis is one of them or several.
    order : tuple of int
        Numbers of the factors as they stand in memory, the one that runs fastest last.

    Two layouts are equal if memory is: `of` and the other makers give the fewest factors.
    """

    extents: Shape
    order: Shape

    @classmethod
    def of(cls, shape: Sequence[int], axes: Sequence[int]) -> "Layout":
        """That of a tensor whose axes stand in memory in this order."""
        real = [axis for axis, n in enumerate(shape) if n > 1]
        extents = tuple(shape[axis] for axis in real)
        return cls(extents, tuple(real.index(axis) for axis in axes if axis in real))._merged()

    @classmethod
    def plain(cls, shape: Sequence[int]) -> "Layout":
        """That of ONNX itself."""
        return cls.of(shape, range(len(shape)))

    def split(self, shape: Sequence[int]) -> "Layout | None":
        """The same memory with factors that make up the axes of a shape; None if none do."""
        cuts = sorted({*_cuts(self.extents), *_cuts(shape)}, reverse=True)
        if any(a % b for a, b in itertools.pairwise(cuts)):
            return None
        own = _cuts(self.extents)
        # the new factors of each old one; both are lists of products from the right
        parts: list[list[int]] = [[] for _ in self.extents]
        extents: list[int] = []
        for outer, inner in itertools.pairwise(cuts):
            parts[next(i for i, cut in enumerate(own[1:]) if cut <= inner)].append(len(extents))
            extents.append(outer // inner)
        return Layout(tuple(extents), tuple(new for old in self.order for new in parts[old]))

    def transposed(self, shape: Sequence[int], axes: Sequence[int]) -> "Layout | None":
        """The same memory where ONNX exchanges the axes of a shape; None if it cannot be told."""
        split = self.split(shape)
        if split is None:
            return None
        groups = split.axes(shape)
        moved = [factor for axis in axes for factor in groups[axis]]
        extents = tuple(split.extents[factor] for factor in moved)
        return Layout(extents, tuple(moved.index(factor) for factor in split.order))._merged()

    def axes(self, shape: Sequence[int]) -> list[list[int]]:
        """The factors of each axis of a shape, after `split`."""
        groups: list[list[int]] = []
        factor = 0
        for n in shape:
            groups.append([])
            product = 1
            while product < n:
                product *= self.extents[factor]
                groups[-1].append(factor)
                factor += 1
        return groups

    def axis_order(self, shape: Sequence[int]) -> tuple[int, ...] | None:
        """All axes as they stand in memory, those of 1 first; None if memory tears one apart."""
        split = self.split(shape)
        if split is None:
            return None
        groups = split.axes(shape)
        ones = [axis for axis, group in enumerate(groups) if not group]
        order: list[int] = []
        position = 0
        while position < len(split.order):
            axis = next(i for i, group in enumerate(groups) if split.order[position] in group)
            if list(split.order[position : position + len(groups[axis])]) != groups[axis]:
                return None
            order.append(axis)
            position += len(groups[axis])
        return (*ones, *order)

    def positions(self) -> Int64Array:
        """For each element in memory its number in ONNX."""
        numbers = np.arange(math.prod(self.extents)).reshape(self.extents)
        result: Int64Array = numbers.transpose(self.order).reshape(-1)
        return result

    def way_to(self, other: "Layout") -> tuple[Shape, Shape] | None:
        """(shape in memory, order of its axes) of the transposition that gives another layout."""
        mine, others = self.split(other.extents), other.split(self.extents)
        if mine is None or others is None:
            return None
        shape = tuple(mine.extents[factor] for factor in mine.order)
        walk = Layout(shape, tuple(mine.order.index(factor) for factor in others.order))._merged()
        return walk.extents, walk.order

    def _merged(self) -> "Layout":
        """Neighbours that stay neighbours in memory are one factor."""
        follows = {a: b for a, b in itertools.pairwise(self.order) if b == a + 1}
        starts = [f for f in range(len(self.extents)) if f - 1 not in follows]
        ends = [*starts, len(self.extents)][1:]
        extents = tuple(math.prod(self.extents[a:b]) for a, b in zip(starts, ends, strict=True))
        return Layout(extents, tuple(starts.index(f) for f in self.order if f in starts))


def channels_last(rank: int) -> tuple[int, ...]:
    """Axes of an image or sequence (batch, channels, …) with the channels behind the others."""
    return (0, *range(2, rank), 1) if rank > 2 else tuple(range(rank))


def _cuts(shape: Sequence[int]) -> list[int]:
    """Elements behind each border between axes: from all of them down to 1."""
    cuts = [1]
    for n in reversed(shape):
        cuts.append(cuts[-1] * n)
    return cuts[::-1]
