# SPDX-License-Identifier: Apache-2.0
"""Offsets for buffers with lifetimes: best fit, then an exact search for small arenas."""

from collections.abc import Sequence
from dataclasses import replace

from codeq_compile.memory.types import Buffer

EXACT_BUFFERS = 120
"""Most buffers for which the search for an optimum is tried."""
EXACT_STEPS = 40_000
"""Placements that the search may try, about a second: counted, so that the plan never varies."""


def place(buffers: Sequence[Buffer], lower_bound: int) -> tuple[tuple[Buffer, ...], bool]:
    """Buffers with offsets, by offset; and whether the arena is proved minimal."""
    orders = (
        sorted(buffers, key=lambda b: (-b.bytes, b.first, b.last)),
        sorted(buffers, key=lambda b: (b.first - b.last, -b.bytes, b.first)),
        sorted(buffers, key=lambda b: ((b.first - b.last - 1) * b.bytes, b.first)),
        sorted(buffers, key=lambda b: (b.first, -b.bytes)),
    )
    best = min((_best_fit(order) for order in orders), key=_top)
    is_optimal = _top(best) == lower_bound
    if not is_optimal and len(buffers) <= EXACT_BUFFERS:
        search = _Search(buffers, best, lower_bound)
        best, is_optimal = search.best, search.is_complete
    return tuple(sorted(best, key=lambda b: (b.offset, b.first))), is_optimal


def _top(buffers: Sequence[Buffer]) -> int:
    return max((buffer.end for buffer in buffers), default=0)


def _best_fit(order: Sequence[Buffer]) -> list[Buffer]:
    """Each buffer in turn into the narrowest gap that holds it."""
    placed: list[Buffer] = []
    for buffer in order:
        end = 0
        gaps = []
        for other in sorted((b for b in placed if b.meets(buffer)), key=lambda b: b.offset):
            if other.offset - end >= buffer.bytes:
                gaps.append((other.offset - end, end))
            end = max(end, other.end)
        placed.append(replace(buffer, offset=min(gaps)[1] if gaps else end))
    return placed


class _Search:
    """Exact search: buffers are stacked in the order of their offsets.

    In some smallest plan every buffer lies at 0 or directly on another that is alive with it
    (anything else could be lowered). Taken in the order of offsets, each therefore lies on the
    skyline of those before it: the search tries orders, never offsets.
    """

    def __init__(self, buffers: Sequence[Buffer], best: list[Buffer], lower_bound: int) -> None:
        self.best = best
        self._lower_bound = lower_bound
        self._steps = 0
        # big and long-lived first: good plans early prune the rest
        self._buffers = sorted(buffers, key=lambda b: (-b.bytes * (b.last - b.first + 1), b.first))
        self._skyline = [0] * (max(b.last for b in buffers) + 1)
        self._waiting = live_bytes(buffers, len(self._skyline))
        self._stack: list[Buffer] = []
        self._extend(set(range(len(buffers))), (0, -1))

    @property
    def is_complete(self) -> bool:
        return self._steps <= EXACT_STEPS or _top(self.best) == self._lower_bound

    def _extend(self, remaining: set[int], floor: tuple[int, int]) -> None:
        if not remaining:
            # `_is_hopeless` let it through: it is better than the best
            self.best = list(self._stack)
            return
        for offset, index in self._candidates(remaining, floor):
            if self._steps > EXACT_STEPS or _top(self.best) == self._lower_bound:
                return
            self._steps += 1
            buffer = replace(self._buffers[index], offset=offset)
            covered = range(buffer.first, buffer.last + 1)
            saved = [self._skyline[position] for position in covered]
            self._put(buffer, [buffer.end] * len(saved), -buffer.bytes)
            self._stack.append(buffer)
            if not self._is_hopeless(offset):
                self._extend(remaining - {index}, (offset, index))
            self._stack.pop()
            self._put(buffer, saved, buffer.bytes)

    def _candidates(self, remaining: set[int], floor: tuple[int, int]) -> list[tuple[int, int]]:
        """(offset, index) of buffers that may come next, lowest first."""
        resting = (
            (max(self._skyline[b.first : b.last + 1]), index)
            for index, b in ((index, self._buffers[index]) for index in remaining)
        )
        return sorted(candidate for candidate in resting if candidate > floor)

    def _put(self, buffer: Buffer, heights: Sequence[int], waiting: int) -> None:
        self._skyline[buffer.first : buffer.last + 1] = heights
        for position in range(buffer.first, buffer.last + 1):
            self._waiting[position] += waiting

    def _is_hopeless(self, floor: int) -> bool:
        """What still waits goes on top of the skyline and not below `floor`: no better plan."""
        limit = _top(self.best)
        return any(
            (max(height, floor) if waiting else height) + waiting >= limit
            for height, waiting in zip(self._skyline, self._waiting, strict=True)
        )


def live_bytes(buffers: Sequence[Buffer], positions: int) -> list[int]:
    live = [0] * positions
    for buffer in buffers:
        for position in range(buffer.first, buffer.last + 1):
            live[position] += buffer.bytes
    return live
